//! Mail between TEEs: requests for keys to gatekeepers and their sealed answers, introductions and sealed parcels of ceremonies, and what
//! holders of identities say to each other when they sign.
//!
//! Nothing is kept: a TEE repeats what did not arrive, and what was carried a few seconds ago is not carried again yet. A letter is
//! known by all of its bytes: what its signature does not cover - evidence and collateral - makes another letter, and none stands in for
//! another. What waits is bounded for each mailbox, and in it for each sender. What relayers bring that the operator named has as much
//! room of its own, and so has what anybody else brings; one address has a half of the one, or a quarter of the other: their senders are
//! whom they say, or not. A delivery has first what TEEs sent that are served here, then introductions that the chain and
//! collateral of our own vouch for, then what named relayers brought, then the rest: whatever strangers send, it comes behind. Whether a letter is true is its recipient's to
//! find out.
//!
//! Signing is by far the most traffic: up to [`MOST_SIGNED`] signatures at once, in each of which all holders write to one coordinator, and
//! he to them, within an attempt of ten blocks. So commitments, lists and parts are counted apart, one sender has room for each signature,
//! and of what a TEE that is served here says in a session the newest of each kind waits, and nothing of an attempt that is over.

use codec::{Decode, DecodeWithMemTracking, Encode};
use phala_crypto::signature::ed25519;
use phala_protocol::{
    attestation::Registration,
    ceremony::{AnnouncedKey, CeremonyAttempt, Introduction, Parcel, MAX_SEATS},
    hash::blake2_256,
    identities::signing::{SigningLetter, SigningMessage, MOST_SIGNED_AT_ONCE},
    keys::KeyAnswer,
    limits::{MAX_COLLATERAL_BYTES, MAX_EVIDENCE_BYTES},
    relay::{Delivery, KeyInquiry, MAX_MAIL_BYTES, MOST_ANSWERS, MOST_INQUIRIES, MOST_INQUIRIES_OF_ONE},
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
/// Bytes of a letter without evidence.
pub(crate) const MAX_PLAIN_BYTES: usize = 16 * 1024;
/// How long the relayer lets TEEs that are not known yet be silent before it says that they are not served here.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// Signatures that are made at once: of as many messages as a gatekeeper signs at a time, in two schemes.
const MOST_SIGNED: usize = 2 * MOST_SIGNED_AT_ONCE;
/// Answers of each way - of TEEs that are served here, of named relayers, of strangers - that wait in one mailbox.
const MOST_ANSWERS_OF_A_WAY: usize = 2 * MAX_SEATS;
// A worker opens all that one delivery brings: whoever sends it forgeries keeps from it no true answer that comes another way.
const _: () = assert!(3 * MOST_ANSWERS_OF_A_WAY <= MOST_ANSWERS);
/// Commitments of strangers that wait in one mailbox, and parts: a relayer that the operator did not name brings those of few TEEs.
const MOST_OF_STRANGERS: usize = 1_024;

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
    /// What one holder of identities says to another in a signing session.
    #[codec(index = 4)]
    Signing(SigningLetter),
}

/// How many letters of one kind one mailbox holds. More than that is repeated later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Of all TEEs that are served here, and as much again of all relayers that the operator named.
    all: usize,
    /// Of one TEE.
    of_one: usize,
    /// Of all strangers.
    of_strangers: usize,
}

impl Room {
    const fn new(all: usize, of_one: usize) -> Self {
        Self { all, of_one, of_strangers: all }
    }

    /// For all senders that are as this one, and for this one.
    const fn of(&self, sender: &Sender) -> (usize, usize) {
        match sender {
            Sender::Tee(_) | Sender::Complaint(_) | Sender::Chain(_) => (self.all, self.of_one),
            Sender::Peer(_) => (self.all, self.all / 2),
            Sender::Address(_) => (self.of_strangers, self.of_strangers / 4),
        }
    }
}

impl Letter {
    /// What it is known by, and its length in bytes.
    pub(crate) fn name(&self) -> (Hash, usize) {
        let bytes = self.encode();
        (blake2_256(&bytes), bytes.len())
    }

