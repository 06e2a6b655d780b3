//! Weights of the contracts pallet's calls.
//!
//! Each body is of `cargo xtask bench weights`, which measures the runtime's WASM in the states it names, and is explained in
//! `docs/bench/weights.md`. Nobody controls the inputs but the caller, by their number and size.

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

impl WeightInfo for () {
    fn assign(replicas: u32) -> Weight {
        // Measured: set_epoch_length; create_cluster of 15; create_cluster of 1; assign_replicas, 15.
        Weight::from_parts(33_000_000, 3_165).saturating_add(ParityDbWeight::get().reads_writes(2, 4)).saturating_add(
            Weight::from_parts(533_000_000, 65_169)
                .saturating_add(ParityDbWeight::get().reads_writes(14, 0))
                .saturating_mul(replicas.into()),
        )
    }

    fn announce_key() -> Weight {
        // Measured: the last of 15.
        Weight::from_parts(2_133_000_000, 110_375).saturating_add(ParityDbWeight::get().reads_writes(71, 2))
    }

    fn open_epochs(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(516_533_333, 59_059)
            .saturating_add(ParityDbWeight::get().reads_writes(21, 2))
            .saturating_add(
                Weight::from_parts(143_466_667, 6_593)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 4))
                    .saturating_mul(number.into()),
            )
    }

    fn upload_code(bytes: u32) -> Weight {
        // Measured: 8 bytes; 512 KiB.
        Weight::from_parts(207_881_064, 189)
            .saturating_add(ParityDbWeight::get().reads_writes(2, 3))
            .saturating_add(Weight::from_parts(14_867, 0).saturating_mul(bytes.into()))
    }

    fn instantiate(bytes: u32) -> Weight {
        // Measured: a small envelope; a large envelope.
        Weight::from_parts(473_289_102, 4_590)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 12))
            .saturating_add(Weight::from_parts(26_166, 0).saturating_mul(bytes.into()))
    }

    fn submit_results(number: u32, finalised: u32) -> Weight {
        // Measured: one that decides nothing; 16 that decide nothing; one that makes two final; 16 that make 32 final.
        Weight::from_parts(0, 13_927)
            .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
            .saturating_add(
                Weight::from_parts(1_723_333_334, 25_579)
                    .saturating_add(ParityDbWeight::get().reads_writes(66, 1))
                    .saturating_mul(number.into()),
            )
            .saturating_add(
                Weight::from_parts(724_906_250, 4_622)
                    .saturating_add(ParityDbWeight::get().reads_writes(8, 16))
                    .saturating_mul(finalised.into()),
            )
    }

    fn submit_rekey(finalised: u32) -> Weight {
        // Estimated, from what was measured of one that makes nothing final and one that makes two final, and from what the binding that is kept
        // costs. One against seven seats was not measured.
        Weight::from_parts(1_599_000_000, 37_145)
            .saturating_add(ParityDbWeight::get().reads_writes(73, 4))
            .saturating_add(
                Weight::from_parts(1_275_500_000, 7_115)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 15))
                    .saturating_mul(finalised.into()),
            )
    }

    fn drop_replica() -> Weight {
        // Measured: one of 15.
        Weight::from_parts(2_118_000_000, 62_531).saturating_add(ParityDbWeight::get().reads_writes(84, 4))
    }

    fn draw_cluster(replicas: u32, registrations: u32, clusters: u32) -> Weight {
        // Measured: 3 of 50; 15 of 50; 3 of 800; beside 200 clusters. Estimated: the sixth read of a registration, of its heartbeats.
        Weight::from_parts(0, 64_490)
            .saturating_add(ParityDbWeight::get().reads_writes(13, 4))
            .saturating_add(Weight::from_parts(614_416_667, 0).saturating_mul(replicas.into()))
            .saturating_add(
                Weight::from_parts(287_197_334, 1_764)
                    .saturating_add(ParityDbWeight::get().reads_writes(6, 0))
                    .saturating_mul(registrations.into()),
            )
            .saturating_add(
                Weight::from_parts(39_487_438, 2_761)
                    .saturating_add(ParityDbWeight::get().reads_writes(1, 0))
                    .saturating_mul(clusters.into()),
            )
    }

    fn close_cluster() -> Weight {
        // Measured: of 15 replicas.
        Weight::from_parts(1_334_000_000, 24_492).saturating_add(ParityDbWeight::get().reads_writes(69, 7))
    }

    fn look_at_clusters(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(0, 58_678).saturating_add(ParityDbWeight::get().reads_writes(10, 2)).saturating_add(
            Weight::from_parts(3_425_066_667, 47_588)
                .saturating_add(ParityDbWeight::get().reads_writes(65, 4))
                .saturating_mul(number.into()),
        )
    }

    fn watch_replicas(number: u32) -> Weight {
        // Measured: one; 4.
        Weight::from_parts(82_333_333, 1_618).saturating_add(ParityDbWeight::get().reads_writes(12, 1)).saturating_add(
            Weight::from_parts(1_342_666_667, 47_221)
                .saturating_add(ParityDbWeight::get().reads_writes(51, 5))
                .saturating_mul(number.into()),
        )
    }
}
