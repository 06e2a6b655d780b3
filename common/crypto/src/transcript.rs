//! What was seen of a key ceremony, by a seat or in the chain's blocks, for others to check.
//!
//! A transcript holds records of the chain and signed statements: hashes of packages and deliveries, complaints, and answers that are
//! public already. It never holds packages, commitments, or shares that the chain does not show.
//!
//! Guarantees: [`verify_transcript`] is a pure function. That it holds means: each statement is signed by the seat that it names, no
//! record contradicts an earlier one, phases and attempts come in order, and what a seat said is what the records show of it. It
//! says who confirmed what, and who was left out and why, by the chain's own rules: why only where the attempt's last record is shown,
//! so that nobody is blamed by what an exporter leaves out. It does not prove that the records are the chain's: whoever checks
//! compares them with storage proofs of his own. Checking takes time in proportion to the transcript's size, but for a
//! logarithm. The exporter controls every byte: [`Transcript::decode_bounded`] bounds what they take to read.

use crate::signature::ed25519;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use codec::{Decode, DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use phala_protocol::{
    ceremony::{
        agreed, end_phase, is_complete, threshold_of, CeremonyRecord, Complaint, Confirmed, Fault, Next, Phase, Reason,
        SeatRecord, SignedStatement, Statement, MAX_SEATS,
    },
    ids::BlockNumber,
    Hash,
};

/// Records that a transcript has at most: as many as blocks in a day.
pub const MAX_TRANSCRIPT_RECORDS: usize = 14_400;
/// Statements that a transcript has at most.
pub const MAX_TRANSCRIPT_STATEMENTS: usize = 65_536;
/// Bytes that an encoded transcript has at most. A record of a hundred seats has some 17,000 beside its complaints, and changes some
/// hundreds of times in an attempt in which nobody complains.
pub const MAX_TRANSCRIPT_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of memory that one takes at most: an absent hash is one byte of the encoding, and 33 of the record; what is absent of a
/// confirmation or an answer is one, and 65.
const MAX_TRANSCRIPT_MEMORY: usize = 128 * 1024 * 1024;

/// What was seen, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Transcript {
    /// Records, each with the number of the finalised head that it was read at.
    pub records: Vec<(BlockNumber, CeremonyRecord)>,
    /// Statements, of this seat and of any other whose extrinsics the exporter adds.
    pub statements: Vec<SignedStatement>,
}

impl Transcript {
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
    /// By attempt, the keys that each seat confirmed, as far as it was seen.
    pub confirmed: BTreeMap<u32, BTreeMap<u16, Confirmed>>,
    /// By the attempt, who was left out in it or of what followed, and why: none where the records do not show it, because the
    /// attempt's last one, or the whole of the next attempt, is not among them.
    pub blamed: BTreeMap<u32, BTreeMap<u16, (Fault, Option<Reason>)>>,
    /// The attempt that made a root and a beacon key, and what they are known by, if everybody who took part was seen to confirm them.
    pub root: Option<(u32, Confirmed)>,
}

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
        let confirmed: BTreeMap<u16, Confirmed> =
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
    let late = before.phase != Phase::Commit;
    for (old, new) in before.seats.iter().zip(&after.seats) {
        // Whoever did not commit is left out when the phase ends.
        let uncommitted = !late && after.phase != Phase::Commit && old.left_out.is_none() && new.package.is_none();
        let holds = (old.left_out == new.left_out || (uncommitted && new.left_out == Some(Fault::Absent)))
            && kept(&old.package, &new.package)
            && !(late && old.package != new.package)
            && kept(&old.confirmed, &new.confirmed)
            && kept(&old.key, &new.key)
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
            && kept(&old.delivered, &new.delivered)
            && (!old.disputed || new.disputed)
            && kept(&old.answer, &new.answer);
        if !holds {
            return None;
        }
    }
    Some(())
}