    /// What it is about, whatever its bytes are: a sender that says something about it again saw nothing come of what it said before.
    pub(crate) fn subject(&self) -> Hash {
        match self {
            Self::Inquiry(inquiry) => {
                let request = &inquiry.request.request;
                blake2_256(&(0u8, request.worker, request.cluster, request.era, request.epoch).encode())
            }
            Self::Answer(request, _) => blake2_256(&(1u8, request).encode()),
            Self::Introduction(introduction) => blake2_256(&(2u8, introduction.registration.identity).encode()),
            Self::Parcel(parcel) => blake2_256(&(3u8, parcel.header).encode()),
            Self::Signing(letter) => {
                let kind: u8 = match letter.message {
                    SigningMessage::Commit { .. } => 0,
                    SigningMessage::List { .. } => 1,
                    SigningMessage::Part { .. } => 2,
                };
                blake2_256(&(4u8, kind, letter.from, letter.message.session()).encode())
            }
        }
    }

    /// Whether the two are counted together.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Signing(one), Self::Signing(other)) => discriminant(&one.message) == discriminant(&other.message),
            _ => discriminant(self) == discriminant(other),
        }
    }

    /// Whether there is evidence in it that nobody can verify.
    pub(crate) fn lacks_collateral(&self) -> bool {
        match self {
            Self::Inquiry(inquiry) => inquiry.collateral.is_empty(),
            Self::Introduction(introduction) => introduction.collateral.is_empty(),
            Self::Answer(..) | Self::Parcel(_) | Self::Signing(_) => false,
        }
    }

    /// Bytes of a letter of this kind. An answer of a root of a hundred seats has about 4.5 KB, the longest parcel less than 6, and a
    /// list of a hundred commitments less than 7.
    pub(crate) const fn most_bytes(&self) -> usize {
        match self {
            Self::Inquiry(_) | Self::Introduction(_) => MAX_LETTER_BYTES,
            Self::Answer(..) | Self::Parcel(_) | Self::Signing(_) => MAX_PLAIN_BYTES,
        }
    }

    /// Room for letters of this kind.
    const fn room(&self) -> Room {
        match self {
            // What a gatekeeper lets wait, of all workers and of one.
            Self::Inquiry(_) => Room::new(MOST_INQUIRIES, MOST_INQUIRIES_OF_ONE),
            // Every seat of a root answers a worker, for the open epoch and for the next.
            Self::Answer(..) => Room::new(MOST_ANSWERS_OF_A_WAY, 8),
            // The newest of each seat.
            Self::Introduction(_) => Room::new(MAX_SEATS, 1),
            // A package and a share of each seat, of an attempt and of the one before.
            Self::Parcel(_) => Room::new(4 * MAX_SEATS, 4),
            Self::Signing(letter) => match &letter.message {
                // To a coordinator, who may be the same one for all signatures: of each holder, for each. A named relayer may have all
                // holders, and brings a half of this.
                SigningMessage::Commit { .. } | SigningMessage::Part { .. } => {
                    Room { of_strangers: MOST_OF_STRANGERS, ..Room::new(2 * MAX_SEATS * MOST_SIGNED, MOST_SIGNED) }
                }
                // Of coordinators, each signature's one list. Even a stranger may bring those of one who has all, in a quarter of this.
                SigningMessage::List { .. } => Room::new(4 * MOST_SIGNED, MOST_SIGNED),
            },
        }
    }
}

/// The mailboxes of all TEEs that were seen.
#[derive(Default)]
pub(crate) struct Mail {
    boxes: Mutex<BTreeMap<WorkerId, Mailbox>>,
    /// Where the relayers are that the operator named, and how many at each address.
    peers: BTreeMap<IpAddr, usize>,
    /// How many TEEs there will be mailboxes of, and until when that is waited for.
    expected: Option<(usize, Instant)>,
}

struct Mailbox {
    /// Genesis hash of the chain that the TEE follows.
    chain: Hash,
    waiting: VecDeque<Waiting>,
    carried: BTreeMap<Hash, Instant>,
    arrived: Arc<Notify>,
    /// Whose introductions it may need, and what the chain holds of each.
    registered: Arc<BTreeMap<WorkerId, Registered>>,
    /// The attempts that it takes part in: what is announced for others is of no use to it.
    attempts: Vec<CeremonyAttempt>,
}

struct Waiting {
    name: Hash,
    bytes: usize,
    from: Sender,
    rank: Rank,
    letter: Letter,
}

/// In which order letters are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// What a TEE has that is served here.
    Served,
    /// An introduction with what the chain holds of its gatekeeper, and collateral of our own.
    Proved,
    /// What a relayer brings that the operator named.
    Named,
    /// What anybody else brings.
    Claimed,
}

