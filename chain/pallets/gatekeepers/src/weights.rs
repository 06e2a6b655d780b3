//! Weights of the gatekeepers pallet's calls and hooks.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each does, at the reference costs of the runtime's
//! database, deliberately on the high side. A ceremony's size is bounded by its seats, and its complaints by their square.

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

/// A validator is punished: its exposure, ledger, spans and the list of slashes, and the spans of up to 24 nominators; the policy. Staking
/// slashes all who are behind it, of whom there may be 996: see `docs/bench/weights.md`.
fn punishment() -> Weight {
    Weight::from_parts(400_000_000, 60_000).saturating_add(ParityDbWeight::get().reads_writes(90, 75))
}

/// A validator pays the policy's fine of its own stake, as it may for an absence: the eras, its exposure's overview with up to 16 pages of 64
/// nominators, its controller, its ledger and the list of slashes.
fn fine() -> Weight {
    Weight::from_parts(400_000_000, 60_000).saturating_add(ParityDbWeight::get().reads_writes(23, 1))
}

impl WeightInfo for () {
    fn bind() -> Weight {
        // Measured: register_seat of another's former gatekeeper, in the place of one's own; leave.
        Weight::from_parts(373_000_000, 13_086).saturating_add(ParityDbWeight::get().reads_writes(14, 4))
    }

    fn start(seats: u32) -> Weight {
        // Measured: 4 seats; 100 seats; start_identities, of 100 seats from 100 others. Estimated: the set that had the era's seats, the list of
        // such sets and those that are forgotten, and the plan: three reads and five writes.
        Weight::from_parts(299_208_332, 76_725)
            .saturating_add(ParityDbWeight::get().reads_writes(15, 10))
            .saturating_add(
                Weight::from_parts(245_197_917, 1_631)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 0))
                    .saturating_mul(seats.into()),
            )
    }

    fn state(seats: u32, complaints: u32) -> Weight {
        // Measured: a dispute among 4; a dispute among 100; a dispute among 100, all complaints; a rejection among 100, all complaints; a dispute of identities, all complaints; a rejection of identities, all complaints.
        Weight::from_parts(233_002_716, 11_625)
            .saturating_add(ParityDbWeight::get().reads_writes(11, 1))
            .saturating_add(Weight::from_parts(5_427_084, 503).saturating_mul(seats.into()))
            .saturating_add(Weight::from_parts(1_144_474, 155).saturating_mul(complaints.into()))
    }

    fn state_with(seats: u32, complaints: u32) -> Weight {
        // Measured: a delivery among 4; a delivery among 100; a delivery among 100, all complaints; a delivery of identities, all complaints; a first complaint among 100, all complaints.
        Weight::from_parts(384_920_438, 11_625)
            .saturating_add(ParityDbWeight::get().reads_writes(11, 1))
            .saturating_add(Weight::from_parts(2_187_500, 503).saturating_mul(seats.into()))
            .saturating_add(Weight::from_parts(1_164_781, 155).saturating_mul(complaints.into()))
    }

    fn report() -> Weight {
        // Two signatures, which era dealt, or which former set had the attempt, the seats of an era and of that set, the bindings and the
        // conviction, the policy, the genesis hash.
        SIGNATURE
            .saturating_mul(2)
            .saturating_add(Weight::from_parts(100_000_000, 22_000))
            .saturating_add(ParityDbWeight::get().reads_writes(8, 3))
            .saturating_add(punishment())
    }

    fn govern() -> Weight {
        // Measured: cancel, all complaints; cancel_identities, all complaints; cancel_next. Estimated: the plan that is dropped.
        Weight::from_parts(7_543_000_000, 1_579_523).saturating_add(ParityDbWeight::get().reads_writes(4, 5))
    }

    fn vote_for_committee() -> Weight {
        // Measured: of 1,000 seats, undecided; of 100 seats, the one that decides.
        Weight::from_parts(514_000_000, 97_020).saturating_add(ParityDbWeight::get().reads_writes(4, 3))
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
            // With the beacon's key that is awaited from now on, or the plan that is dropped.
            .saturating_add(ParityDbWeight::get().reads_writes(12, 11))
            // Of each seat also what makes it active, if it complained, and its row of absences; and once what is read for however many.
            .saturating_add(
                Weight::from_parts(60_000_000, 1_500)
                    .saturating_add(ParityDbWeight::get().reads_writes(ACTIVE_EACH.saturating_add(2), 2))
                    .saturating_mul(seats.into()),
            )
            .saturating_add(ParityDbWeight::get().reads(ACTIVE_ONCE))
            .saturating_add(punishment().saturating_mul(u64::from(seats / 3)))
    }

    fn wait() -> Weight {
        // Measured: clusters need the former root.
        Weight::from_parts(64_000_000, 5_544).saturating_add(ParityDbWeight::get().reads_writes(6, 0))
    }

    fn activate() -> Weight {
        // Measured: the root answers; clusters begin to go over.
        Weight::from_parts(18_679_000_000, 189_443).saturating_add(ParityDbWeight::get().reads_writes(514, 8))
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
        // Measured: each seat of a root that waits for its seats.
        Weight::from_parts(136_000_000, 1_419).saturating_add(ParityDbWeight::get().reads_writes(6, 0))
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
        assert!(<() as WeightInfo>::report()
            .all_gte(SIGNATURE.saturating_mul(2).saturating_add(reads(8)).saturating_add(punishment())));
        // Of each that complained when the phase of deliveries ends.
        let seat = <() as WeightInfo>::advance(2, 0).saturating_sub(<() as WeightInfo>::advance(1, 0));
        assert!(seat.all_gte(ParityDbWeight::get().reads_writes(5 + 2, 2)));
    }
}
