//! What a seat saw of a ceremony, for others to check.
//!
//! A transcript holds records of the chain and signed statements: hashes of packages and deliveries, complaints, and answers that are
//! public already. It never holds packages, commitments, or shares that the chain does not show.
//!
//! Guarantees: [`verify_transcript`] is a pure function. That it holds means: each statement is signed by the seat that it names, no
//! record contradicts an earlier one, phases and attempts come in order, and what a seat said is what the records show of it. It
//! says who confirmed what, and who was left out and why, by the chain's own rules: why only where the attempt's last record is shown,
//! so that nobody is blamed by what an exporter leaves out. It does not prove that the records are the chain's: whoever checks
//! compares them with storage proofs of his own. Checking takes time in proportion to the transcript's size, but for a
//! logarithm. The exporter controls every byte; whoever decodes them bounds their number.

use codec::{Decode, DecodeWithMemTracking, Encode};
use phala_crypto::signature::ed25519;
use phala_protocol::{
    ceremony::{
        agreed, end_phase, is_complete, threshold_of, CeremonyRecord, Complaint, Fault, Next, Phase, Reason,
        SeatRecord, SignedStatement, Statement, MAX_SEATS,
    },
    ids::BlockNumber,
    Hash,
};
use std::collections::{BTreeMap, BTreeSet};

/// Records that a transcript has at most: as many as blocks in a day.
pub const MAX_TRANSCRIPT_RECORDS: usize = 14_400;
/// Statements that a transcript has at most.
pub const MAX_TRANSCRIPT_STATEMENTS: usize = 65_536;

/// What was seen, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Transcript {
    /// Records, each with the number of the finalised head that it was read at.
    pub records: Vec<(BlockNumber, CeremonyRecord)>,
    /// Statements, of this seat and of any other whose extrinsics the exporter adds.
    pub statements: Vec<SignedStatement>,
}

impl Transcript {
    /// Notes a record, if it is another than the last, or the last block of its phase: what nothing is added to any more. A transcript
    /// that is full notes no more.
    pub fn observe(&mut self, head: BlockNumber, record: &CeremonyRecord) {
        let news = self
            .records
            .last()
            .is_none_or(|(earlier, last)| last != record || (is_last(head, record) && !is_last(*earlier, last)));
        if news && self.records.len() < MAX_TRANSCRIPT_RECORDS {
            self.records.push((head, record.clone()));
        }
    }

    /// Notes a statement, once.
    pub fn note(&mut self, statement: &SignedStatement) {
        if self.statements.len() < MAX_TRANSCRIPT_STATEMENTS && !self.statements.contains(statement) {
            self.statements.push(*statement);
        }
    }
}

/// What a transcript shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By attempt, the list that each seat confirmed, as far as it was seen.
    pub confirmed: BTreeMap<u32, BTreeMap<u16, Hash>>,
    /// By the attempt, who was left out in it or of what followed, and why: none where the records do not show it, because the
    /// attempt's last one, or the whole of the next attempt, is not among them.
    pub blamed: BTreeMap<u32, BTreeMap<u16, (Fault, Option<Reason>)>>,
    /// The attempt that made a root and its share list, if everybody who took part was seen to confirm it.
    pub root: Option<(u32, Hash)>,
}

/// Why a transcript does not hold; the fault is the exporter's, or of whoever gave it the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// It holds no record.
    #[error("transcript holds no record")]
    Empty,
    /// It holds more records or statements than are looked at.
    #[error("transcript holds more records or statements than are looked at")]
    TooLong,
    /// A record has no seats, too many, one twice, or another threshold than theirs; or complaints or rejections that are of no two
    /// different seats, or there twice.
    #[error("record {0} is not one that the rules allow")]
    Unsound(usize),
    /// A record is of another era or other seats than the first.
    #[error("record {0} is of another ceremony than the first")]
    OtherCeremony(usize),
    /// Heads, attempts or phases run backwards.
    #[error("record {0} is older than the one before it")]
    OutOfOrder(usize),
    /// A record takes back what one of the same attempt showed, or shows what cannot have been said yet.
    #[error("record {0} contradicts the one before it, or its phase")]
    Contradiction(usize),
    /// A statement names a seat or an attempt of which there is no record.
    #[error("statement {0} is of no seat or attempt in the records")]
    NoSuchSeat(usize),
    /// A statement's signature is not the seat's.
    #[error("statement {0} is not signed by the seat that it names")]
    BadSignature(usize),
    /// The records show that the seat said something else.
    #[error("statement {0} is not what the records show of its seat")]
    OtherStatement(usize),
}