/// Who brought a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A TEE that is served here.
    Tee(WorkerId),
    /// The chain, on which this gatekeeper's introduction stands with the key that it complained under: whatever else it announces keeps
    /// that one from nobody.
    Complaint(WorkerId),
    /// The chain, on which all of this gatekeeper's introduction stands but the key, which it announced, whoever sent it.
    Chain(WorkerId),
    /// A relayer that the operator named, at this address.
    Peer(IpAddr),
    /// Anybody else, at this address.
    Address(IpAddr),
}

impl Sender {
    /// How near it is: of what ranks the same, strangers' comes last.
    const fn distance(self) -> u8 {
        match self {
            Self::Tee(_) => 0,
            Self::Complaint(_) => 1,
            Self::Chain(_) => 2,
            Self::Peer(_) => 3,
            Self::Address(_) => 4,
        }
    }
}

/// What the chain holds of a gatekeeper's registration: *the node's word*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub registration: Registration,
    /// SCALE of the evidence that it registered with.
    pub evidence: Vec<u8>,
    /// What this relayer has for the platform; empty when it has none.
    pub collateral: Vec<u8>,
}

impl Registered {
    /// The introduction of a gatekeeper that announces this key, which whoever brings the key has to have looked at.
    pub(crate) fn announcing(&self, announced: &AnnouncedKey) -> Introduction {
        Introduction {
            registration: self.registration,
            announced: announced.clone(),
            evidence: self.evidence.clone(),
            collateral: self.collateral.clone(),
        }
    }

    /// The same, if the gatekeeper signed the announcement on the chain of this genesis hash.
    pub(crate) fn introduce(&self, chain: &Hash, announced: &AnnouncedKey) -> Option<Introduction> {
        let identity = &self.registration.identity.0;
        let signed = announced.is_well_formed()
            && ed25519::verify(identity, &announced.signing_payload(chain), &announced.signature).is_ok();
        signed.then(|| self.announcing(announced))
    }
}

impl Waiting {
    /// Whether the other is an earlier introduction of the same gatekeeper, brought by the same sender: nobody else's replaces it, nor
    /// what is only claimed what is proved. Or whether it is what the same TEE said before in a signing session, or in an earlier attempt
    /// at the same signature; who speaks is known of TEEs that are served here alone, and letters of others replace none.
    fn replaces(&self, other: &Self) -> bool {
        match (&self.letter, &other.letter) {
            (Letter::Introduction(new), Letter::Introduction(earlier)) => {
                // At one address there may be an honest relayer and another. What is the gatekeeper's own replaces what it said in an
                // attempt that was under way before.
                let is_one_gatekeepers = match self.from {
                    Sender::Tee(_) | Sender::Complaint(_) => true,
                    Sender::Chain(_) if new.announced.of != earlier.announced.of => {
                        new.announced.of > earlier.announced.of
                    }
                    Sender::Chain(_) | Sender::Peer(_) | Sender::Address(_) => {
                        new.announced.key == earlier.announced.key
                    }
                };
                (self.from, self.rank) == (other.from, other.rank)
                    && new.registration.identity == earlier.registration.identity
                    && is_one_gatekeepers
            }
            (Letter::Signing(new), Letter::Signing(earlier)) => {
                let (now, before) = (new.message.session(), earlier.message.session());
                let is_one_signature =
                    (now.scheme, now.sharing, now.item) == (before.scheme, before.sharing, before.item);
                let is_newer =
                    now.attempt > before.attempt || now.attempt == before.attempt && self.letter.is_like(&other.letter);
                matches!(self.from, Sender::Tee(_)) && self.from == other.from && is_one_signature && is_newer
            }
            _ => false,
        }
    }
}

impl Mailbox {
    fn new(chain: Hash) -> Self {
        Self {
            chain,
            waiting: VecDeque::new(),
            carried: BTreeMap::new(),
            arrived: Arc::default(),
            registered: Arc::default(),
            attempts: Vec::new(),
        }
    }

