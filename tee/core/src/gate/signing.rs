//! What this gatekeeper signs as contracts: messages that have left their clusters, in sessions with the other holders of identities.
//!
//! The relayer brings messages and letters; the head says what is signed. A message waits until a proof shows what became of it, is
//! signed under both schemes, and is forgotten when the chain has both signatures, or with the first head that does not let it be signed.
//!
//! Guarantees: what is open at a head - answers letters, begins attempts - is what the proof of *that* head shows to be authorised, to
//! lack its signature, and to be signed by shares of the very record of identities that it shows; whatever a proof does not show is
//! closed, its nonces with it, and waits. Letters are looked at with a proof and after it. So an old authorisation signs nothing once the
//! head has moved: a host that keeps proofs back keeps its TEE from signing, and one that keeps heads back has it sign, in the one attempt
//! that is under way, what the last head let be signed.
//!
//! Of more than [`MOST_SESSIONS`] messages those are open that left first, and twice as many are kept, by the same order whichever came
//! first: holders agree on them whenever each was started. Sessions are made anew of each sharing, and none outlives one. A letter counts
//! that is signed by the holder that it names, for this one, on this chain, about what is open. Memory is bounded whatever arrives, and so
//! is what a status has of this; a coordinator of all that is signed at once hears all holders in one delivery, and its lists take turns
//! (`turns.rs`).
//!
//! Anyone controls messages, other gatekeepers letters, the host what arrives and when: it can fill the room for what waits until the
//! next proof, with its own TEE. Does not: put messages into another order than that in which they left, so that whoever sends many has
//! others wait; or keep anything on disk.

use super::Sight;
use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
    machine::draw_secret,
    tee::{DeliveryError, Notice},
};
use codec::Encode;
use phala_crypto::{signature::ed25519, Secret};
use phala_gatekeeper::identity::{
    Authorised, EdwardsPoint, Held, IdentityShares, NotAuthorised, RistrettoPoint, Sessions, SigningFault, Signs,
    Spoiled, MOST_SESSIONS,
};
use phala_protocol::{
    egress::{EgressAction, EgressItem},
    identities::{
        signing::{EgressSignature, SigningLetter, SigningMessage, MAX_SIGNING_MESSAGE_BYTES},
        IdentityRecord, Scheme,
    },
    ids::BlockNumber,
    limits::MAX_EGRESS_BYTES,
    relay::{Outgoing, MAX_MAIL_BYTES},
    storage, Hash,
};
use std::collections::{BTreeMap, BTreeSet};

mod turns;

use turns::Turns;

/// Messages that are signed or wait, of those that a proof shows to have left: those that [`MOST_SESSIONS`] leaves no room for are there
/// when it does.
const MOST_MESSAGES: usize = 2 * MOST_SESSIONS;
/// Messages with those of which no proof shows yet what became of them: there is always room for some that left before all of the others.
const MOST_WITH_NEW: usize = MOST_MESSAGES + MOST_SESSIONS;
/// Messages that are looked at of one delivery.
const MOST_OF_ONE_DELIVERY: usize = 256;
/// Bytes of letters that wait for the next proof: as much as relayers bring of all letters in one delivery. A coordinator of all that is
/// signed at once, 32 messages in both schemes, is sent 64 commitments by each of 99 other holders, and parts by 66: 2.2 MB.
const MAX_WAITING_BYTES: usize = MAX_MAIL_BYTES;

const SCHEMES: [Scheme; 2] = [Scheme::Ed25519, Scheme::Ristretto255];

/// A message that is signed, or waits to be.
struct Message {
    item: EgressItem,
    /// The signatures that were put together here and that the chain lacks.
    made: Vec<EgressSignature>,
}

/// What this gatekeeper signs.
#[derive(Default)]
pub(super) struct Signing {
    /// By id.
    messages: BTreeMap<Hash, Message>,
    letters: Vec<SigningLetter>,
    /// Bytes of those.
    letter_bytes: usize,
    sessions: Option<Both>,
    outgoing: Vec<Outgoing>,
    /// Indices of holders of whom it was said that they spoil signatures.
    said: BTreeSet<u16>,
}

/// The sessions of one sharing.
struct Both {
    record: IdentityRecord,
    /// This gatekeeper's among its holders.
    index: u16,
    ed25519: Sessions<EdwardsPoint>,
    sr25519: Sessions<RistrettoPoint>,
    turns: Turns,
}