/// Whether what a record showed it still shows.
fn kept<T: PartialEq>(old: &Option<T>, new: &Option<T>) -> bool {
    old.is_none() || old == new
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

/// Whether the record shows that the chain took this statement. Its signature is not looked at.
pub fn is_taken(record: &CeremonyRecord, signed: &SignedStatement) -> bool {
    let SignedStatement { era, attempt, index, .. } = *signed;
    let Some(seat) = record.seat(index).filter(|_| (record.era, record.attempt) == (era, attempt)) else {
        return false;
    };
    let complaint = |accuser: u16, dealer: u16| {
        record.complaints.iter().find(|known| (known.accuser, known.dealer) == (accuser, dealer))
    };
    match signed.statement {
        Statement::Commit { package } => seat.package == Some(package),
        Statement::Complain { dealer } => complaint(index, dealer).is_some(),
        Statement::Answer { accuser, shares } => {
            complaint(accuser, index).is_some_and(|known| known.answer == Some(shares))
        }
        Statement::Reject { dealer } => seat.rejected.contains(&dealer),
        Statement::Confirm(keys) => seat.confirmed == Some(keys),
        Statement::Deliver { accuser, parcel } => {
            complaint(accuser, index).is_some_and(|known| known.delivered == Some(parcel))
        }
        Statement::Dispute { dealer, parcel } => {
            complaint(index, dealer).is_some_and(|known| known.disputed && known.delivered == Some(parcel))
        }
    }
}

fn root_of(record: &CeremonyRecord) -> Option<(u32, Confirmed)> {
    Some((record.attempt, agreed(record)?))
}

/// What an attempt's records show of what was said.
struct Shown<'a> {
    record: &'a CeremonyRecord,
    /// By accuser and dealer.
    answers: BTreeMap<(u16, u16), [[u8; 32]; 2]>,
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
        Statement::Confirm(keys) => seat.confirmed.is_some_and(|recorded| recorded != keys),
        Statement::Answer { accuser, shares } => {
            answers.get(&(accuser, signed.index)).is_some_and(|recorded| *recorded != shares)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{signature::ed25519::IdentityKey, Secret};
    use phala_protocol::WorkerId;

    const GENESIS: Hash = [7; 32];
    const KEYS: Confirmed = Confirmed { share_list: [9; 32], beacon: [8; 32] };

    fn key(index: u16) -> IdentityKey {
        IdentityKey::from_seed(&Secret::new([index as u8; 32]))
    }

    fn signed(index: u16, statement: Statement) -> SignedStatement {
        let mut signed = SignedStatement { era: 0, attempt: 0, index, statement, signature: [0; 64] };
        signed.signature = key(index).sign(&signed.signing_payload(&GENESIS));
        signed
    }

    /// Four seats that commit and confirm, and what each of them said.
    fn whole() -> Transcript {
        let ids = [1, 2, 3, 4].map(|index| WorkerId(key(index).public()));
        let mut record = CeremonyRecord::new(0, 0, &ids);
        record.begin(Phase::Commit, 1, 50);
        let mut transcript = Transcript::default();
        transcript.observe(1, &record);
        let say = |transcript: &mut Transcript, record: &CeremonyRecord, index, statement| {
            let statement = signed(index, statement);
            assert!(is_taken(record, &statement));
            transcript.note(&statement);
        };
        for (index, seat) in (1u16..).zip([0usize, 1, 2, 3]) {
            let package = [index as u8; 32];
            record.seats[seat].package = Some(package);
            say(&mut transcript, &record, index, Statement::Commit { package });
        }
        transcript.observe(2, &record);
        record.begin(Phase::Share, 3, 100);
        for (index, seat) in (1u16..).zip([0usize, 1, 2, 3]) {
            record.seats[seat].confirmed = Some(KEYS);
            say(&mut transcript, &record, index, Statement::Confirm(KEYS));
        }
        transcript.observe(4, &record);
        transcript
    }

    #[test]
    fn a_transcript_is_read_as_it_was_written_and_shows_who_confirmed_what() {
        let transcript = whole();
        let read = Transcript::decode_bounded(&transcript.encode()).unwrap();
        assert_eq!(read, transcript);
        let outcome = verify_transcript(&GENESIS, &read).unwrap();
        assert_eq!(outcome.root, Some((0, KEYS)));
        assert_eq!(outcome.confirmed[&0], BTreeMap::from([1, 2, 3, 4].map(|index| (index, KEYS))));
        assert!(outcome.blamed.is_empty());
        let elsewhere = verify_transcript(&[8; 32], &read);
        assert_eq!(elsewhere, Err(TranscriptError::BadSignature(0)), "of another chain");
    }

    #[test]
    fn what_is_no_transcript_is_not_read() {
        let bytes = whole().encode();
        assert_eq!(Transcript::decode_bounded(&bytes[1..]), Err(TranscriptError::Malformed));
        assert_eq!(Transcript::decode_bounded(&[&bytes[..], &[0]].concat()), Err(TranscriptError::Malformed));
        let long = alloc::vec![0; MAX_TRANSCRIPT_BYTES + 1];
        assert_eq!(Transcript::decode_bounded(&long), Err(TranscriptError::TooLong));
    }

    #[test]
    fn a_statement_that_the_chain_did_not_take_is_told_from_one_that_it_took() {
        let transcript = whole();
        let (_, record) = transcript.records.last().unwrap();
        assert!(transcript.statements.iter().all(|statement| is_taken(record, statement)));
        let other = signed(1, Statement::Commit { package: [99; 32] });
        assert!(!is_taken(record, &other), "the seat's signature does not make it the chain's");
        assert!(!is_taken(record, &signed(9, Statement::Complain { dealer: 1 })));
        let other_beacon = Confirmed { beacon: [7; 32], ..KEYS };
        assert!(!is_taken(record, &signed(1, Statement::Confirm(other_beacon))), "the root's list is half of it");
        let mut disputed = record.clone();
        assert!(!is_taken(&disputed, &signed(1, Statement::Complain { dealer: 2 })));
        let mut complaint = Complaint::new(1, 2);
        (complaint.delivered, complaint.disputed, complaint.answer) = (Some([5; 32]), true, Some([[6; 32]; 2]));
        disputed.complaints.push(complaint);
        disputed.seats[0].rejected.push(2);
        for (index, statement, wrong) in [
            (1, Statement::Complain { dealer: 2 }, Statement::Complain { dealer: 3 }),
            (2, Statement::Deliver { accuser: 1, parcel: [5; 32] }, Statement::Deliver { accuser: 1, parcel: [4; 32] }),
            (1, Statement::Dispute { dealer: 2, parcel: [5; 32] }, Statement::Dispute { dealer: 2, parcel: [4; 32] }),
            (
                2,
                Statement::Answer { accuser: 1, shares: [[6; 32]; 2] },
                Statement::Answer { accuser: 1, shares: [[6; 32], [4; 32]] },
            ),
            (1, Statement::Reject { dealer: 2 }, Statement::Reject { dealer: 3 }),
        ] {
            assert!(is_taken(&disputed, &signed(index, statement)), "{statement:?}");
            assert!(!is_taken(&disputed, &signed(index, wrong)), "{wrong:?}");
        }
        let earlier = SignedStatement { attempt: 1, ..transcript.statements[0] };
        assert!(!is_taken(record, &earlier), "of another attempt");
    }
}