/// Checks a transcript of one era's ceremony.
pub fn verify_transcript(genesis: &Hash, transcript: &Transcript) -> Result<Outcome, TranscriptError> {
    let (_, first) = transcript.records.first().ok_or(TranscriptError::Empty)?;
    if transcript.records.len() > MAX_TRANSCRIPT_RECORDS || transcript.statements.len() > MAX_TRANSCRIPT_STATEMENTS {
        return Err(TranscriptError::TooLong);
    }
    let mut outcome = Outcome::default();
    let mut last: Option<(BlockNumber, &CeremonyRecord)> = None;
    let mut lasts = BTreeMap::<u32, &CeremonyRecord>::new();
    for (position, (head, record)) in transcript.records.iter().enumerate() {
        verify_record(position, first, record)?;
        if let Some((earlier, before)) = last {
            let order = |head, record: &CeremonyRecord| (record.attempt, record.phase, head);
            if *head < earlier || order(*head, record) < order(earlier, before) {
                return Err(TranscriptError::OutOfOrder(position));
            }
            if record.attempt == before.attempt {
                follows(before, record).ok_or(TranscriptError::Contradiction(position))?;
            }
            // A chain has one record at a block.
            if *head == earlier && record != before {
                return Err(TranscriptError::Contradiction(position));
            }
            let blamed = blame(earlier, before, record);
            if record.attempt != before.attempt || !blamed.is_empty() {
                outcome.blamed.entry(before.attempt).or_default().extend(blamed);
            }
        }
        let confirmed: BTreeMap<u16, Hash> =
            (1..).zip(&record.seats).filter_map(|(index, seat)| Some((index, seat.confirmed?))).collect();
        outcome.confirmed.insert(record.attempt, confirmed);
        lasts.insert(record.attempt, record);
        last = Some((*head, record));
    }
    let shown: BTreeMap<u32, Shown<'_>> =
        lasts.into_iter().map(|(attempt, record)| (attempt, Shown::of(record))).collect();
    for (position, statement) in transcript.statements.iter().enumerate() {
        verify_statement(genesis, &shown, position, statement)?;
    }
    outcome.root = last.and_then(|(_, record)| root_of(record));
    Ok(outcome)
}

fn verify_record(position: usize, first: &CeremonyRecord, record: &CeremonyRecord) -> Result<(), TranscriptError> {
    let distinct: BTreeSet<_> = record.seats.iter().map(|seat| seat.gatekeeper).collect();
    let sound = !record.seats.is_empty()
        && record.seats.len() <= MAX_SEATS
        && distinct.len() == record.seats.len()
        && usize::from(record.threshold) == threshold_of(record.seats.len());
    if !sound {
        return Err(TranscriptError::Unsound(position));
    }
    let seats = |record: &CeremonyRecord| -> Vec<_> { record.seats.iter().map(|seat| seat.gatekeeper).collect() };
    if record.era != first.era || seats(record) != seats(first) {
        return Err(TranscriptError::OtherCeremony(position));
    }
    if !pairs_are_sound(record) {
        return Err(TranscriptError::Unsound(position));
    }
    let judged = |seat: &SeatRecord| !seat.rejected.is_empty();
    let early = |seat: &SeatRecord| seat.confirmed.is_some() || seat.key.is_some() || judged(seat);
    // Nothing is disputed that was not delivered, and nothing answered that is not disputed.
    let unfounded = record
        .complaints
        .iter()
        .any(|known| (known.disputed && known.delivered.is_none()) || (known.answer.is_some() && !known.disputed));
    let premature = match record.phase {
        Phase::Commit => record.seats.iter().any(early) || !record.complaints.is_empty(),
        Phase::Share => {
            record.seats.iter().any(judged) || record.complaints.iter().any(|known| known.delivered.is_some())
        }
        Phase::Deliver => {
            record.seats.iter().any(judged) || record.complaints.iter().any(|known| known.answer.is_some())
        }
        Phase::Settle => false,
    };
    if premature || unfounded {
        return Err(TranscriptError::Contradiction(position));
    }
    Ok(())
}

/// Whether `after` only adds to `before`, in the same attempt.
fn follows(before: &CeremonyRecord, after: &CeremonyRecord) -> Option<()> {
    let kept = |old: Option<Hash>, new: Option<Hash>| old.is_none() || old == new;
    let late = before.phase != Phase::Commit;
    for (old, new) in before.seats.iter().zip(&after.seats) {
        // Whoever did not commit is left out when the phase ends.
        let uncommitted = !late && after.phase != Phase::Commit && old.left_out.is_none() && new.package.is_none();
        let holds = (old.left_out == new.left_out || (uncommitted && new.left_out == Some(Fault::Absent)))
            && kept(old.package, new.package)
            && !(late && old.package != new.package)
            && kept(old.confirmed, new.confirmed)
            && kept(old.key, new.key)
            // Each once, as was looked at before; the chain adds at the end.
            && new.rejected.starts_with(&old.rejected);
        if !holds {
            return None;
        }
    }
    let mut complaints = after.complaints.iter();
    for old in &before.complaints {
        let new = complaints.next()?;
        let holds = (old.accuser, old.dealer) == (new.accuser, new.dealer)
            && kept(old.delivered, new.delivered)
            && (!old.disputed || new.disputed)
            && kept(old.answer, new.answer);
        if !holds {
            return None;
        }
    }
    Some(())
}

