//! What the record of a ceremony of identities shows: who is done, what is agreed, who is at fault, and what the end of a phase leads to.
//!
//! Functions of the record alone. Guarantees, while at most `n - t` of those who deal and at most `n' - t'` of those who receive misbehave, all
//! others take part, and what they state reaches the chain, and the chain their TEEs, before a phase's last call - whatever becomes of
//! parcels between them: nobody who behaves is ever at fault, and an attempt after which no record is agreed on shows somebody who
//! is. The reasons are those of [`crate::ceremony`], where a seat is both. What is different:
//!
//! *Dealers.* One that committed and does not deal owes nobody anything, and one that did not commit is left out of nothing but the attempt:
//! others deal, which costs nobody time. With fewer than it takes the attempt ends after its first phase. One that more holders
//! dispute than may lie cannot answer all of them, and is at fault for that: one of them is honest, which an honest dealer leaves no reason to
//! dispute.
//!
//! *The end.* After [`MOST_READMISSIONS`] attempts after which too few were left, whose record nobody showed, or that failed and showed
//! nobody at fault, which takes more liars than above, the ceremony is given up: so it ends whoever lies. Nothing is lost by that: nobody
//! else has the keys before the chain has a record.
//!
//! Dealers and holders control what they state, and through it only what the record says of themselves.

use super::{DealerRecord, HolderRecord, IdentityCeremonyRecord, MOST_READMISSIONS};
use crate::{
    ceremony::{complaints, tolerated, Fault, Phase, Reason},
    Hash,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

/// What follows the end of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityNext {
    /// This phase: of the same attempt, or `Commit` of the next one.
    Begin(Phase),
    /// The record with this hash is awaited: until the last block in which it is shown, which is for the caller to set.
    Agreed(Hash),
    /// Nothing: too few are left for good, or were too often. Whoever holds the keys holds them on.
    GivenUp,
}

/// Who is at fault, by index, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Of the dealers.
    pub dealers: BTreeMap<u16, Reason>,
    /// Of the holders.
    pub holders: BTreeMap<u16, Reason>,
}

/// The end of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEnded {
    /// What follows.
    pub next: IdentityNext,
    /// Dealers that a threshold of holders rejected, ascending: also if a record is agreed on in spite of it.
    pub convicted: Vec<u16>,
    /// Who is left out of what follows and was not before.
    pub left_out: Faults,
    /// How many dealers and holders that were absent are asked again, when too few were left.
    pub readmitted: u32,
}

/// Whether all that take part said what the phase asks of all. Then nobody waits for its last block. Not while a record is awaited.
pub fn is_complete(record: &IdentityCeremonyRecord) -> bool {
    record.agreed.is_none()
        && match record.phase {
            Phase::Commit => record.dealing().all(|dealer| dealer.package.is_some()),
            Phase::Share | Phase::Deliver | Phase::Settle => {
                record.receiving().all(|(_, holder)| holder.confirmed.is_some())
            }
        }
}

/// The hash that all holders that take part confirmed, if they did, and are a threshold.
pub fn agreed(record: &IdentityCeremonyRecord) -> Option<Hash> {
    complaints::agreed(record.phase, record.threshold, record.receiving().map(|(_, holder)| holder.confirmed))
}

/// Ends the phase of `record`, which afterwards is the one of what follows, but for the blocks of what begins: see
/// [`IdentityCeremonyRecord::begin`]. Of one that agreed, ends the time in which the record is shown. What is given up is worth nothing.
pub fn end_phase(record: &mut IdentityCeremonyRecord) -> IdentityEnded {
    let convicted: Vec<u16> = convicted(record).into_iter().collect();
    let (left_out, readmitted) = (Faults::default(), 0);
    let mut ended = IdentityEnded { next: IdentityNext::GivenUp, convicted, left_out, readmitted };
    if record.agreed.is_some() {
        // Convicted when all agreed in spite of it, they would deal again.
        for index in &ended.convicted {
            if let Some(dealer) = record.dealer_mut(*index) {
                dealer.left_out = Some(Reason::Rejected.fault());
                ended.left_out.dealers.insert(*index, Reason::Rejected);
            }
        }
        next_attempt(record, true, &mut ended);
        return ended;
    }
    match (record.phase, agreed(record)) {
        (Phase::Commit, _) => {
            let committed = record.dealing().filter(|dealer| dealer.package.is_some()).count();
            if committed >= usize::from(record.deals) {
                ended.next = enter(record, Phase::Share);
            } else {
                next_attempt(record, true, &mut ended);
            }
        }
        (_, Some(hash)) => {
            record.agreed = Some(hash);
            ended.next = IdentityNext::Agreed(hash);
        }
        (Phase::Share, None) if !is_complete(record) => ended.next = enter(record, Phase::Deliver),
        (Phase::Deliver, None) if !is_complete(record) => ended.next = enter(record, Phase::Settle),
        (Phase::Share | Phase::Deliver | Phase::Settle, None) => {
            ended.left_out = leave_out(record);
            // Where nobody is, more lie than may, as by confirming two records. Unless it counted they could do so for ever.
            let in_vain = ended.left_out == Faults::default();
            next_attempt(record, in_vain, &mut ended);
        }
    }
    ended
}

