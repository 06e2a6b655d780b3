//! What stands on chain beside statements of a ceremony, of a root's or of identities, for the gatekeepers that take part in it.
//!
//! The record of a ceremony has the hashes; keys, sealed deliveries and packages stand in blocks' events (`Gatekeepers::Attached`, and
//! `Gatekeepers::IdentitiesAttached`). The two kinds of ceremonies count their attempts apart, and never take place at once: each has an
//! [`Attachments`] of its own. All TEEs share what was found: a block is looked at once, those that were missed - the relayer was started
//! late, or again - back to the beginning of the attempt, and no further than [`MOST_BACK`]. Each TEE is brought an attachment once it
//! knows a head at or after its block, and again when it may have lost it ([`Brought`]). A node that prunes keeps the states of 256 blocks,
//! so that what is older is not found; a seat that lacks it says nothing wrong for that.
//!
//! Guarantees: bounded memory and bounded work at a time, whatever node and TEEs say. What is found is the node's word: a TEE compares it
//! with the record.

use codec::{DecodeAll, Encode};
use phala_client::{chain::ChainEvent, Chain, ClientError};
use phala_protocol::{
    ceremony::{AnnouncedKey, Attachment, Phase, MAX_SEATS},
    hash::blake2_256,
    ids::BlockNumber,
    relay::{PlacedAttachment, MAX_DELIVERY_BYTES},
    Hash,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::Mutex;

/// Era and attempt.
pub(crate) type AttemptId = (u32, u32);

/// Blocks behind the head that are looked at: four times as many as an attempt takes with the phases of a public network.
const MOST_BACK: BlockNumber = 2_048;
/// Blocks that are looked at before a delivery goes on without the rest.
const MOST_AT_ONCE: BlockNumber = 256;
/// Attempts that are remembered: the newest, and the one that a TEE is still in whose head is some blocks behind.
const MOST_ATTEMPTS: usize = 2;
/// Bytes that are remembered of one attempt. If a hundred seats all complain of each other, deliveries are 57 MB.
const MAX_ATTEMPT_BYTES: usize = 64 * 1024 * 1024;
/// Attachments that are remembered of one attempt: of a hundred seats, 9,900 deliveries, a hundred keys and a hundred packages at most.
const MOST_OF_AN_ATTEMPT: usize = 16_384;
/// Bytes of attachments in one delivery.
const MAX_BYTES: usize = MAX_DELIVERY_BYTES / 8;
/// Attachments in one delivery.
const MOST_IN_ONE: usize = 1_024;

/// Where blocks are looked at. [`Chain`] is one; tests have another.
pub(crate) trait Blocks {
    /// What the gatekeepers' pallet said in a block, in order; nothing when the node cannot tell any more.
    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError>;
}

impl Blocks for Chain {
    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError> {
        self.events_of("Gatekeepers", number).await
    }
}

/// Whose statements they stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ceremony {
    /// Those of the seats that make a root.
    Root,
    /// Those of the dealers and holders of identities.
    Identities,
}

/// What an event says about a ceremony, as far as it matters here.
enum Said {
    /// An attempt began.
    Began(AttemptId),
    /// Something stands beside a statement.
    Attached(PlacedAttachment),
}

impl Ceremony {
    fn read(self, event: &ChainEvent) -> Option<Said> {
        let mut fields = event.fields.as_slice();
        match (self, event.name.as_str()) {
            (Self::Root, "PhaseBegan") | (Self::Identities, "IdentitiesPhaseBegan") => {
                match <(u32, u32, Phase, BlockNumber)>::decode_all(&mut fields).ok()? {
                    (era, attempt, Phase::Commit, _) => Some(Said::Began((era, attempt))),
                    _ => None,
                }
            }
            (Self::Root, "Attached") => PlacedAttachment::decode_all(&mut fields).ok().map(Said::Attached),
            (Self::Identities, "IdentitiesAttached") => {
                // Whether the index is a dealer's follows from what it is: holders attach keys, and dealers all else.
                let (era, attempt, index, _, attachment) =
                    <(u32, u32, u16, bool, Attachment)>::decode_all(&mut fields).ok()?;
                Some(Said::Attached(PlacedAttachment { era, attempt, index, attachment }))
            }
            _ => None,
        }
    }
}

/// What one TEE was brought of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    attempt: Option<AttemptId>,
    height: BlockNumber,
    names: BTreeSet<Hash>,
}

impl Brought {
    /// Notes where the TEE stands: in which attempt it takes part, and at which head. One that takes part in another attempt lacks
    /// everything, and so does one whose head went back.
    pub(crate) fn look(&mut self, attempt: Option<AttemptId>, height: BlockNumber) {
        if attempt != self.attempt || height < self.height {
            self.forget();
        }
        (self.attempt, self.height) = (attempt, height);
    }

    /// The TEE may have lost what it was brought: it did not answer, or refused a delivery.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Notes that a delivery was taken.
    pub(crate) fn took(&mut self, names: Vec<Hash>) {
        self.names.extend(names);
    }
}

/// What a TEE is to be brought next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub attachments: Vec<PlacedAttachment>,
    pub names: Vec<Hash>,
    /// Whether there is more than fits.
    pub more: bool,
}

/// What was found of one kind of ceremonies.
pub(crate) struct Attachments {
    ceremony: Ceremony,
    found: Mutex<Found>,
}

impl Attachments {
    /// Nothing was found yet.
    pub(crate) fn of(ceremony: Ceremony) -> Self {
        Self { ceremony, found: Mutex::default() }
    }