/// Why a letter changed nothing. The fault is the sender's or the carrier's, or one of the two gatekeepers is behind; none is said in the
/// log, which anyone could fill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum LetterFault {
    #[error("letter is longer than one may be")]
    TooLong,
    #[error("letter is for holder {0}")]
    Addressee(u16),
    #[error("holder {0}, whom the letter names as its sender, holds no other share of this key")]
    Stranger(u16),
    #[error("what the letter is about is not signed here")]
    NotOpen,
    #[error("letter is not signed by the holder that it names, for this chain")]
    Signature,
    #[error(transparent)]
    Refused(#[from] SigningFault),
}

impl Signing {
    /// Takes messages and letters, until a delivery's proof is looked at.
    pub(super) fn receive(&mut self, messages: Vec<EgressItem>, letters: Vec<SigningLetter>, genesis: &Hash) {
        for item in messages.into_iter().take(MOST_OF_ONE_DELIVERY) {
            let is_message = matches!(item.action, EgressAction::Message { .. });
            if !is_message || item.action.encoded_size() > MAX_EGRESS_BYTES || self.messages.len() >= MOST_WITH_NEW {
                continue;
            }
            let id = item.id(genesis);
            self.messages.entry(id).or_insert(Message { item, made: Vec::new() });
        }
        for letter in letters {
            let bytes = self.letter_bytes.saturating_add(letter.encoded_size());
            if !is_too_long(&letter) && bytes <= MAX_WAITING_BYTES {
                self.letter_bytes = bytes;
                self.letters.push(letter);
            }
        }
    }

    /// Ids of the messages that are signed or wait.
    pub(super) fn items(&self) -> Vec<Hash> {
        self.messages.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// What has to be proved of each: that it may be signed, and whether the chain has its signatures.
    pub(super) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let of = |message: &Message| {
            let EgressItem { cluster, sequence, .. } = message.item;
            let signatures = SCHEMES.map(|scheme| storage::egress_signature_key(cluster, sequence, scheme));
            phala_gatekeeper::identity::authorising_keys(&message.item).into_iter().chain(signatures)
        };
        self.messages.values().flat_map(of).collect()
    }

    /// What other holders and the chain are to be told, until a later head shows that it arrived.
    pub(super) fn outgoing(&self) -> Vec<Outgoing> {
        self.outgoing.clone()
    }

    /// Signs what the head's records let be signed. Without shares everything is forgotten.
    pub(super) fn observe(
        &mut self,
        records: &Records<'_>,
        sight: &Sight<'_>,
        held: Option<&Held>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let letters = std::mem::take(&mut self.letters);
        self.letter_bytes = 0;
        self.outgoing.clear();
        let Some(held) = held else {
            *self = Self::default();
            return Ok(());
        };
        self.renew(held, sight.chain.genesis());
        let shown = records.get::<IdentityRecord>(&storage::identity_key());
        let is_present = matches!(&shown, Ok(Shown::Value(record)) if record == held.record());
        let judged = shown.map(|_| ()).and(self.judge(records, sight.chain, is_present, notices));
        let worked = self.work(letters, sight, notices);
        judged.map_err(DeliveryError::from).and(worked)
    }

    /// Sessions of this sharing, if there are others.
    fn renew(&mut self, held: &Held, genesis: &Hash) {
        if self.sessions.as_ref().is_none_or(|both| both.record != *held.record()) {
            self.said.clear();
            // Shares that are held fit their record, of which sessions are made.
            self.sessions = Both::new(held, genesis);
        }
    }

