//! What a ceremony's record shows: who is done, what is agreed, who is at fault, and what the end of a phase leads to.
//!
//! Functions of the record alone. Guarantees, while at most `n - t` seats misbehave, all others take part, and what they state reaches
//! the chain, and the chain their TEEs, before a phase's last call - whatever becomes of parcels between them: no seat that behaves
//! is ever at fault, and an attempt that makes no root shows somebody who is. So a ceremony ends after `n - t + 1` attempts; and after
//! as many more if seats that behave were left out before, when they were not reached: each failed attempt leaves somebody out, and
//! all that were absent are back when fewer than `t` are left.
//!
//! Why no honest seat is at fault. It commits, delivers to each accuser, answers each dispute with the right share, and confirms what
//! it holds. What it lacks after `Share` it complains of, and an honest dealer's delivery gives it that. So when it cannot confirm, a dealer
//! delivered nothing, and is at fault; or something else than it owes, which it disputed. A dealer that does not answer the
//! dispute is at fault. One that answers does so with its package, which the chain compares with the hash: then all that take part
//! have the same package and the same share, and either the accuser confirms with them, or all honest seats reject the dealer, having
//! the last call for it, and are a threshold. In each case the accuser is excused, and the dealer is not. A list that more than
//! `n - t` seats confirmed has an honest seat behind it, and all honest seats have the same: whoever confirmed another one lies. A list
//! of fewer proves nothing, though no other has more: where a dealer kept most from confirming, liars may be the most.
//!
//! Why somebody is at fault. If an honest seat did not confirm, by the above a dealer is. If all did, they are `t - (n - t)` at least
//! of those that take part, which is more than `n - t` because `3t > 2n`: their list prevails, and whoever did not confirm it is at
//! fault, or excused by a dealer that is.
//!
//! What is not covered: a dealer seals to keys whose evidence it verified. Who brings it an accuser's evidence is not settled here: an
//! accuser whose evidence reaches nobody has honest dealers deliver nothing. Whoever keeps the record drops, when it ends `Deliver`,
//! complaints on which nothing was delivered of whoever dealers could not verify in time.
//!
//! Seats control what they state, and through it only what the record says of themselves.

use super::{complaints, tolerated, CeremonyRecord, Confirmed, Fault, Phase, SeatRecord};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// Why a seat is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It did not commit.
    NotCommitted,
    /// It delivered nothing to a seat that complained and did not confirm.
    NotDelivered,
    /// It did not answer a dispute of a seat that did not confirm.
    NotAnswered,
    /// So many seats as the threshold rejected it.
    Rejected,
    /// It confirmed nothing, and no dealer at fault owes it anything.
    NotConfirmed,
    /// It confirmed another list than the one that prevails.
    OtherList,
}

impl Reason {
    /// What the record says of it afterwards.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Rejected => Fault::WrongShare,
            Self::NotCommitted | Self::NotDelivered | Self::NotAnswered | Self::NotConfirmed | Self::OtherList => {
                Fault::Absent
            }
        }
    }
}

/// What follows the end of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This phase: of the same attempt, or `Commit` of the next one.
    Begin(Phase),
    /// The root with this share list.
    Root(Confirmed),
    /// Nothing: fewer than a threshold are left for good.
    Abandoned,
}

/// The end of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What follows.
    pub next: Next,
    /// Dealers that a threshold rejected, ascending: also if a root is made in spite of it.
    pub convicted: Vec<u16>,
    /// Who is left out of what follows and was not before, and why.
    pub left_out: BTreeMap<u16, Reason>,
    /// How many that were absent are asked again: all of them, when too few were left.
    pub readmitted: u32,
}

/// Whether all that take part said what the phase asks of all. Then nobody waits for its last block.
pub fn is_complete(record: &CeremonyRecord) -> bool {
    participants(record).all(|(_, seat)| match record.phase {
        Phase::Commit => seat.package.is_some(),
        Phase::Share | Phase::Deliver | Phase::Settle => seat.confirmed.is_some(),
    })
}

/// The keys that all that take part confirmed, if they did, and are a threshold.
pub fn agreed(record: &CeremonyRecord) -> Option<Confirmed> {
    complaints::agreed(record.phase, record.threshold, participants(record).map(|(_, seat)| seat.confirmed))
}

