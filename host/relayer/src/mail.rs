//! Mail between TEEs: requests for keys to gatekeepers and their sealed answers, introductions and sealed parcels of key ceremonies.
//!
//! Nothing is kept: a TEE repeats what did not arrive, and what was carried a few seconds ago is not carried again yet. A letter is
//! known by all of its bytes: what its signature does not cover - evidence and collateral - makes another letter, and none stands in for
//! another. What waits is bounded for each mailbox, and in it for each sender. Letters of other relayers' TEEs have as much room of their
//! own, of which one address has a quarter: their senders are whom they say, or not. Whether a letter is true is its recipient's to find
//! out.

use codec::{Decode, DecodeWithMemTracking, Encode};
use phala_protocol::{
    ceremony::{Introduction, Parcel, MAX_SEATS},
    hash::blake2_256,
    keys::KeyAnswer,
    limits::{MAX_COLLATERAL_BYTES, MAX_EVIDENCE_BYTES},
    relay::{Delivery, KeyInquiry},
    Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, VecDeque},
    mem::discriminant,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Until when something that is still outgoing counts as on its way.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Bytes of one letter: evidence, collateral, and keys and signatures beside them.
pub(crate) const MAX_LETTER_BYTES: usize = (MAX_EVIDENCE_BYTES + MAX_COLLATERAL_BYTES) as usize + 16 * 1024;
/// Bytes of the letters in one delivery; the rest waits for the next.
const MAX_MAIL_BYTES: usize = 4 * 1024 * 1024;

/// A letter, also as relayers send it each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub(crate) enum Letter {
    /// A worker's request to a gatekeeper.
    #[codec(index = 0)]
    Inquiry(Box<KeyInquiry>),
    /// A gatekeeper's answer, and the hash of the request.
    #[codec(index = 1)]
    Answer(Hash, KeyAnswer),
    /// Who a gatekeeper is.
    #[codec(index = 2)]
    Introduction(Introduction),
    /// A sealed message of a ceremony.
    #[codec(index = 3)]
    Parcel(Parcel),
}

impl Letter {
    /// What it is known by, and its length in bytes.
    pub(crate) fn name(&self) -> (Hash, usize) {
        let bytes = self.encode();
        (blake2_256(&bytes), bytes.len())
    }

    /// Whether there is evidence in it that nobody can verify.
    pub(crate) fn lacks_collateral(&self) -> bool {
        match self {
            Self::Inquiry(inquiry) => inquiry.collateral.is_empty(),
            Self::Introduction(introduction) => introduction.collateral.is_empty(),
            Self::Answer(..) | Self::Parcel(_) => false,
        }
    }

    /// Letters of this kind that one mailbox holds, and of them those of one sender. More than that is repeated later.
    const fn bounds(&self) -> (usize, usize) {
        match self {
            // What a gatekeeper lets wait, of all workers and of one.
            Self::Inquiry(_) => (64, 8),
            // Every seat of a root answers a worker, for the open epoch and for the next.
            Self::Answer(..) => (2 * MAX_SEATS, 8),
            // The newest of each seat.
            Self::Introduction(_) => (MAX_SEATS, 1),
            // A package and a share of each seat, of an attempt and of the one before.
            Self::Parcel(_) => (4 * MAX_SEATS, 4),
        }
    }
}

/// The mailboxes of all TEEs that were seen.
#[derive(Default)]
pub(crate) struct Mail(Mutex<BTreeMap<WorkerId, Mailbox>>);

#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Waiting>,
    carried: BTreeMap<Hash, Instant>,
    arrived: Arc<Notify>,
}

struct Waiting {
    name: Hash,
    bytes: usize,
    from: Sender,
    letter: Letter,
}

/// Who brought a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A TEE that is served here.
    Tee(WorkerId),
    /// A relayer at this address.
    Address(IpAddr),
}

impl Waiting {
    /// Whether the other is an earlier introduction of the same gatekeeper, brought by the same sender: nobody else's replaces it.
    fn replaces(&self, other: &Self) -> bool {
        match (&self.letter, &other.letter) {
            (Letter::Introduction(new), Letter::Introduction(earlier)) => {
                self.from == other.from && new.registration.identity == earlier.registration.identity
            }
            _ => false,
        }
    }
}

impl Mailbox {
    /// Whether a letter was carried to this TEE just now.
    fn is_on_its_way(&mut self, name: &Hash) -> bool {
        self.carried.retain(|_, carried| carried.elapsed() < REPEAT_AFTER);
        self.carried.contains_key(name)
    }

