//! What was seen of a key ceremony, by a seat or in the chain's blocks, for others to check: of one that makes a root and a beacon key, or of
//! one in which the network's identities are made or handed over.
//!
//! A transcript holds records of the chain and signed statements: hashes of packages and deliveries, complaints, and answers that are
//! public already. It never holds packages, commitments, or shares that the chain does not show.
//!
//! Guarantees: [`verify_transcript`] is a pure function, the same for both kinds but for what [`CeremonyKind`] says of each. That it holds
//! means: each statement is signed by the gatekeeper that it names, no record contradicts an earlier one, phases and attempts come in order,
//! and what a gatekeeper said is what the records show of it. It says who confirmed what, and who was left out and why, by the chain's own
//! rules: why only where the attempt's last record is shown, so that nobody is blamed by what an exporter leaves out. It does not prove that
//! the records are the chain's: whoever checks compares them with storage proofs of his own. Checking takes time in proportion to the
//! transcript's size, but for a logarithm. The exporter controls every byte: [`Transcript::decode_bounded`] bounds what they take to read.

mod identities;
mod kind;
mod roots;

pub use identities::{IdentityTranscript, Part};
pub use kind::{CeremonyKind, Signed};

use crate::signature::ed25519;
use alloc::{collections::BTreeMap, vec::Vec};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use kind::Answers;
use phala_protocol::{
    ceremony::{CeremonyRecord, Confirmed, Fault, Reason, SignedStatement},
    ids::BlockNumber,
    Hash,
};

/// Records that a transcript has at most: as many as blocks in a day.
pub const MAX_TRANSCRIPT_RECORDS: usize = 14_400;
/// Statements that a transcript has at most.
pub const MAX_TRANSCRIPT_STATEMENTS: usize = 65_536;
/// Bytes that an encoded transcript has at most. A record of a hundred seats has some 17,000 beside its complaints, one of a hundred dealers
/// and a hundred holders some 14,000, and either changes some hundreds of times in an attempt in which nobody complains.
pub const MAX_TRANSCRIPT_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of memory that one takes at most: an absent hash is one byte of the encoding, and 33 of the record; what is absent of a
/// confirmation or an answer is one, and 65.
const MAX_TRANSCRIPT_MEMORY: usize = 128 * 1024 * 1024;

/// What was seen, oldest first: of a ceremony of the root, unless another kind's record and statements are named.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Transcript<R = CeremonyRecord, S = SignedStatement> {
    /// Records, each with the number of the finalised head that it was read at.
    pub records: Vec<(BlockNumber, R)>,
    /// Statements, of this seat and of any other whose extrinsics the exporter adds.
    pub statements: Vec<S>,
}

impl<R, S> Default for Transcript<R, S> {
    fn default() -> Self {
        Self { records: Vec::new(), statements: Vec::new() }
    }
}

impl<R: CeremonyKind> Transcript<R, R::Statement> {
    /// Reads one, within [`MAX_TRANSCRIPT_BYTES`] and as much memory as an honest one of that length takes. Judges nothing.
    pub fn decode_bounded(bytes: &[u8]) -> Result<Self, TranscriptError> {
        if bytes.len() > MAX_TRANSCRIPT_BYTES {
            return Err(TranscriptError::TooLong);
        }
        let mut rest = bytes;
        match Self::decode_with_mem_limit(&mut rest, MAX_TRANSCRIPT_MEMORY) {
            Ok(transcript) if rest.is_empty() => Ok(transcript),
            _ => Err(TranscriptError::Malformed),
        }
    }

    /// Notes a record, if it is another than the last, or the last block of its phase: what nothing is added to any more. A transcript
    /// that is full notes no more.
    pub fn observe(&mut self, head: BlockNumber, record: &R) {
        let news = self
            .records
            .last()
            .is_none_or(|(earlier, last)| last != record || (is_last(head, record) && !is_last(*earlier, last)));
        if news && self.records.len() < MAX_TRANSCRIPT_RECORDS {
            self.records.push((head, record.clone()));
        }
    }

    /// Notes a statement, once.
    pub fn note(&mut self, statement: &R::Statement) {
        if self.statements.len() < MAX_TRANSCRIPT_STATEMENTS && !self.statements.contains(statement) {
            self.statements.push(*statement);
        }
    }
}