    /// Judges every message, and opens and closes sessions by it: afterwards only what this head lets be signed is open.
    fn judge(
        &mut self,
        records: &Records<'_>,
        chain: &Chain,
        is_present: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<(), ChainError> {
        let Self { messages, sessions: Some(both), .. } = self else { return Ok(()) };
        let mut failed = Ok(());
        // Of what may be signed, by the block in which it left: the schemes of which the chain lacks a signature.
        let mut due = BTreeMap::<(BlockNumber, Hash), Vec<Scheme>>::new();
        messages.retain(|id, message| match chain.authorise(records, &message.item) {
            Ok(authorised) => match lacking(records, &message.item) {
                Ok(Some(schemes)) => {
                    message.made.retain(|made| schemes.contains(&made.scheme));
                    let lacks = !schemes.is_empty();
                    if lacks {
                        due.insert((authorised.left_in(), *id), schemes);
                    }
                    lacks
                }
                Ok(None) => true,
                Err(error) => {
                    failed = Err(error);
                    true
                }
            },
            // The proof does not say: it was asked for before the message was known, or its host keeps it back.
            Err(NotAuthorised::Proof(_)) => true,
            Err(reason) => {
                if both.has_open(id) {
                    let EgressItem { cluster, sequence, .. } = message.item;
                    notices.push(Notice::SigningEnded { cluster, sequence, reason });
                }
                false
            }
        });
        // Or holders that were brought others first would sign those, each with too few.
        for (_, id) in due.keys().skip(MOST_MESSAGES) {
            messages.remove(id);
        }
        let open = if is_present { MOST_SESSIONS } else { 0 };
        let due: Vec<(Hash, Vec<Scheme>)> =
            due.into_iter().take(open).map(|((_, id), schemes)| (id, schemes)).collect();
        let of = |scheme: Scheme| -> BTreeSet<Hash> {
            due.iter().filter(|(_, lacks)| lacks.contains(&scheme)).map(|(id, _)| *id).collect()
        };
        let authorised = |id: &Hash| chain.authorise(records, &messages.get(id)?.item).ok();
        follow(&mut both.ed25519, &of(Scheme::Ed25519), authorised);
        follow(&mut both.sr25519, &of(Scheme::Ristretto255), authorised);
        failed
    }

    /// Moves what is open to this head, takes letters, and says what comes of it.
    fn work(
        &mut self,
        letters: Vec<SigningLetter>,
        sight: &Sight<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), DeliveryError> {
        let Some(both) = self.sessions.as_mut() else { return Ok(()) };
        let (head, genesis) = (sight.chain.head().0, sight.chain.genesis());
        let (first, second) = (draw_secret(sight.machine)?, draw_secret(sight.machine)?);
        both.advance(head, &first, &second);
        for letter in letters {
            // What changes nothing is no news: its sender repeats what is of use.
            let _ = both.take(letter, genesis);
        }
        for signature in both.ed25519.signatures().chain(both.sr25519.signatures()) {
            let Some(message) = self.messages.get_mut(&signature.item) else { continue };
            if !message.made.iter().any(|made| made.scheme == signature.scheme) {
                message.made.push(*signature);
                let EgressItem { cluster, sequence, .. } = message.item;
                notices.push(Notice::MessageSigned { cluster, sequence, scheme: signature.scheme });
            }
        }
        for index in both.spoilers() {
            let holder = both.record.holders.iter().find(|holder| holder.index == index);
            if let (Some(holder), true) = (holder, self.said.insert(index)) {
                notices.push(Notice::SignatureSpoiled { gatekeeper: holder.gatekeeper });
            }
        }
        self.outgoing = both.letters(sight.identity, genesis);
        for Message { item: EgressItem { cluster, sequence, .. }, made } in self.messages.values() {
            let attached = made.iter().map(|signature| Outgoing::AttachSignature {
                cluster: *cluster,
                sequence: *sequence,
                signature: *signature,
            });
            self.outgoing.extend(attached);
        }
        Ok(())
    }
}

impl Both {
    fn new(held: &Held, genesis: &Hash) -> Option<Self> {
        let (keys, index) = (held.keys(), held.shares().index());
        let IdentityShares { ed25519, sr25519 } = IdentityShares::open(keys, index, &held.shares().to_bytes()).ok()?;
        Some(Self {
            record: held.record().clone(),
            index,
            ed25519: Sessions::new(*genesis, keys.ed25519.clone(), ed25519).ok()?,
            sr25519: Sessions::new(*genesis, keys.sr25519.clone(), sr25519).ok()?,
            turns: Turns::default(),
        })
    }

    fn is_open(&self, scheme: Scheme, item: &Hash) -> bool {
        match scheme {
            Scheme::Ed25519 => self.ed25519.items().any(|open| open == item),
            Scheme::Ristretto255 => self.sr25519.items().any(|open| open == item),
        }
    }

    fn has_open(&self, item: &Hash) -> bool {
        SCHEMES.into_iter().any(|scheme| self.is_open(scheme, item))
    }