/// Ends the phase of `record`, which afterwards is the one of what follows, but for the blocks of a phase that begins: see
/// [`CeremonyRecord::begin`]. The record of a root is left as it was, and that of a ceremony that is abandoned is worth nothing.
pub fn end_phase(record: &mut CeremonyRecord) -> Ended {
    let threshold = usize::from(record.threshold);
    let convicted: Vec<u16> = convicted(record).into_iter().collect();
    let mut ended = Ended { next: Next::Abandoned, convicted, left_out: BTreeMap::new(), readmitted: 0 };
    match (record.phase, agreed(record)) {
        (Phase::Commit, _) => {
            let committed = participants(record).filter(|(_, seat)| seat.package.is_some()).count();
            if committed >= threshold {
                ended.left_out = leave_out(record);
                ended.next = enter(record, Phase::Share);
            } else {
                // Whoever did not commit would be back at once.
                next_attempt(record, committed, &mut ended);
            }
        }
        (_, Some(list)) => ended.next = Next::Root(list),
        (Phase::Share, None) if !is_complete(record) => ended.next = enter(record, Phase::Deliver),
        (Phase::Deliver, None) if !is_complete(record) => ended.next = enter(record, Phase::Settle),
        (Phase::Share | Phase::Deliver | Phase::Settle, None) => {
            ended.left_out = leave_out(record);
            let left = record.seats.iter().filter(|seat| seat.left_out.is_none()).count();
            next_attempt(record, left, &mut ended);
        }
    }
    ended
}

fn enter(record: &mut CeremonyRecord, phase: Phase) -> Next {
    record.phase = phase;
    Next::Begin(phase)
}

/// Whom the end of the phase leaves out if it makes no root, and why: of `Commit`, whoever did not; of the others, see above.
pub fn faults(record: &CeremonyRecord) -> BTreeMap<u16, Reason> {
    if record.phase == Phase::Commit {
        let late = participants(record).filter(|(_, seat)| seat.package.is_none());
        return late.map(|(index, _)| (index, Reason::NotCommitted)).collect();
    }
    let (wrong, silent, list) = (convicted(record), silent(record), prevailing(record));
    let owed = complaints::owed(&record.complaints, &wrong, &silent);
    let reason = |(index, seat): (u16, &SeatRecord)| {
        let excused = || owed.contains(&index) || seat.rejected.iter().any(|dealer| wrong.contains(dealer));
        let reason = match seat.confirmed {
            _ if wrong.contains(&index) => Reason::Rejected,
            _ if silent.contains_key(&index) => *silent.get(&index)?,
            Some(mine) if list.is_some_and(|list| list != mine) => Reason::OtherList,
            None if !excused() => Reason::NotConfirmed,
            _ => return None,
        };
        Some((index, reason))
    };
    participants(record).filter_map(reason).collect()
}

fn participants(record: &CeremonyRecord) -> impl Iterator<Item = (u16, &SeatRecord)> {
    record.participants().filter_map(move |index| Some((index, record.seat(index)?)))
}

/// Dealers that a threshold of seats rejected.
fn convicted(record: &CeremonyRecord) -> BTreeSet<u16> {
    complaints::convicted(record.seats.iter().flat_map(|seat| &seat.rejected), record.threshold)
}

/// Dealers that delivered nothing, or did not answer a dispute, except of seats that confirmed afterwards: what they lacked came.
fn silent(record: &CeremonyRecord) -> BTreeMap<u16, Reason> {
    complaints::silent(&record.complaints, |accuser| record.seat(accuser).is_some_and(|seat| seat.confirmed.is_none()))
}

/// The one share list that more seats confirmed than may lie.
fn prevailing(record: &CeremonyRecord) -> Option<Confirmed> {
    let confirmed = participants(record).filter_map(|(_, seat)| seat.confirmed);
    complaints::prevailing(confirmed, tolerated(record.seats.len()))
}

/// Leaves out whoever is at fault.
fn leave_out(record: &mut CeremonyRecord) -> BTreeMap<u16, Reason> {
    let faults = faults(record);
    for (index, reason) in &faults {
        if let Some(seat) = record.seat_mut(*index) {
            seat.left_out = Some(reason.fault());
        }
    }
    faults
}

