//! Weights of the gatekeepers pallet's calls and hooks.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each does, at the reference costs of the runtime's
//! database, deliberately on the high side. A ceremony's size is bounded by its seats, and its complaints by their square.

use frame_support::weights::{constants::ParityDbWeight, Weight};

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
    /// `report_equivocation` and `report_identity_equivocation` of a validator with `backers` nominators, which are slashed with it; and what is
    /// charged of each seat that is convicted at the end of a phase.
    fn report(backers: u32) -> Weight;
    /// A governance call.
    fn govern() -> Weight;
    /// `vote_for_committee`.
    fn vote_for_committee() -> Weight;
    /// `show_identities`.
    fn show() -> Weight;
    /// `on_initialize` when nothing is due.
    fn idle() -> Weight;
    /// `on_initialize` when a phase of `seats` seats and `complaints` complaints ends, beyond [`Self::idle`] and without what
    /// convictions cost.
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
    /// Slashes that governance did not cancel take of `stakes` stakes, validators' and nominators', when an era begins.
    fn apply(stakes: u32) -> Weight;
}

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

/// A validator pays the policy's fine of its own stake, as it may for an absence: the eras, its exposure's overview, its controller, its ledger
/// and the list of slashes, to whose end the fine is put. Who is behind it is neither read nor slashed.
fn fine() -> Weight {
    Weight::from_parts(200_000_000, 5_000).saturating_add(ParityDbWeight::get().reads_writes(8, 1))
}

impl WeightInfo for () {
    fn bind() -> Weight {
        // Measured: register_seat of another's former gatekeeper, in the place of one's own; leave.
        Weight::from_parts(374_000_000, 13_086).saturating_add(ParityDbWeight::get().reads_writes(14, 4))
    }

