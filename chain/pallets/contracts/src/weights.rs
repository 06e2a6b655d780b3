//! Weights of the contracts pallet's calls.
//!
//! A body that begins with `Measured` is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is
//! explained in `docs/bench/weights.md`. The others are estimates from the operations each call does, at the reference costs of the
//! runtime's database, deliberately on the high side. Nobody controls the inputs but the caller, by their number and size.

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
    /// `draw_cluster` of `replicas` members, among `registrations` and beside `clusters`.
    fn draw_cluster(replicas: u32, registrations: u32, clusters: u32) -> Weight;
    /// `close_cluster`.
    fn close_cluster() -> Weight;
    /// `on_initialize` when `number` clusters are looked at for replicas that are shut out and for keys of a former root.
    fn look_at_clusters(number: u32) -> Weight;
    /// `on_initialize` when `number` clusters are looked at for replicas that have lapsed.
    fn watch_replicas(number: u32) -> Weight;
}

/// One Ed25519 verification by the host function.
const SIGNATURE: Weight = Weight::from_parts(60_000_000, 0);

impl WeightInfo for () {
    fn assign(replicas: u32) -> Weight {
        Weight::from_parts(30_000_000, 4_000)
            .saturating_add(Weight::from_parts(60_000_000, 1_300).saturating_mul(replicas.into()))
            // Of each replica its registration, measurement, listing, appraisal and advisories; the bans, the terms, the cap, the policy on
            // advisories, the mark, the time, the block, and the clusters of the era that comes once.
            .saturating_add(
                ParityDbWeight::get().reads_writes(11u64.saturating_add(5u64.saturating_mul(replicas.into())), 5),
            )
            .saturating_add(coming_era())
    }

    fn announce_key() -> Weight {
        // Reads and writes the announcements of up to 15 replicas, 1,220 bytes each with the era.
        Weight::from_parts(80_000_000, 24_000)
            .saturating_add(SIGNATURE)
            .saturating_add(ParityDbWeight::get().reads_writes(15, 2))
            .saturating_add(coming_era())
            .saturating_add(standing_of_all())
    }