    fn put(&mut self, new: Waiting) -> Posted {
        if self.is_on_its_way(&new.name) || self.waiting.iter().any(|waiting| waiting.name == new.name) {
            return Posted::Known;
        }
        if let Some(earlier) = self.waiting.iter_mut().find(|waiting| new.replaces(waiting)) {
            *earlier = new;
            return Posted::New;
        }
        let (most, most_of_one) = new.letter.bounds();
        let most_of_one = match new.from {
            Sender::Tee(_) => most_of_one,
            Sender::Address(_) => most / 4,
        };
        let (mut all, mut of_one) = (0, 0);
        for waiting in &self.waiting {
            if discriminant(&waiting.letter) == discriminant(&new.letter) {
                all += usize::from(discriminant(&waiting.from) == discriminant(&new.from));
                of_one += usize::from(waiting.from == new.from);
            }
        }
        if all >= most || of_one >= most_of_one {
            return Posted::Full;
        }
        self.waiting.push_back(new);
        self.arrived.notify_one();
        Posted::New
    }
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// We do not serve whom it is for.
    Unserved,
    /// It waits, or was carried just now.
    Known,
    /// It waits since now.
    New,
    /// As many wait as may: it is to be repeated.
    Full,
    /// No letter is as long.
    TooLong,
}

/// Mail for one TEE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    pub inquiries: Vec<KeyInquiry>,
    pub answers: Vec<(Hash, KeyAnswer)>,
    pub introductions: Vec<Introduction>,
    pub parcels: Vec<Parcel>,
}

impl Letters {
    pub(crate) fn is_empty(&self) -> bool {
        self.inquiries.is_empty() && self.answers.is_empty() && self.introductions.is_empty() && self.parcels.is_empty()
    }

    fn add(&mut self, letter: Letter) {
        match letter {
            Letter::Inquiry(inquiry) => self.inquiries.push(*inquiry),
            Letter::Answer(request, answer) => self.answers.push((request, answer)),
            Letter::Introduction(introduction) => self.introductions.push(introduction),
            Letter::Parcel(parcel) => self.parcels.push(parcel),
        }
    }

    pub(crate) fn put_into(self, delivery: &mut Delivery) {
        delivery.inquiries = self.inquiries;
        delivery.answers = self.answers;
        delivery.introductions = self.introductions;
        delivery.parcels = self.parcels;
    }
}

impl Mail {
    /// A panic elsewhere cannot leave a mailbox half changed.
    fn boxes(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Mailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a mailbox for a TEE, if it has none; says when mail arrives.
    pub(crate) fn open(&self, tee: WorkerId) -> Arc<Notify> {
        self.boxes().entry(tee).or_default().arrived.clone()
    }

    /// Whether a TEE has a mailbox here.
    pub(crate) fn serves(&self, tee: &WorkerId) -> bool {
        self.boxes().contains_key(tee)
    }

    /// Mails what `from` has for the TEE `to`.
    pub(crate) fn post(&self, from: Sender, to: &WorkerId, letter: Letter) -> Posted {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(to) else { return Posted::Unserved };
        let (name, bytes) = letter.name();
        if bytes > MAX_LETTER_BYTES {
            return Posted::TooLong;
        }
        mailbox.put(Waiting { name, bytes, from, letter })
    }

    /// Takes what waits for a TEE, oldest first, as much as fits into one delivery.
    pub(crate) fn take(&self, tee: &WorkerId) -> Letters {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(tee) else { return Letters::default() };
        let (mut letters, mut bytes, now) = (Letters::default(), 0, Instant::now());
        while let Some(waiting) = mailbox.waiting.pop_front() {
            bytes += waiting.bytes;
            if bytes > MAX_MAIL_BYTES {
                mailbox.waiting.push_front(waiting);
                mailbox.arrived.notify_one();
                break;
            }
            mailbox.carried.insert(waiting.name, now);
            letters.add(waiting.letter);
        }
        letters
    }

    /// Forgets that anything is on its way to a TEE that did not take its delivery: senders' repetitions go through at once.
    pub(crate) fn lost(&self, tee: &WorkerId) {
        if let Some(mailbox) = self.boxes().get_mut(tee) {
            mailbox.carried.clear();
        }
    }
}

#[cfg(test)]
mod tests;