fn enter(record: &mut IdentityCeremonyRecord, phase: Phase) -> IdentityNext {
    record.phase = phase;
    IdentityNext::Begin(phase)
}

/// Who is at fault if the attempt ends as it stands: see above. Nobody is before `Share`.
pub fn faults(record: &IdentityCeremonyRecord) -> Faults {
    let (wrong, silent, list) = (convicted(record), silent(record), prevailing(record));
    let dealers = record.dealing().map(|dealer| dealer.index).filter_map(|index| {
        let rejected = wrong.contains(&index).then_some(Reason::Rejected);
        Some((index, rejected.or_else(|| silent.get(&index).copied())?))
    });
    let dealers = if record.phase == Phase::Commit { BTreeMap::new() } else { dealers.collect() };
    let owed = complaints::owed(&record.complaints, &wrong, &silent);
    let reason = |(index, holder): (u16, &HolderRecord)| {
        let excused = || owed.contains(&index) || holder.rejected.iter().any(|dealer| wrong.contains(dealer));
        let reason = match holder.confirmed {
            Some(mine) if list.is_some_and(|list| list != mine) => Reason::OtherList,
            None if !excused() => Reason::NotConfirmed,
            _ => return None,
        };
        Some((index, reason))
    };
    let holders = match record.phase {
        Phase::Commit => BTreeMap::new(),
        Phase::Share | Phase::Deliver | Phase::Settle => record.receiving().filter_map(reason).collect(),
    };
    Faults { dealers, holders }
}

/// Dealers that a threshold of holders rejected.
fn convicted(record: &IdentityCeremonyRecord) -> BTreeSet<u16> {
    complaints::convicted(record.holders.iter().flat_map(|holder| &holder.rejected), record.threshold)
}

/// Dealers that delivered nothing, or did not answer a dispute, except of holders that confirmed afterwards: what they lacked came.
fn silent(record: &IdentityCeremonyRecord) -> BTreeMap<u16, Reason> {
    complaints::silent(&record.complaints, |accuser| {
        record.holder(accuser).is_some_and(|holder| holder.confirmed.is_none())
    })
}

/// The one hash that more holders confirmed than may lie.
fn prevailing(record: &IdentityCeremonyRecord) -> Option<Hash> {
    let confirmed = record.receiving().filter_map(|(_, holder)| holder.confirmed);
    complaints::prevailing(confirmed, tolerated(record.holders.len()))
}

/// Leaves out whoever is at fault.
fn leave_out(record: &mut IdentityCeremonyRecord) -> Faults {
    let faults = faults(record);
    for (index, reason) in &faults.dealers {
        if let Some(dealer) = record.dealer_mut(*index) {
            dealer.left_out = Some(reason.fault());
        }
    }
    for (index, reason) in &faults.holders {
        if let Some(holder) = record.holder_mut(*index) {
            holder.left_out = Some(reason.fault());
        }
    }
    faults
}

/// The next attempt, with nothing of this one. `in_vain` says that it failed and leaves out nobody: too few committed, nobody showed the
/// record, or nobody is at fault. So often, and with so few left, nothing more begins.
fn next_attempt(record: &mut IdentityCeremonyRecord, in_vain: bool, ended: &mut IdentityEnded) {
    if in_vain || !enough(record) {
        if record.readmissions >= MOST_READMISSIONS {
            return;
        }
        record.readmissions = record.readmissions.saturating_add(1);
        ended.readmitted = readmit(record);
    }
    let Some(next) = record.attempt.checked_add(1).filter(|_| enough(record)) else { return };
    record.attempt = next;
    record.phase = Phase::Commit;
    record.agreed = None;
    record.complaints.clear();
    for dealer in &mut record.dealers {
        *dealer = DealerRecord { left_out: dealer.left_out, ..DealerRecord::new(dealer.index, dealer.gatekeeper) };
    }
    for holder in &mut record.holders {
        *holder = HolderRecord { left_out: holder.left_out, ..HolderRecord::new(holder.gatekeeper) };
    }
    ended.next = IdentityNext::Begin(Phase::Commit);
}

/// Whether those who are not left out are as many as it takes.
fn enough(record: &IdentityCeremonyRecord) -> bool {
    let dealers = record.dealers.iter().filter(|dealer| dealer.left_out.is_none()).count();
    dealers >= usize::from(record.deals) && record.receiving().count() >= usize::from(record.threshold)
}

/// Takes back all that were absent, and says how many.
fn readmit(record: &mut IdentityCeremonyRecord) -> u32 {
    let dealers = record.dealers.iter_mut().map(|dealer| &mut dealer.left_out);
    let holders = record.holders.iter_mut().map(|holder| &mut holder.left_out);
    let mut readmitted: u32 = 0;
    for left_out in dealers.chain(holders).filter(|left_out| **left_out == Some(Fault::Absent)) {
        *left_out = None;
        readmitted = readmitted.saturating_add(1);
    }
    readmitted
}

#[cfg(test)]
mod tests;