    /// What a TEE that takes part in `attempt`, and knows block `height`, was not brought yet.
    pub(crate) async fn due(
        &self,
        node: &impl Blocks,
        attempt: AttemptId,
        height: BlockNumber,
        brought: &Brought,
    ) -> Result<Due, ClientError> {
        let mut found = self.found.lock().await;
        found.look(node, self.ceremony, attempt, height).await?;
        Ok(found.due(attempt, height, brought))
    }

    /// The keys that stand beside complaints of `attempt`, as far as they were found, with the indices of their seats or holders.
    pub(crate) async fn keys(&self, attempt: AttemptId) -> Vec<(u16, AnnouncedKey)> {
        let found = self.found.lock().await;
        let placed = found.attempts.get(&attempt).into_iter().flat_map(|attempt| attempt.placed.values());
        let key = |placed: &Placed| match &placed.attachment.attachment {
            Attachment::Key(key) => Some((placed.attachment.index, key.clone())),
            Attachment::Parcel(_) | Attachment::Package(_) => None,
        };
        placed.filter_map(key).take(MAX_SEATS).collect()
    }
}

/// The blocks from `first` up to but not including `next` were looked at; none while `next` is 0.
#[derive(Default)]
struct Found {
    first: BlockNumber,
    next: BlockNumber,
    /// Of what is before `first` the node cannot tell.
    at_the_end: bool,
    attempts: BTreeMap<AttemptId, Attempt>,
}

#[derive(Default)]
struct Attempt {
    /// Its beginning was seen.
    begun: bool,
    bytes: usize,
    /// By block, and position in it.
    placed: BTreeMap<(BlockNumber, usize), Placed>,
    places: BTreeMap<Hash, (BlockNumber, usize)>,
}

struct Placed {
    name: Hash,
    bytes: usize,
    attachment: PlacedAttachment,
}

impl Found {
    /// Looks at what is new up to `height`, then back towards the beginning of `attempt`.
    async fn look(
        &mut self,
        node: &impl Blocks,
        ceremony: Ceremony,
        attempt: AttemptId,
        height: BlockNumber,
    ) -> Result<(), ClientError> {
        let after = height.saturating_add(1);
        // Nobody asked yet, or for long: what is newest is found first when one begins at the head.
        if self.next == 0
            || self.next > after.saturating_add(MOST_BACK)
            || after.saturating_sub(self.next) > MOST_AT_ONCE
        {
            *self = Self { first: after, next: after, ..Self::default() };
        }
        while self.next < after {
            match node.said(self.next).await? {
                Some(events) => self.take(ceremony, self.next, &events),
                None => tracing::warn!(block = self.next, "the node cannot tell what a block holds beside statements"),
            }
            self.next = self.next.saturating_add(1);
        }
        let mut looked = 0;
        while !self.has_begun(attempt)
            && !self.at_the_end
            && self.first > 1
            && after.saturating_sub(self.first) < MOST_BACK
            && looked < MOST_AT_ONCE
        {
            let number = self.first.saturating_sub(1);
            match node.said(number).await? {
                Some(events) => self.take(ceremony, number, &events),
                None => self.at_the_end = true,
            }
            self.first = number;
            looked += 1;
        }
        Ok(())
    }

    fn has_begun(&self, attempt: AttemptId) -> bool {
        self.attempts.get(&attempt).is_some_and(|attempt| attempt.begun)
    }

    fn take(&mut self, ceremony: Ceremony, number: BlockNumber, events: &[ChainEvent]) {
        for (position, event) in events.iter().enumerate() {
            match ceremony.read(event) {
                Some(Said::Began(attempt)) => self.attempts.entry(attempt).or_default().begun = true,
                Some(Said::Attached(attachment)) => {
                    let id = (attachment.era, attachment.attempt);
                    self.attempts.entry(id).or_default().put((number, position), attachment);
                }
                None => {}
            }
        }
        while self.attempts.len() > MOST_ATTEMPTS {
            self.attempts.pop_first();
        }
    }

    fn due(&self, attempt: AttemptId, height: BlockNumber, brought: &Brought) -> Due {
        let (mut due, mut bytes) = (Due::default(), 0);
        let Some(attempt) = self.attempts.get(&attempt) else { return due };
        for ((number, _), placed) in &attempt.placed {
            if *number > height {
                break;
            }
            if brought.names.contains(&placed.name) {
                continue;
            }
            bytes += placed.bytes;
            if !due.names.is_empty() && (bytes > MAX_BYTES || due.names.len() >= MOST_IN_ONE) {
                due.more = true;
                break;
            }
            due.names.push(placed.name);
            due.attachments.push(placed.attachment.clone());
        }
        due
    }
}

impl Attempt {
    /// Keeps an attachment. The same ones - a seat's key stands beside each of its first complaints - are kept once, at their first place: a
    /// key also if it is signed otherwise each time.
    fn put(&mut self, place: (BlockNumber, usize), attachment: PlacedAttachment) {
        let encoded = attachment.encode();
        let bytes = encoded.len();
        let name = match &attachment.attachment {
            Attachment::Key(announced) => {
                let unsigned = Attachment::Key(AnnouncedKey { signature: [0; 64], ..announced.clone() });
                blake2_256(&PlacedAttachment { attachment: unsigned, ..attachment }.encode())
            }
            Attachment::Parcel(_) | Attachment::Package(_) => blake2_256(&encoded),
        };
        match self.places.get(&name) {
            Some(known) if *known <= place => return,
            Some(known) => {
                self.placed.remove(known);
            }
            None if self.placed.len() >= MOST_OF_AN_ATTEMPT => return,
            None if self.bytes.saturating_add(bytes) > MAX_ATTEMPT_BYTES => return,
            None => self.bytes = self.bytes.saturating_add(bytes),
        }
        self.places.insert(name, place);
        self.placed.insert(place, Placed { name, bytes, attachment });
    }
}

#[cfg(test)]
mod tests;