/// By whoever was left out: the fault that the record has, and why, where the records show it.
pub type Blamed<P> = BTreeMap<P, (Fault, Option<Reason>)>;

/// What a transcript shows. `K` is what is confirmed, and `P` who is blamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<K = Confirmed, P = u16> {
    /// By attempt, the keys that each seat or holder confirmed, as far as it was seen.
    pub confirmed: BTreeMap<u32, BTreeMap<u16, K>>,
    /// By the attempt, who was left out in it or of what followed, and why: none where the records do not show it, because the
    /// attempt's last one, or the whole of the next attempt, is not among them.
    pub blamed: BTreeMap<u32, Blamed<P>>,
    /// The attempt that made keys or handed them over, and what these are known by, if everybody who took part was seen to confirm them.
    pub made: Option<(u32, K)>,
}

/// What a transcript of this kind of ceremony shows.
pub type OutcomeOf<R> = Outcome<<R as CeremonyKind>::Keys, <R as CeremonyKind>::Party>;

/// Why a transcript does not hold; the fault is the exporter's, or of whoever gave it the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// The bytes are none.
    #[error("transcript is malformed")]
    Malformed,
    /// It holds no record.
    #[error("transcript holds no record")]
    Empty,
    /// It has more bytes, records or statements than are looked at.
    #[error("transcript has more bytes, records or statements than are looked at")]
    TooLong,
    /// A record has no seats, too many, one twice, or another threshold than theirs; or complaints or rejections that are of no two
    /// different gatekeepers, or there twice; or it says that something is agreed on which was not; or, of identities, fewer deal than it
    /// takes, or one that is left out said something.
    #[error("record {0} is not one that the rules allow")]
    Unsound(usize),
    /// A record is of another era, other seats or other keys that are handed over than the first.
    #[error("record {0} is of another ceremony than the first")]
    OtherCeremony(usize),
    /// Heads, attempts or phases run backwards.
    #[error("record {0} is older than the one before it")]
    OutOfOrder(usize),
    /// A record takes back what one of the same attempt showed, or shows what cannot have been said yet.
    #[error("record {0} contradicts the one before it, or its phase")]
    Contradiction(usize),
    /// A statement names a seat, dealer, holder or attempt of which there is no record.
    #[error("statement {0} is of nobody, or no attempt, in the records")]
    NoSuchSeat(usize),
    /// A statement's signature is not the gatekeeper's.
    #[error("statement {0} is not signed by the gatekeeper that it names")]
    BadSignature(usize),
    /// The records show that the gatekeeper said something else.
    #[error("statement {0} is not what the records show of its gatekeeper")]
    OtherStatement(usize),
}

/// Checks a transcript of one era's ceremony.
pub fn verify_transcript<R: CeremonyKind>(
    genesis: &Hash,
    transcript: &Transcript<R, R::Statement>,
) -> Result<OutcomeOf<R>, TranscriptError> {
    let (_, first) = transcript.records.first().ok_or(TranscriptError::Empty)?;
    if transcript.records.len() > MAX_TRANSCRIPT_RECORDS || transcript.statements.len() > MAX_TRANSCRIPT_STATEMENTS {
        return Err(TranscriptError::TooLong);
    }
    let mut outcome: OutcomeOf<R> = Outcome { confirmed: BTreeMap::new(), blamed: BTreeMap::new(), made: None };
    let mut last: Option<(BlockNumber, &R)> = None;
    let mut lasts = BTreeMap::<u32, &R>::new();
    for (position, (head, record)) in transcript.records.iter().enumerate() {
        verify_record(position, first, record)?;
        if let Some((earlier, before)) = last {
            let order = |head: BlockNumber, record: &R| (record.attempt(), record.phase(), head);
            if *head < earlier || order(*head, record) < order(earlier, before) {
                return Err(TranscriptError::OutOfOrder(position));
            }
            let same_attempt = record.attempt() == before.attempt();
            // A chain has one record at a block.
            if (same_attempt && !record.follows(before)) || (*head == earlier && record != before) {
                return Err(TranscriptError::Contradiction(position));
            }
            let blamed = blame(earlier, before, record);
            if !same_attempt || !blamed.is_empty() {
                outcome.blamed.entry(before.attempt()).or_default().extend(blamed);
            }
        }
        outcome.confirmed.insert(record.attempt(), record.confirmed());
        lasts.insert(record.attempt(), record);
        last = Some((*head, record));
    }
    let shown: BTreeMap<u32, Shown<'_, R>> =
        lasts.into_iter().map(|(attempt, record)| (attempt, Shown::of(record))).collect();
    for (position, statement) in transcript.statements.iter().enumerate() {
        verify_statement(genesis, &shown, position, statement)?;
    }
    outcome.made = last.and_then(|(_, record)| Some((record.attempt(), record.agreed()?)));
    Ok(outcome)
}