/// Whether complaints and rejections name different seats that are there, each pair once.
fn pairs_are_sound(record: &CeremonyRecord) -> bool {
    let sound = |one: u16, other: u16| one != other && record.seat(one).is_some() && record.seat(other).is_some();
    let mut complaints = BTreeSet::new();
    let distinct = |known: &mut BTreeSet<(u16, u16)>, pair: (u16, u16)| sound(pair.0, pair.1) && known.insert(pair);
    let mut rejections = BTreeSet::new();
    record.complaints.iter().all(|complaint| distinct(&mut complaints, (complaint.accuser, complaint.dealer)))
        && (1u16..)
            .zip(&record.seats)
            .all(|(index, seat)| seat.rejected.iter().all(|dealer| distinct(&mut rejections, (index, *dealer))))
}

/// Whether nothing is added to the phase's record after this head: its blocks are over, or all that take part said what it asks.
fn is_last(head: BlockNumber, record: &CeremonyRecord) -> bool {
    head >= record.until || is_complete(record)
}

/// Who is left out of `after` and was not of `before`, and what is shown against each. Within an attempt that is who did not commit.
/// Of an attempt that failed it is what its last record leads to, by the chain's rules; of an earlier record a seat that said in time
/// what it had to would be blamed for it.
fn blame(head: BlockNumber, before: &CeremonyRecord, after: &CeremonyRecord) -> BTreeMap<u16, (Fault, Option<Reason>)> {
    let reasons = ended_with(head, before, after).unwrap_or_default();
    let blamed = |(index, (old, new)): (u16, (&SeatRecord, &SeatRecord))| {
        let fault = new.left_out.filter(|fault| old.left_out != Some(*fault))?;
        let reason = match before.attempt == after.attempt {
            // Nobody else is left out within an attempt: see `follows`.
            true => Some(Reason::NotCommitted),
            false => reasons.get(&index).copied().filter(|reason| reason.fault() == fault),
        };
        Some((index, (fault, reason)))
    };
    (1u16..).zip(before.seats.iter().zip(&after.seats)).filter_map(blamed).collect()
}

/// Whom the end of the attempt left out, if `before` is its last record, and leads to the seats of `after`, of the attempt after it.
fn ended_with(head: BlockNumber, before: &CeremonyRecord, after: &CeremonyRecord) -> Option<BTreeMap<u16, Reason>> {
    if before.attempt.checked_add(1) != Some(after.attempt) || !is_last(head, before) {
        return None;
    }
    let mut expected = before.clone();
    let ended = end_phase(&mut expected);
    let left_out = |record: &CeremonyRecord| -> Vec<_> { record.seats.iter().map(|seat| seat.left_out).collect() };
    let led_here = ended.next == Next::Begin(Phase::Commit) && left_out(&expected) == left_out(after);
    led_here.then_some(ended.left_out)
}

fn root_of(record: &CeremonyRecord) -> Option<(u32, Hash)> {
    Some((record.attempt, agreed(record)?))
}

/// What an attempt's records show of what was said.
struct Shown<'a> {
    record: &'a CeremonyRecord,
    /// By accuser and dealer.
    answers: BTreeMap<(u16, u16), [u8; 32]>,
}

impl<'a> Shown<'a> {
    fn of(record: &'a CeremonyRecord) -> Self {
        let answer = |complaint: &Complaint| Some(((complaint.accuser, complaint.dealer), complaint.answer?));
        Self { record, answers: record.complaints.iter().filter_map(answer).collect() }
    }
}

fn verify_statement(
    genesis: &Hash,
    shown: &BTreeMap<u32, Shown<'_>>,
    position: usize,
    signed: &SignedStatement,
) -> Result<(), TranscriptError> {
    let attempt = shown.get(&signed.attempt).filter(|shown| shown.record.era == signed.era);
    let Shown { record, answers } = attempt.ok_or(TranscriptError::NoSuchSeat(position))?;
    let seat = record.seat(signed.index).ok_or(TranscriptError::NoSuchSeat(position))?;
    ed25519::verify(&seat.gatekeeper.0, &signed.signing_payload(genesis), &signed.signature)
        .map_err(|_| TranscriptError::BadSignature(position))?;
    // A statement that the chain did not take is no contradiction; one that differs from what it took is.
    let differs = match signed.statement {
        Statement::Commit { package } => seat.package.is_some_and(|recorded| recorded != package),
        Statement::Confirm { share_list } => seat.confirmed.is_some_and(|recorded| recorded != share_list),
        Statement::Answer { accuser, share } => {
            answers.get(&(accuser, signed.index)).is_some_and(|recorded| *recorded != share)
        }
        // A delivery is sealed anew after a crash.
        Statement::Complain { .. }
        | Statement::Deliver { .. }
        | Statement::Dispute { .. }
        | Statement::Reject { .. } => false,
    };
    if differs {
        return Err(TranscriptError::OtherStatement(position));
    }
    Ok(())
}