    /// Where a letter belongs. An introduction under a key that its gatekeeper announced for an attempt under way is the chain's, whatever
    /// evidence and collateral its sender put beside the key, if we have all of it: others under that key add nothing.
    fn sort(&self, from: Sender, letter: Letter) -> (Sender, Rank, Letter) {
        let rank = match from {
            Sender::Tee(_) => return (from, Rank::Served, letter),
            Sender::Complaint(_) | Sender::Chain(_) => return (from, Rank::Proved, letter),
            Sender::Peer(_) => Rank::Named,
            Sender::Address(_) => Rank::Claimed,
        };
        let sent = match letter {
            Letter::Introduction(sent) => sent,
            letter => return (from, rank, letter),
        };
        let identity = sent.registration.identity;
        let known = self.registered.get(&identity).filter(|_| self.attempts.contains(&sent.announced.of));
        match known.and_then(|known| known.introduce(&self.chain, &sent.announced)) {
            None => (from, rank, Letter::Introduction(sent)),
            // Its collateral is the sender's word, and so is its rank.
            Some(proved) if proved.collateral.is_empty() => {
                let introduction = Introduction { collateral: sent.collateral, ..proved };
                (from, rank, Letter::Introduction(introduction))
            }
            Some(proved) => (Sender::Chain(identity), Rank::Proved, Letter::Introduction(proved)),
        }
    }

    /// Whether a letter was carried to this TEE just now.
    fn is_on_its_way(&self, name: &Hash) -> bool {
        self.carried.get(name).is_some_and(|carried| carried.elapsed() < REPEAT_AFTER)
    }

    fn post(&mut self, from: Sender, letter: Letter) -> Posted {
        let (from, rank, letter) = self.sort(from, letter);
        let (name, bytes) = letter.name();
        if bytes > letter.most_bytes() {
            return Posted::TooLong;
        }
        self.put(Waiting { name, bytes, from, rank, letter })
    }

    fn put(&mut self, new: Waiting) -> Posted {
        if self.is_on_its_way(&new.name) {
            return Posted::Known;
        }
        if let Some(same) = self.waiting.iter_mut().find(|waiting| waiting.name == new.name) {
            // Whoever copies a letter and is first with it puts it behind nothing.
            if new.rank < same.rank {
                (same.rank, same.from) = (new.rank, new.from);
            }
            return Posted::Known;
        }
        if let Some(place) = self.waiting.iter().position(|waiting| new.replaces(waiting)) {
            // Those before it all stay.
            self.waiting.retain(|waiting| !new.replaces(waiting));
            self.waiting.insert(place.min(self.waiting.len()), new);
            return Posted::New;
        }
        let (most, most_of_one) = new.letter.room().of(&new.from);
        let (mut all, mut of_one) = (0, 0);
        for waiting in &self.waiting {
            if waiting.letter.is_like(&new.letter) {
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
    /// Whom it is for follows another chain.
    Foreign,
    /// It waits, or was carried just now.
    Known,
    /// It waits since now.
    New,
    /// As many wait as may: it is to be repeated.
    Full,
    /// No letter is as long.
    TooLong,
    /// Whom it is for may be a TEE of ours that was not heard from yet: it is to be repeated.
    NotYet,
}

/// Mail for one TEE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Letters {
    pub inquiries: Vec<KeyInquiry>,
    pub answers: Vec<(Hash, KeyAnswer)>,
    pub introductions: Vec<Introduction>,
    pub parcels: Vec<Parcel>,
    pub signing: Vec<SigningLetter>,
}

impl Letters {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { inquiries, answers, introductions, parcels, signing } = self;
        let is_without_plain = answers.is_empty() && parcels.is_empty() && signing.is_empty();
        is_without_plain && inquiries.is_empty() && introductions.is_empty()
    }

    fn add(&mut self, letter: Letter) {
        match letter {
            Letter::Inquiry(inquiry) => self.inquiries.push(*inquiry),
            Letter::Answer(request, answer) => self.answers.push((request, answer)),
            Letter::Introduction(introduction) => self.introductions.push(introduction),
            Letter::Parcel(parcel) => self.parcels.push(parcel),
            Letter::Signing(letter) => self.signing.push(letter),
        }
    }

    pub(crate) fn put_into(self, delivery: &mut Delivery) {
        delivery.inquiries = self.inquiries;
        delivery.answers = self.answers;
        delivery.introductions = self.introductions;
        delivery.parcels = self.parcels;
        delivery.letters = self.signing;
    }
}

impl Mail {
    /// No mailboxes yet; the relayers that the operator named are at these addresses.
    pub(crate) fn new(peers: BTreeMap<IpAddr, usize>) -> Self {
        Self { boxes: Mutex::default(), peers, expected: None }
    }