fn verify_record<R: CeremonyKind>(position: usize, first: &R, record: &R) -> Result<(), TranscriptError> {
    if !record.is_seated() {
        return Err(TranscriptError::Unsound(position));
    }
    if !record.is_of(first) {
        return Err(TranscriptError::OtherCeremony(position));
    }
    if !record.is_sound() {
        return Err(TranscriptError::Unsound(position));
    }
    if !record.is_timely() {
        return Err(TranscriptError::Contradiction(position));
    }
    Ok(())
}

/// Whether nothing is added to the phase's record after this head: its blocks are over, or all that take part said what it asks.
fn is_last<R: CeremonyKind>(head: BlockNumber, record: &R) -> bool {
    head >= record.until() || record.is_complete()
}

/// Who may be left out, and why it is.
type Standing<R> = (<R as CeremonyKind>::Party, Option<Fault>);

/// Who is left out of `after` and was not of `before`, and what is shown against each. Within an attempt that is who did not commit.
/// Of an attempt that failed it is what its last record leads to, by the chain's rules; of an earlier record a seat that said in time
/// what it had to would be blamed for it.
fn blame<R: CeremonyKind>(head: BlockNumber, before: &R, after: &R) -> Blamed<R::Party> {
    let follows = before.attempt().checked_add(1) == Some(after.attempt());
    let reasons = if follows && is_last(head, before) { before.leads_to(after) } else { None };
    let reasons = reasons.unwrap_or_default();
    let blamed = |((party, old), (_, new)): (Standing<R>, Standing<R>)| {
        let fault = new.filter(|fault| old != Some(*fault))?;
        let reason = match before.attempt() == after.attempt() {
            // Nobody else is left out within an attempt: see `follows`.
            true => Some(Reason::NotCommitted),
            false => reasons.get(&party).copied().filter(|reason| reason.fault() == fault),
        };
        Some((party, (fault, reason)))
    };
    before.left_out().into_iter().zip(after.left_out()).filter_map(blamed).collect()
}

/// Whether the record shows that the chain took this statement. Its signature is not looked at.
pub fn is_taken<R: CeremonyKind>(record: &R, signed: &R::Statement) -> bool {
    (record.era(), record.attempt()) == signed.place() && kind::has_taken(record, signed)
}

/// What an attempt's records show of what was said.
struct Shown<'a, R> {
    record: &'a R,
    answers: Answers,
}

impl<'a, R: CeremonyKind> Shown<'a, R> {
    fn of(record: &'a R) -> Self {
        Self { record, answers: kind::answers(record.complaints()) }
    }
}

fn verify_statement<R: CeremonyKind>(
    genesis: &Hash,
    shown: &BTreeMap<u32, Shown<'_, R>>,
    position: usize,
    signed: &R::Statement,
) -> Result<(), TranscriptError> {
    let (era, attempt) = signed.place();
    let attempt = shown.get(&attempt).filter(|shown| shown.record.era() == era);
    let Shown { record, answers } = attempt.ok_or(TranscriptError::NoSuchSeat(position))?;
    let speaker = record.speaker(signed).ok_or(TranscriptError::NoSuchSeat(position))?;
    ed25519::verify(&speaker.0, &signed.payload(genesis), signed.signature())
        .map_err(|_| TranscriptError::BadSignature(position))?;
    // A statement that the chain did not take is no contradiction; one that differs from what it took is.
    if kind::differs(*record, signed, answers) {
        return Err(TranscriptError::OtherStatement(position));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
