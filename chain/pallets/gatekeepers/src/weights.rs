//! Weights of the gatekeepers pallet's calls and hooks.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each does, at the reference costs of the runtime's
//! database, deliberately on the high side. A ceremony's size is bounded by its seats, and its complaints by their square.

use crate::MOST_COMPLAINTS;
use frame_support::weights::{constants::ParityDbWeight, Weight};
use phala_protocol::ceremony::MAX_SEATS;

/// Weights of the gatekeepers pallet's calls and hooks.
pub trait WeightInfo {
    /// `register_seat` and `leave`.
    fn bind() -> Weight;
    /// `start`, and what an election starts, with `seats` seats.
    fn start(seats: u32) -> Weight;
    /// `state`, in a ceremony of `seats` seats and `complaints` complaints.
    fn state(seats: u32, complaints: u32) -> Weight;
    /// `state_with`, in a ceremony of `seats` seats and `complaints` complaints.
    fn state_with(seats: u32, complaints: u32) -> Weight;
    /// `report_equivocation` and `report_identity_equivocation`.
    fn report() -> Weight;
    /// A governance call.
    fn govern() -> Weight;
    /// `vote_for_committee`.
    fn vote_for_committee() -> Weight;
    /// `show_identities`.
    fn show() -> Weight;
    /// `on_initialize` when nothing is due.
    fn idle() -> Weight;
    /// `on_initialize` when a phase of `seats` seats and `complaints` complaints ends, beyond [`Self::idle`].
    fn advance(seats: u32, complaints: u32) -> Weight;
    /// `on_initialize` when a root waits, beyond [`Self::idle`].
    fn wait() -> Weight;
    /// `on_initialize` when clusters begin to go over to a root that waited, or it answers, beyond [`Self::idle`].
    fn activate() -> Weight;
    /// One seat of the beacon was silent in a period that ended without a value.
    fn silence() -> Weight;
    /// Whether one candidate of an election has a gatekeeper.
    fn candidate() -> Weight;
    /// A set of `validators` validators that waited takes over or is given up, and whoever withdrew is fined.
    fn take(validators: u32) -> Weight;
}

/// One Ed25519 verification by the host function.
const SIGNATURE: Weight = Weight::from_parts(60_000_000, 0);

/// What is read to know whether a gatekeeper is active: its registration, measurement, listing, appraisal and advisories.
const ACTIVE_EACH: u64 = 5;
/// And once, for however many: the bans, the terms, the cap, the policy on advisories, the mark, the time and the block. Bans and policy are
/// decoded for each.
const ACTIVE_ONCE: u64 = 7;

/// The ceremony's record, decoded and encoded: 197 bytes and what it rejected for each seat, 103 bytes for each complaint.
fn record(seats: u32, complaints: u32) -> Weight {
    Weight::from_parts(20_000_000, 1_000)
        .saturating_add(Weight::from_parts(4_000_000, 407).saturating_mul(seats.into()))
        .saturating_add(Weight::from_parts(500_000, 103).saturating_mul(complaints.into()))
}

/// A validator is punished: its exposure of up to 64 nominators a page, ledger, spans and the list of slashes; the policy.
fn punishment() -> Weight {
    Weight::from_parts(400_000_000, 60_000).saturating_add(ParityDbWeight::get().reads_writes(90, 75))
}

/// A validator pays the policy's fine of its own stake, as it may for an absence: the eras, its exposure's overview, its controller, its
/// ledger and the list of slashes.
fn fine() -> Weight {
    Weight::from_parts(60_000_000, 1_500).saturating_add(ParityDbWeight::get().reads_writes(7, 1))
}

impl WeightInfo for () {
    fn bind() -> Weight {
        // What makes one active; the conviction, both bindings, those of a former validator.
        Weight::from_parts(60_000_000, 8_000).saturating_add(
            ParityDbWeight::get().reads_writes(ACTIVE_EACH.saturating_add(ACTIVE_ONCE).saturating_add(4), 3),
        )
    }

    fn start(seats: u32) -> Weight {
        // Of each seat both bindings, what makes it active, and the appraisal again. Once the rest of that; ceremony, root and the one that
        // comes, policy, attempts and seats of eras, which era deals identities, the plan and who is kept out.
        record(seats, 0)
            .saturating_add(
                Weight::from_parts(70_000_000, 1_700)
                    .saturating_add(ParityDbWeight::get().reads(ACTIVE_EACH.saturating_add(3)))
                    .saturating_mul(seats.into()),
            )
            .saturating_add(ParityDbWeight::get().reads_writes(ACTIVE_ONCE.saturating_add(8), 10))
    }

    fn state(seats: u32, complaints: u32) -> Weight {
        // The record, what makes the seat active, the genesis, and until when answers come.
        record(seats, complaints)
            .saturating_add(SIGNATURE)
            .saturating_add(
                ParityDbWeight::get().reads_writes(ACTIVE_EACH.saturating_add(ACTIVE_ONCE).saturating_add(3), 2),
            )
            .saturating_add(Weight::from_parts(40_000_000, 6_000))
    }

    fn state_with(seats: u32, complaints: u32) -> Weight {
        // Beside the statement's: 6 KiB are hashed, and deposited in an event.
        Self::state(seats, complaints).saturating_add(Weight::from_parts(60_000_000, 7_000))
    }