    fn start(seats: u32) -> Weight {
        // Measured: 4 seats; 100 seats; start_identities, of 100 seats from 100 others.
        Weight::from_parts(286_416_664, 63_189)
            .saturating_add(ParityDbWeight::get().reads_writes(15, 9))
            .saturating_add(
                Weight::from_parts(243_645_834, 1_727)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 0))
                    .saturating_mul(seats.into()),
            )
    }

    fn state(seats: u32, complaints: u32) -> Weight {
        // Measured: a dispute among 4; a dispute among 100; a dispute among 100, all complaints; a rejection among 100, all complaints; a dispute of identities, all complaints; a rejection of identities, all complaints.
        Weight::from_parts(418_573_452, 11_625)
            .saturating_add(ParityDbWeight::get().reads_writes(11, 1))
            .saturating_add(Weight::from_parts(3_114_584, 503).saturating_mul(seats.into()))
            .saturating_add(Weight::from_parts(984_106, 155).saturating_mul(complaints.into()))
    }

    fn state_with(seats: u32, complaints: u32) -> Weight {
        // Measured: a delivery among 4; a delivery among 100; a delivery among 100, all complaints; a delivery of identities, all complaints; a first complaint among 100, all complaints.
        Weight::from_parts(518_514_472, 11_625)
            .saturating_add(ParityDbWeight::get().reads_writes(11, 1))
            .saturating_add(Weight::from_parts(3_343_750, 503).saturating_mul(seats.into()))
            .saturating_add(Weight::from_parts(1_055_264, 155).saturating_mul(complaints.into()))
    }

    fn report(backers: u32) -> Weight {
        // Measured: of one that nobody nominates, as the last of a hundred; of one with all who may be behind it, as the last of a hundred.
        Weight::from_parts(16_279_000_000, 651_918)
            .saturating_add(ParityDbWeight::get().reads_writes(336, 11))
            .saturating_add(
                Weight::from_parts(72_007_844, 464)
                    .saturating_add(ParityDbWeight::get().reads_writes(3, 3))
                    .saturating_mul(backers.into()),
            )
    }

    fn govern() -> Weight {
        // Measured: cancel, all complaints; cancel_identities, all complaints; cancel_next.
        Weight::from_parts(7_145_000_000, 1_579_461).saturating_add(ParityDbWeight::get().reads_writes(4, 5))
    }

    fn vote_for_committee() -> Weight {
        // Measured: of 1,000 seats, undecided; of 100 seats, the one that decides.
        Weight::from_parts(437_000_000, 97_020).saturating_add(ParityDbWeight::get().reads_writes(4, 3))
    }

    fn show() -> Weight {
        // Measured: all complaints, and a third of a hundred dealers and of a hundred holders is fined.
        Weight::from_parts(14_378_000_000, 1_215_849).saturating_add(ParityDbWeight::get().reads_writes(274, 205))
    }

    fn idle() -> Weight {
        // What is due of either ceremony, and the root that waits.
        Weight::from_parts(5_000_000, 200).saturating_add(ParityDbWeight::get().reads(3))
    }

    fn advance(seats: u32, complaints: u32) -> Weight {
        record(seats, complaints)
            .saturating_mul(2)
            // With the beacon's key that is awaited from now on, or the plan that is dropped.
            .saturating_add(ParityDbWeight::get().reads_writes(12, 11))
            // Of each seat also what makes it active, if it complained, its row of absences and the fine; and once what is read for however many.
            .saturating_add(
                Weight::from_parts(60_000_000, 1_500)
                    .saturating_add(ParityDbWeight::get().reads_writes(ACTIVE_EACH.saturating_add(2), 2))
                    .saturating_add(fine())
                    .saturating_mul(seats.into()),
            )
            .saturating_add(ParityDbWeight::get().reads(ACTIVE_ONCE))
    }

    fn wait() -> Weight {
        // Measured: clusters need the former root.
        Weight::from_parts(99_000_000, 5_544).saturating_add(ParityDbWeight::get().reads_writes(6, 0))
    }

    fn activate() -> Weight {
        // Measured: the root answers; clusters begin to go over.
        Weight::from_parts(21_589_000_000, 189_443).saturating_add(ParityDbWeight::get().reads_writes(514, 8))
    }

    fn silence() -> Weight {
        // Measured: each of 16 that are fined, with all who may be behind them.
        Weight::from_parts(181_000_000, 4_151).saturating_add(ParityDbWeight::get().reads_writes(9, 2))
    }

    fn candidate() -> Weight {
        // Measured: each seat of a root that waits for its seats.
        Weight::from_parts(206_000_000, 1_901).saturating_add(ParityDbWeight::get().reads_writes(6, 0))
    }

    fn take(validators: u32) -> Weight {
        // The plan, the seats and once more their set, the policy, both roots with the beacon's key, whether clusters go over to one, and the acting
        // set. Of each its binding, candidacy and conviction, controller and ledger, and the fine of one that withdrew.
        Weight::from_parts(60_000_000, 16_000).saturating_add(ParityDbWeight::get().reads_writes(9, 6)).saturating_add(
            Weight::from_parts(60_000_000, 1_000)
                .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
                .saturating_add(fine())
                .saturating_mul(validators.into()),
        )
    }

    fn apply(stakes: u32) -> Weight {
        // Measured: of a validator alone; of one with all who may be behind it.
        Weight::from_parts(512_741_176, 14_082)
            .saturating_add(ParityDbWeight::get().reads_writes(32, 23))
            .saturating_add(
                Weight::from_parts(241_258_824, 1_278)
                    .saturating_add(ParityDbWeight::get().reads_writes(5, 3))
                    .saturating_mul(stakes.into()),
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
        // Of a report the seats of an era, the list of former sets, one of them, the conviction, both bindings, the policy and the genesis.
        assert!(<() as WeightInfo>::report(0).all_gte(reads(8)));
        // Of each that complained when the phase of deliveries ends.
        let seat = <() as WeightInfo>::advance(2, 0).saturating_sub(<() as WeightInfo>::advance(1, 0));
        assert!(seat.all_gte(ParityDbWeight::get().reads_writes(5 + 2, 2)));
    }

    #[test]
    fn whoever_is_slashed_with_a_validator_is_charged_one_by_one() {
        // The slash in the era, the spans, and what was slashed in one; when it is taken, controller, ledger, account and holds.
        for backers in [1, 256, 1_000] {
            let each = ParityDbWeight::get().reads_writes(3, 3).saturating_mul(backers.into());
            let reported = <() as WeightInfo>::report(backers).saturating_sub(<() as WeightInfo>::report(0));
            assert!(reported.all_gte(each), "{backers}");
            let each = ParityDbWeight::get().reads_writes(4, 3).saturating_mul(backers.into());
            let taken = <() as WeightInfo>::apply(backers).saturating_sub(<() as WeightInfo>::apply(0));
            assert!(taken.all_gte(each), "{backers}");
        }
    }
}
