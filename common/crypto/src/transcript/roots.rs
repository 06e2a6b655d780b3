//! Ceremonies in which a root and a beacon key are made: every seat deals, receives and confirms.
//!
//! Guarantees: what [`CeremonyKind`] asks, by the rules of [`phala_protocol::ceremony`]. Whoever made a transcript controls the record.

use super::kind::{are_distinct, are_timely, complaint, complaints_follow, kept, may_be_in_vain, CeremonyKind};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use phala_protocol::{
    ceremony::{
        agreed, end_phase, is_complete, threshold_of, CeremonyRecord, Complaint, Confirmed, Fault, Next, Phase, Reason,
        SignedStatement, MAX_SEATS,
    },
    ids::BlockNumber,
    Hash, WorkerId,
};

impl CeremonyKind for CeremonyRecord {
    type Statement = SignedStatement;
    type Keys = Confirmed;
    type Party = u16;

    fn era(&self) -> u32 {
        self.era
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn until(&self) -> BlockNumber {
        self.until
    }

    fn complaints(&self) -> &[Complaint] {
        &self.complaints
    }

    fn is_seated(&self) -> bool {
        let distinct: BTreeSet<_> = self.seats.iter().map(|seat| seat.gatekeeper).collect();
        !self.seats.is_empty()
            && self.seats.len() <= MAX_SEATS
            && distinct.len() == self.seats.len()
            && usize::from(self.threshold) == threshold_of(self.seats.len())
    }

    fn is_of(&self, first: &Self) -> bool {
        let seats = self.seats.iter().map(|seat| seat.gatekeeper);
        self.era == first.era && seats.eq(first.seats.iter().map(|seat| seat.gatekeeper))
    }

    fn is_sound(&self) -> bool {
        let sound = |one: u16, other: u16| one != other && self.seat(one).is_some() && self.seat(other).is_some();
        let complaints = self.complaints.iter().map(|complaint| (complaint.accuser, complaint.dealer));
        let rejections = (1..=u16::MAX)
            .zip(&self.seats)
            .flat_map(|(index, seat)| seat.rejected.iter().map(move |dealer| (index, *dealer)));
        are_distinct(complaints, sound) && are_distinct(rejections, sound)
    }

    fn is_timely(&self) -> bool {
        let judged = self.seats.iter().any(|seat| !seat.rejected.is_empty());
        let spoke = judged || self.seats.iter().any(|seat| seat.confirmed.is_some() || seat.key.is_some());
        are_timely(self.phase, &self.complaints, spoke, judged)
    }

    fn follows(&self, before: &Self) -> bool {
        let late = before.phase != Phase::Commit;
        let seats = before.seats.iter().zip(&self.seats).all(|(old, new)| {
            // Whoever did not commit is left out when the phase ends.
            let uncommitted = !late && self.phase != Phase::Commit && old.left_out.is_none() && new.package.is_none();
            (old.left_out == new.left_out || (uncommitted && new.left_out == Some(Fault::Absent)))
                && kept(&old.package, &new.package)
                && !(late && old.package != new.package)
                && kept(&old.confirmed, &new.confirmed)
                && kept(&old.key, &new.key)
                // Each once, as was looked at before; the chain adds at the end.
                && new.rejected.starts_with(&old.rejected)
        });
        let delivered = before.phase != Phase::Settle && self.phase == Phase::Settle;
        let stay = |old: &&Complaint| {
            let stands = complaint(&self.complaints, old.accuser, old.dealer).is_some();
            stands || !(delivered && may_be_in_vain(old, &self.complaints))
        };
        seats && complaints_follow(before.complaints.iter().filter(stay), &self.complaints)
    }

    fn is_complete(&self) -> bool {
        is_complete(self)
    }

    fn agreed(&self) -> Option<Confirmed> {
        agreed(self)
    }

    fn confirmed(&self) -> BTreeMap<u16, Confirmed> {
        (1..=u16::MAX).zip(&self.seats).filter_map(|(index, seat)| Some((index, seat.confirmed?))).collect()
    }

    fn left_out(&self) -> Vec<(u16, Option<Fault>)> {
        (1..=u16::MAX).zip(&self.seats).map(|(index, seat)| (index, seat.left_out)).collect()
    }

    fn leads_to(&self, after: &Self) -> Option<BTreeMap<u16, Reason>> {
        let mut expected = self.clone();
        let ended = end_phase(&mut expected);
        let led_here = ended.next == Next::Begin(Phase::Commit) && expected.left_out() == after.left_out();
        led_here.then_some(ended.left_out)
    }

    fn speaker(&self, signed: &SignedStatement) -> Option<WorkerId> {
        self.seat(signed.index).map(|seat| seat.gatekeeper)
    }

    fn package(&self, dealer: u16) -> Option<Hash> {
        self.seat(dealer)?.package
    }

    fn confirmation(&self, index: u16) -> Option<Confirmed> {
        self.seat(index)?.confirmed
    }

    fn has_rejected(&self, index: u16, dealer: u16) -> bool {
        self.seat(index).is_some_and(|seat| seat.rejected.contains(&dealer))
    }
}