    fn report() -> Weight {
        // Two signatures, which era dealt, the seats of an era, the bindings and the conviction.
        SIGNATURE
            .saturating_mul(2)
            .saturating_add(Weight::from_parts(60_000_000, 12_000))
            .saturating_add(ParityDbWeight::get().reads_writes(7, 3))
            .saturating_add(punishment())
    }

    fn govern() -> Weight {
        // With the beacon's key of the root that is dropped.
        record(MAX_SEATS as u32, MOST_COMPLAINTS).saturating_add(ParityDbWeight::get().reads_writes(7, 6))
    }

    fn vote_for_committee() -> Weight {
        // The root, whose seats may be a thousand, the seats of its era, and as many votes of up to 260 bytes: each elector is looked for among the
        // seats, and each voter among the electors. The mark and the block; committee and ballots are replaced.
        Weight::from_parts(250_000_000, 75_000).saturating_add(ParityDbWeight::get().reads_writes(6, 4))
    }

    fn show() -> Weight {
        // The ceremony, and two records of identities of up to 9,900 bytes, of which both are hashed. The seats of two eras and the policy;
        // of each dealer and holder its row of absences, and for fewer than two thirds of them the fine.
        let asked = 2 * MAX_SEATS as u64;
        record(2 * MAX_SEATS as u32, (MAX_SEATS * MAX_SEATS) as u32)
            .saturating_add(Weight::from_parts(200_000_000, 22_000))
            .saturating_add(ParityDbWeight::get().reads_writes(8, 4))
            .saturating_add(ParityDbWeight::get().reads_writes(1, 1).saturating_mul(asked))
            .saturating_add(fine().saturating_mul(asked))
    }

    fn idle() -> Weight {
        // What is due of either ceremony, and the root that waits.
        Weight::from_parts(5_000_000, 200).saturating_add(ParityDbWeight::get().reads(3))
    }

    fn advance(seats: u32, complaints: u32) -> Weight {
        // Every seat may be convicted or fined, which at most a third of them are while the network holds.
        record(seats, complaints)
            .saturating_mul(2)
            // With the beacon's key that is awaited from now on.
            .saturating_add(ParityDbWeight::get().reads_writes(11, 10))
            // Of each seat also the key that it has registered, if it complained, and its row of absences.
            .saturating_add(ParityDbWeight::get().reads_writes(3, 2).saturating_mul(seats.into()))
            .saturating_add(punishment().saturating_mul(u64::from(seats / 3)))
    }

    fn wait() -> Weight {
        // The root that waits, the one that clusters go over to, and the clusters of both eras.
        Weight::from_parts(15_000_000, 5_000).saturating_add(ParityDbWeight::get().reads(6))
    }

    fn activate() -> Weight {
        // Of both roots, of which the one that answers may have a thousand seats; what waits, and the search through the clusters.
        // The beacon's schedule, its period that was due, which values are kept, and the former era's key.
        Weight::from_parts(110_000_000, 48_000)
            .saturating_add(ParityDbWeight::get().reads_writes(16, 9))
            // Whether each seat of the root that clusters begin to go over to is active.
            .saturating_add(Self::candidate().saturating_mul(MAX_SEATS as u64))
    }

    fn silence() -> Weight {
        // Whether its gatekeeper is shut out, the record of its silences, and the fine. Seats and policy are in what a period's end costs.
        Weight::from_parts(60_000_000, 1_500)
            .saturating_add(
                ParityDbWeight::get().reads_writes(ACTIVE_EACH.saturating_add(ACTIVE_ONCE).saturating_add(1), 1),
            )
            .saturating_add(fine())
    }

    fn candidate() -> Weight {
        // Its binding, and what makes its gatekeeper active; what is read once is the start's.
        Weight::from_parts(60_000_000, 1_500).saturating_add(ParityDbWeight::get().reads(ACTIVE_EACH.saturating_add(1)))
    }

    fn take(validators: u32) -> Weight {
        // The plan, the seats, the policy, both roots with the beacon's key, whether clusters go over to one, and the acting era. Of each its binding,
        // candidacy and conviction, controller and ledger, the eras and the list of slashes.
        Weight::from_parts(60_000_000, 16_000).saturating_add(ParityDbWeight::get().reads_writes(8, 6)).saturating_add(
            Weight::from_parts(60_000_000, 1_000)
                .saturating_add(ParityDbWeight::get().reads_writes(9, 1))
                .saturating_mul(validators.into()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_gatekeeper_is_active_is_charged_wherever_it_is_asked() {
        let reads = |number| ParityDbWeight::get().reads(number);
        // Registration, measurement, listing, appraisal and advisories; once the bans, the terms, the cap, the policy on advisories, the
        // mark, the time and the block.
        let (each, all) = (reads(5), reads(5 + 7));
        for charged in [<() as WeightInfo>::bind(), <() as WeightInfo>::state(4, 0), <() as WeightInfo>::start(1)] {
            assert!(charged.all_gte(all));
        }
        assert!(<() as WeightInfo>::candidate().all_gte(each.saturating_add(reads(1))));
        // Of each seat two bindings and the appraisal again beside.
        let seat = <() as WeightInfo>::start(2).saturating_sub(<() as WeightInfo>::start(1));
        assert!(seat.all_gte(each.saturating_add(reads(3))));
    }
}