    fn open_epochs(number: u32) -> Weight {
        let era = if number > 0 { coming_era() } else { Weight::zero() };
        // Each: cluster, head, roll, and how many clusters are of two eras; announcements and bindings are removed.
        ParityDbWeight::get().reads_writes(1, 1).saturating_add(era).saturating_add(
            ParityDbWeight::get()
                .reads_writes(5, 6)
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
        // Each result: cluster, worker, measurement, listing, appraisal, advisories, boundary or final result, votes of up to 15 replicas or
        // standings, a dispute and when one was settled, and the standing of all who voted, asked once more than boundaries become final.
        // The bans, the terms, the cap, the policy on advisories, the mark, the time and the block once.
        Weight::from_parts(10_000_000, 7_000)
            .saturating_add(ParityDbWeight::get().reads(7))
            .saturating_add(
                Weight::from_parts(100_000_000, 12_000)
                    .saturating_add(SIGNATURE)
                    .saturating_add(standing_of_all())
                    .saturating_add(ParityDbWeight::get().reads_writes(13, 3))
                    .saturating_mul(number.into()),
            )
            .saturating_add(finalise().saturating_mul(finalised.into()))
    }

    fn submit_rekey(finalised: u32) -> Weight {
        Weight::from_parts(100_000_000, 12_000)
            .saturating_add(SIGNATURE)
            .saturating_add(ParityDbWeight::get().reads_writes(17, 3))
            // Of those who voted for the binding, and of those whose results are looked at and do not become final.
            .saturating_add(standing_of_all().saturating_mul(2))
            .saturating_add(finalise().saturating_mul(finalised.into()))
    }

    fn drop_replica() -> Weight {
        // Of one that lapsed: what makes each of the others active, their advisories too, and terms, cap, bans and advisories.
        Weight::from_parts(65_000_000, 28_000)
            .saturating_add(standing_of_all())
            .saturating_add(ParityDbWeight::get().reads_writes(31, 4))
    }

    fn draw_cluster(replicas: u32, registrations: u32, clusters: u32) -> Weight {
        // The value. Of each registration itself, what makes it active, and two hashes for its number; of each cluster its record, with the
        // envelope key, and up to fifteen replicas in a sorted set.
        Self::assign(replicas)
            .saturating_add(Weight::from_parts(40_000_000, 8_000))
            .saturating_add(ParityDbWeight::get().reads(10))
            .saturating_add(
                Weight::from_parts(65_000_000, 1_400)
                    .saturating_add(ParityDbWeight::get().reads(6))
                    .saturating_mul(registrations.into()),
            )
            .saturating_add(
                Weight::from_parts(25_000_000, 2_000)
                    .saturating_add(ParityDbWeight::get().reads(1))
                    .saturating_mul(clusters.into()),
            )
    }

    fn close_cluster() -> Weight {
        // Cluster, opening epochs, head, how many clusters are of its era, whether it is disputed; the standing of all, the bans and the
        // windows; announcements, bindings, roll and standings are removed.
        Weight::from_parts(50_000_000, 28_000)
            .saturating_add(standing_of_all())
            .saturating_add(ParityDbWeight::get().reads_writes(8, 7))
    }

    fn look_at_clusters(number: u32) -> Weight {
        let era = if number > 0 { coming_era() } else { Weight::zero() };
        // The place, the number of clusters, the bans and the block once. Each: cluster, roll, announcements of up to 15 replicas of 1,220
        // bytes, bindings, how many clusters are of two eras, and the standing of all, asked again for what they announced and bound.
        ParityDbWeight::get().reads_writes(4, 1).saturating_add(era).saturating_add(
            Weight::from_parts(300_000_000, 28_000)
                .saturating_add(standing_of_all())
                .saturating_add(ParityDbWeight::get().reads_writes(6, 6))
                .saturating_mul(number.into()),
        )
    }

    fn watch_replicas(number: u32) -> Weight {
        // The place, the number of clusters, the windows, the brake, the time, the block, the terms, the cap, the bans and the advisories
        // once. Each: cluster, of up to 15 replicas the registration and the four other entries that make it active, standings, who had
        // lapsed; of one that goes cluster, announcements of 1,220 bytes each, bindings and standings.
        ParityDbWeight::get().reads_writes(10, 1).saturating_add(
            Weight::from_parts(250_000_000, 64_000)
                .saturating_add(ParityDbWeight::get().reads_writes(80, 5))
                .saturating_mul(number.into()),
        )
    }
}

/// The era of the next epoch's keys: the root that answers, which governance may have recorded with up to a thousand seats, and the one
/// that comes out of a ceremony, with up to a hundred.
fn coming_era() -> Weight {
    Weight::from_parts(40_000_000, 40_000).saturating_add(ParityDbWeight::get().reads(2))
}

/// Whether each of 15 replicas is shut out: its registration, appraisal, measurement and listing.
fn standing_of_all() -> Weight {
    Weight::from_parts(150_000_000, 12_000).saturating_add(ParityDbWeight::get().reads(60))
}

/// One boundary made final: the standing of all who voted; cluster, votes, commitment, final result, standings and their order; two results forgotten;
/// the root of what it sends, and the dispute about it; the inbox's boundary, backlog, price and queue, and `FORGOTTEN_PER_RESULT` of the chain's messages.
fn finalise() -> Weight {
    let forgotten = u64::from(phala_pallet_inbox::FORGOTTEN_PER_RESULT);
    Weight::from_parts(100_000_000, 12_000).saturating_add(standing_of_all()).saturating_add(
        ParityDbWeight::get()
            .reads_writes(15u64.saturating_add(forgotten), 18u64.saturating_add(2u64.saturating_mul(forgotten))),
    )
}