/// The next attempt, with nothing of this one. Of those that are not left out, `willing` showed that they are there.
fn next_attempt(record: &mut CeremonyRecord, willing: usize, ended: &mut Ended) {
    let threshold = usize::from(record.threshold);
    if willing < threshold {
        for seat in record.seats.iter_mut().filter(|seat| seat.left_out == Some(Fault::Absent)) {
            seat.left_out = None;
            ended.readmitted = ended.readmitted.saturating_add(1);
        }
    }
    let left = record.seats.iter().filter(|seat| seat.left_out.is_none()).count();
    let Some(next) = record.attempt.checked_add(1).filter(|_| left >= threshold) else { return };
    record.attempt = next;
    record.phase = Phase::Commit;
    record.complaints.clear();
    for seat in &mut record.seats {
        *seat = SeatRecord { left_out: seat.left_out, ..SeatRecord::new(seat.gatekeeper) };
    }
    ended.next = Next::Begin(Phase::Commit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ceremony::Complaint, ids::WorkerId};

    const LIST: Confirmed = Confirmed { share_list: [5; 32], beacon: [7; 32] };
    /// The same root, and another beacon.
    const OTHER: Confirmed = Confirmed { share_list: [5; 32], beacon: [8; 32] };

    /// So many seats, all committed, in `Settle`.
    fn settling(seats: u8) -> CeremonyRecord {
        let ids: Vec<WorkerId> = (1..=seats).map(|byte| WorkerId([byte; 32])).collect();
        let mut record = CeremonyRecord::new(1, 0, &ids);
        record.seats.iter_mut().for_each(|seat| seat.package = Some([1; 32]));
        record.begin(Phase::Settle, 1, 100);
        record
    }

    fn confirm(record: &mut CeremonyRecord, indices: impl IntoIterator<Item = u16>, list: Confirmed) {
        indices.into_iter().for_each(|index| record.seat_mut(index).unwrap().confirmed = Some(list));
    }

    fn complain(record: &mut CeremonyRecord, accuser: u16, dealer: u16) -> &mut Complaint {
        record.complaints.push(Complaint::new(accuser, dealer));
        record.complaints.last_mut().unwrap()
    }

    /// What was delivered is disputed, and answered or not.
    fn dispute(record: &mut CeremonyRecord, accuser: u16, dealer: u16, answer: Option<[[u8; 32]; 2]>) {
        let complaint = complain(record, accuser, dealer);
        (complaint.delivered, complaint.disputed, complaint.answer) = (Some([3; 32]), true, answer);
    }

    fn reasons(record: &CeremonyRecord) -> Vec<(u16, Reason)> {
        faults(record).into_iter().collect()
    }

    #[test]
    fn a_list_of_no_more_seats_than_may_lie_blames_nobody() {
        // Seven seats, of which two lie: the sixth gives its share to the first alone, and both confirm what nobody else has.
        let mut record = settling(7);
        for accuser in 2..=5 {
            complain(&mut record, accuser, 6);
        }
        confirm(&mut record, [1], LIST);
        confirm(&mut record, [6, 7], OTHER);
        assert_eq!(reasons(&record), [(6, Reason::NotDelivered)]);
        // One seat more than may lie, and the two are named.
        confirm(&mut record, [2, 3], LIST);
        assert_eq!(reasons(&record), [(6, Reason::NotDelivered), (7, Reason::OtherList)]);
        // Of two such lists neither is proved.
        let mut split = settling(4);
        confirm(&mut split, [1, 2], LIST);
        confirm(&mut split, [3, 4], OTHER);
        assert!(reasons(&split).is_empty());
    }

    #[test]
    fn whoever_a_dealer_at_fault_owes_is_excused_and_nobody_else() {
        let mut record = settling(7);
        // The seventh answered the first wrongly, which five saw; the sixth did not answer the second; the fifth answered the third.
        dispute(&mut record, 1, 7, Some([[1; 32]; 2]));
        dispute(&mut record, 2, 6, None);
        dispute(&mut record, 3, 5, Some([[1; 32]; 2]));
        for index in [1, 2, 4, 5, 6] {
            record.seat_mut(index).unwrap().rejected.push(7);
        }
        record.seat_mut(3).unwrap().rejected.push(5);
        confirm(&mut record, [4, 5], LIST);
        let silent = [(3, Reason::NotConfirmed), (6, Reason::NotAnswered), (7, Reason::Rejected)];
        assert_eq!(reasons(&record), silent);
        // Whoever confirmed lacks nothing, and its complaint accuses nobody; the sixth is excused, for it rejected the seventh.
        confirm(&mut record, [2], LIST);
        assert_eq!(reasons(&record), [(3, Reason::NotConfirmed), (7, Reason::Rejected)]);
    }

    #[test]
    fn whoever_disputes_nothing_of_what_was_delivered_is_not_excused() {
        let mut record = settling(4);
        complain(&mut record, 1, 4).delivered = Some([3; 32]);
        confirm(&mut record, [2, 3, 4], LIST);
        assert_eq!(reasons(&record), [(1, Reason::NotConfirmed)]);
        record.complaints[0].disputed = true;
        assert_eq!(reasons(&record), [(4, Reason::NotAnswered)]);
    }

    #[test]
    fn a_package_that_is_none_convicts_its_dealer_also_if_it_answers_nobody() {
        let mut record = settling(4);
        for accuser in 1..=3 {
            complain(&mut record, accuser, 4);
            record.seat_mut(accuser).unwrap().rejected.push(4);
        }
        let ended = end_phase(&mut record);
        assert_eq!((ended.next, ended.convicted), (Next::Begin(Phase::Commit), Vec::from([4])));
        assert_eq!(record.seats.iter().map(|seat| seat.left_out).collect::<Vec<_>>(), {
            [None, None, None, Some(Fault::WrongShare)]
        });
    }

    #[test]
    fn a_phase_leads_to_the_next_one_a_root_another_attempt_or_nothing() {
        let mut record = settling(4);
        record.phase = Phase::Commit;
        record.seats[3].package = None;
        let ended = end_phase(&mut record);
        assert_eq!((ended.next, record.phase), (Next::Begin(Phase::Share), Phase::Share));
        assert_eq!(ended.left_out, BTreeMap::from([(4, Reason::NotCommitted)]));
        assert!(!is_complete(&record) && agreed(&record).is_none());
        assert_eq!((end_phase(&mut record).next, record.phase), (Next::Begin(Phase::Deliver), Phase::Deliver));
        assert_eq!((end_phase(&mut record).next, record.phase), (Next::Begin(Phase::Settle), Phase::Settle));
        let mut agreeing = record.clone();
        confirm(&mut agreeing, 1..=3, LIST);
        let before = agreeing.clone();
        assert!(is_complete(&agreeing));
        assert_eq!((end_phase(&mut agreeing).next, &agreeing), (Next::Root(LIST), &before));

        // The third did not confirm: two are left, and all that were absent are asked again.
        confirm(&mut record, [1, 2], LIST);
        complain(&mut record, 1, 2);
        let ended = end_phase(&mut record);
        assert_eq!((ended.next, ended.readmitted), (Next::Begin(Phase::Commit), 2));
        let ids: Vec<WorkerId> = record.seats.iter().map(|seat| seat.gatekeeper).collect();
        assert_eq!(record, CeremonyRecord { until: record.until, ..CeremonyRecord::new(1, 1, &ids) });

        // Those that are convicted are not.
        record.seats[2].left_out = Some(Fault::WrongShare);
        record.seats[3].left_out = Some(Fault::Absent);
        assert_eq!((end_phase(&mut record).next, record.attempt), (Next::Begin(Phase::Commit), 2));
        record.seats[3].left_out = Some(Fault::WrongShare);
        assert_eq!(end_phase(&mut record).next, Next::Abandoned);
        let mut last = CeremonyRecord::new(1, u32::MAX, &ids);
        assert_eq!(end_phase(&mut last).next, Next::Abandoned, "no number is left");
    }

    #[test]
    fn seats_that_say_different_things_wait_for_no_phase_more() {
        let mut record = settling(4);
        record.phase = Phase::Share;
        confirm(&mut record, 1..=3, LIST);
        confirm(&mut record, [4], OTHER);
        let ended = end_phase(&mut record);
        assert_eq!((ended.next, ended.left_out), {
            (Next::Begin(Phase::Commit), BTreeMap::from([(4, Reason::OtherList)]))
        });
    }
}