    /// Moves to a head. What fails in it is an item's, and for the next attempt: whoever is at fault is among the spoilers.
    fn advance(&mut self, head: BlockNumber, ed25519: &Secret<[u8; 32]>, sr25519: &Secret<[u8; 32]>) {
        let _ = self.ed25519.advance(head, ed25519);
        let _ = self.sr25519.advance(head, sr25519);
    }

    /// Takes a letter, or says why it changes nothing.
    fn take(&mut self, letter: SigningLetter, genesis: &Hash) -> Result<(), LetterFault> {
        let session = letter.message.session();
        // Before its signature is looked at: who sends what is nobody's business costs nothing.
        if !self.is_open(session.scheme, &session.item) {
            return Err(LetterFault::NotOpen);
        }
        let scheme = session.scheme;
        verify_letter(&letter, &self.record, self.index, genesis)?;
        let SigningLetter { from, message, .. } = letter;
        match scheme {
            Scheme::Ed25519 => self.ed25519.receive(from, message)?,
            Scheme::Ristretto255 => self.sr25519.receive(from, message)?,
        }
        Ok(())
    }

    /// Indices of holders whose parts were wrong.
    fn spoilers(&self) -> BTreeSet<u16> {
        let all = self.ed25519.spoilers().iter().chain(self.sr25519.spoilers());
        all.filter(|(_, how)| **how == Spoiled::Wrong).map(|(index, _)| *index).collect()
    }

    /// What is for other holders, signed: all of it, or what has its turn.
    fn letters(&mut self, identity: &Identity, genesis: &Hash) -> Vec<Outgoing> {
        let messages = self.ed25519.outgoing().into_iter().chain(self.sr25519.outgoing());
        let due = self.turns.take(messages);
        let letter = |(to, message): (u16, SigningMessage)| {
            let holder = self.record.holders.iter().find(|holder| holder.index == to)?;
            let unsigned = SigningLetter { from: self.index, to, message, signature: [0; 64] };
            let signature = identity.sign(&unsigned.signing_payload(genesis));
            Some(Outgoing::Sign { to: holder.gatekeeper, letter: SigningLetter { signature, ..unsigned } })
        };
        due.into_iter().filter_map(letter).collect()
    }
}

/// Opens in `sessions` what is `due`, and closes everything else.
fn follow<G: Signs>(
    sessions: &mut Sessions<G>,
    due: &BTreeSet<Hash>,
    authorised: impl Fn(&Hash) -> Option<Authorised>,
) {
    let open: BTreeSet<Hash> = sessions.items().copied().collect();
    open.difference(due).for_each(|item| sessions.close(item));
    for item in due.difference(&open).filter_map(authorised) {
        // There is room. A contract whose key would be the identity, at which nobody can aim, is signed by nobody.
        let _ = sessions.begin(item);
    }
}

/// The schemes of which the head's state has no signature under the item; nothing if the proof does not say.
fn lacking(records: &Records<'_>, item: &EgressItem) -> Result<Option<Vec<Scheme>>, ChainError> {
    let mut lacking = Vec::new();
    for scheme in SCHEMES {
        match records.get::<EgressSignature>(&storage::egress_signature_key(item.cluster, item.sequence, scheme))? {
            Shown::Nothing => return Ok(None),
            Shown::Absent => lacking.push(scheme),
            // Under a fate that names this item, or it was not authorised: the chain has verified it.
            Shown::Value(_) => {}
        }
    }
    Ok(Some(lacking))
}

fn is_too_long(letter: &SigningLetter) -> bool {
    letter.message.encoded_size() > MAX_SIGNING_MESSAGE_BYTES
}

/// Verifies that a letter is of the holder of `record` that it names, for the holder `own`, on the chain with this genesis. Which sharing
/// it is about is the session's to compare.
fn verify_letter(letter: &SigningLetter, record: &IdentityRecord, own: u16, genesis: &Hash) -> Result<(), LetterFault> {
    if is_too_long(letter) {
        return Err(LetterFault::TooLong);
    }
    if letter.to != own {
        return Err(LetterFault::Addressee(letter.to));
    }
    let sender = record.holders.iter().find(|holder| holder.index == letter.from && holder.index != own);
    let sender = sender.ok_or(LetterFault::Stranger(letter.from))?.gatekeeper;
    ed25519::verify(&sender.0, &letter.signing_payload(genesis), &letter.signature).map_err(|_| LetterFault::Signature)
}

#[cfg(test)]
mod tests;