    /// The same, but so many TEEs are going to be heard from.
    pub(crate) fn expecting(self, tees: usize, now: Instant) -> Self {
        Self { expected: Some((tees, now + HEARD_WITHIN)), ..self }
    }

    /// Whether a relayer that the operator named is at this address.
    pub(crate) fn names(&self, address: &IpAddr) -> bool {
        self.relayers_at(address) > 0
    }

    /// How many relayers the operator named at this address.
    pub(crate) fn relayers_at(&self, address: &IpAddr) -> usize {
        self.peers.get(address).copied().unwrap_or(0)
    }

    /// A panic elsewhere cannot leave a mailbox half changed.
    fn boxes(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Mailbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a mailbox for a TEE that follows the chain of this genesis hash, if it has none; says when mail arrives.
    pub(crate) fn open(&self, tee: WorkerId, chain: Hash) -> Arc<Notify> {
        let mut boxes = self.boxes();
        let mailbox = boxes.entry(tee).or_insert_with(|| Mailbox::new(chain));
        if mailbox.chain != chain {
            *mailbox = Mailbox { arrived: mailbox.arrived.clone(), ..Mailbox::new(chain) };
        }
        mailbox.arrived.clone()
    }

    /// Notes whose introductions a TEE may need, what the chain holds of each, and in which attempts.
    pub(crate) fn note_registered(
        &self,
        tee: &WorkerId,
        registered: Arc<BTreeMap<WorkerId, Registered>>,
        attempts: Vec<CeremonyAttempt>,
    ) {
        if let Some(mailbox) = self.boxes().get_mut(tee) {
            (mailbox.registered, mailbox.attempts) = (registered, attempts);
        }
    }

    /// Whether a TEE has a mailbox here.
    pub(crate) fn serves(&self, tee: &WorkerId) -> bool {
        self.boxes().contains_key(tee)
    }

    /// Mails what `from` has for the TEE `to`.
    pub(crate) fn post(&self, from: Sender, to: &WorkerId, letter: Letter) -> Posted {
        self.boxes().get_mut(to).map_or(Posted::Unserved, |mailbox| mailbox.post(from, letter))
    }

    /// Mails what a relayer at `address` has for the TEE `to`, of the chain of this genesis hash.
    pub(crate) fn receive(&self, address: IpAddr, chain: &Hash, to: &WorkerId, letter: Letter) -> Posted {
        let from = if self.names(&address) { Sender::Peer(address) } else { Sender::Address(address) };
        let mut boxes = self.boxes();
        let is_early = self.expected.is_some_and(|(tees, until)| boxes.len() < tees && Instant::now() < until);
        match boxes.get_mut(to) {
            None if is_early => Posted::NotYet,
            None => Posted::Unserved,
            Some(mailbox) if mailbox.chain != *chain => Posted::Foreign,
            Some(mailbox) => mailbox.post(from, letter),
        }
    }

    /// Takes what waits for a TEE, by rank and then oldest first, as much as fits into one delivery.
    pub(crate) fn take(&self, tee: &WorkerId) -> Letters {
        let mut boxes = self.boxes();
        let Some(mailbox) = boxes.get_mut(tee) else { return Letters::default() };
        mailbox.carried.retain(|_, carried| carried.elapsed() < REPEAT_AFTER);
        // Stable: among equals, the oldest stay first.
        mailbox.waiting.make_contiguous().sort_by_key(|waiting| (waiting.rank, waiting.from.distance()));
        let (mut letters, mut bytes, mut is_full, now) = (Letters::default(), 0, false, Instant::now());
        for waiting in std::mem::take(&mut mailbox.waiting) {
            // What is too many of one kind holds up nothing of another; what does not fit holds up all behind it.
            let is_over = matches!(waiting.letter, Letter::Inquiry(_)) && letters.inquiries.len() >= MOST_INQUIRIES;
            is_full |= !is_over && bytes + waiting.bytes > MAX_MAIL_BYTES;
            if is_over || is_full {
                mailbox.waiting.push_back(waiting);
                continue;
            }
            bytes += waiting.bytes;
            mailbox.carried.insert(waiting.name, now);
            letters.add(waiting.letter);
        }
        if !mailbox.waiting.is_empty() {
            mailbox.arrived.notify_one();
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
