//! Weights of the contracts pallet's calls.
//!
//! Estimates from the operations each call does, at the reference costs of the runtime's database, deliberately on the high side;
//! SPECIFICATION marks them `[not yet]` benchmarked. Nobody controls the inputs but the caller, by their number and size.

use frame_support::weights::{constants::ParityDbWeight, Weight};

/// Weights of the contracts pallet's calls.
pub trait WeightInfo {
    /// `create_cluster` and `assign_replicas` with `replicas` members.
    fn assign(replicas: u32) -> Weight;
    /// `announce_key`.
    fn announce_key() -> Weight;
    /// `on_initialize` when `number` epochs open.
    fn open_epochs(number: u32) -> Weight;
    /// `upload_code` of `bytes`.
    fn upload_code(bytes: u32) -> Weight;
    /// `instantiate` with a constructor envelope of `bytes`.
    fn instantiate(bytes: u32) -> Weight;
    /// `submit_results` of `number` results that make `finalised` boundaries final.
    fn submit_results(number: u32, finalised: u32) -> Weight;
    /// `submit_rekey` that makes `finalised` boundaries final.
    fn submit_rekey(finalised: u32) -> Weight;
    /// `drop_replica`.
    fn drop_replica() -> Weight;
}

/// One Ed25519 verification by the host function.
const SIGNATURE: Weight = Weight::from_parts(60_000_000, 0);

impl WeightInfo for () {
    fn assign(replicas: u32) -> Weight {
        Weight::from_parts(30_000_000, 4_000)
            .saturating_add(Weight::from_parts(15_000_000, 800).saturating_mul(replicas.into()))
            // Of each replica its registration, measurement and appraisal; the bans, the time and the block once.
            .saturating_add(
                ParityDbWeight::get().reads_writes(5u64.saturating_add(3u64.saturating_mul(replicas.into())), 4),
            )
    }

    fn announce_key() -> Weight {
        // Reads and writes the announcements of up to 15 replicas, 1,216 bytes each.
        Weight::from_parts(80_000_000, 24_000)
            .saturating_add(SIGNATURE)
            .saturating_add(ParityDbWeight::get().reads_writes(9, 2))
    }

    fn open_epochs(number: u32) -> Weight {
        ParityDbWeight::get().reads_writes(1u64.saturating_add(2u64.saturating_mul(number.into())), 1).saturating_add(
            ParityDbWeight::get()
                .writes(3)
                .saturating_add(Weight::from_parts(20_000_000, 4_000))
                .saturating_mul(number.into()),
        )
    }

    fn upload_code(bytes: u32) -> Weight {
        // Hashing twice (id and trie) and one large write.
        Weight::from_parts(60_000_000, 4_000)
            .saturating_add(Weight::from_parts(8_000, 0).saturating_mul(bytes.into()))
            .saturating_add(ParityDbWeight::get().reads_writes(3, 4))
    }

    fn instantiate(bytes: u32) -> Weight {
        // Beside the item and its place in the queue, two covered messages are forgotten.
        let forgotten = u64::from(phala_pallet_inbox::FORGOTTEN_PER_MESSAGE);
        Weight::from_parts(170_000_000, 8_000)
            .saturating_add(Weight::from_parts(8_000, 0).saturating_mul(bytes.into()))
            .saturating_add(
                ParityDbWeight::get().reads_writes(
                    14u64.saturating_add(forgotten),
                    12u64.saturating_add(2u64.saturating_mul(forgotten)),
                ),
            )
    }

    fn submit_results(number: u32, finalised: u32) -> Weight {
        // Each result: cluster, worker, measurement, appraisal, boundary or final result, votes of up to 15 replicas or standings. The
        // bans, the time and the block once.
        Weight::from_parts(10_000_000, 4_000)
            .saturating_add(ParityDbWeight::get().reads(3))
            .saturating_add(
                Weight::from_parts(100_000_000, 12_000)
                    .saturating_add(SIGNATURE)
                    .saturating_add(ParityDbWeight::get().reads_writes(9, 2))
                    .saturating_mul(number.into()),
            )
            .saturating_add(finalise().saturating_mul(finalised.into()))
    }

    fn submit_rekey(finalised: u32) -> Weight {
        Weight::from_parts(100_000_000, 12_000)
            .saturating_add(SIGNATURE)
            .saturating_add(ParityDbWeight::get().reads_writes(11, 3))
            .saturating_add(finalise().saturating_mul(finalised.into()))
    }

    fn drop_replica() -> Weight {
        Weight::from_parts(65_000_000, 28_000).saturating_add(ParityDbWeight::get().reads_writes(11, 4))
    }
}

/// One boundary made final: cluster, votes, commitment, final result, standings and their order; two results forgotten; the
/// inbox's boundary, backlog, price and queue, and `FORGOTTEN_PER_RESULT` of the chain's messages.
fn finalise() -> Weight {
    let forgotten = u64::from(phala_pallet_inbox::FORGOTTEN_PER_RESULT);
    Weight::from_parts(100_000_000, 12_000).saturating_add(
        ParityDbWeight::get()
            .reads_writes(14u64.saturating_add(forgotten), 16u64.saturating_add(2u64.saturating_mul(forgotten))),
    )
}
