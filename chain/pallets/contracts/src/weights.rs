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
        Weight::from_parts(48_000_000, 3_165).saturating_add(ParityDbWeight::get().reads_writes(2, 4)).saturating_add(
            Weight::from_parts(423_000_000, 65_169)
                .saturating_add(ParityDbWeight::get().reads_writes(14, 0))
                .saturating_mul(replicas.into()),
        )
    }

    fn announce_key() -> Weight {
        // Measured: the last of 15.
        Weight::from_parts(1_885_000_000, 110_375).saturating_add(ParityDbWeight::get().reads_writes(71, 2))
    }

    fn open_epochs(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(455_000_000, 59_059)
            .saturating_add(ParityDbWeight::get().reads_writes(21, 2))
            .saturating_add(
                Weight::from_parts(145_000_000, 6_593)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 4))
                    .saturating_mul(number.into()),
            )
    }

    fn upload_code(bytes: u32) -> Weight {
        // Measured: 8 bytes; 512 KiB.
        Weight::from_parts(229_908_288, 189)
            .saturating_add(ParityDbWeight::get().reads_writes(2, 3))
            .saturating_add(Weight::from_parts(11_464, 0).saturating_mul(bytes.into()))
    }

    fn instantiate(bytes: u32) -> Weight {
        // Measured: a small envelope; a large envelope.
        Weight::from_parts(493_426_069, 4_590)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 12))
            .saturating_add(Weight::from_parts(15_377, 0).saturating_mul(bytes.into()))
    }

    fn submit_results(number: u32, finalised: u32) -> Weight {
        // Measured: one that decides nothing; 16 that decide nothing; one that makes two final; 16 that make 32 final.
        Weight::from_parts(0, 13_927)
            .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
            .saturating_add(
                Weight::from_parts(1_741_000_000, 25_579)
                    .saturating_add(ParityDbWeight::get().reads_writes(66, 1))
                    .saturating_mul(number.into()),
            )
            .saturating_add(
                Weight::from_parts(769_312_500, 4_622)
                    .saturating_add(ParityDbWeight::get().reads_writes(8, 16))
                    .saturating_mul(finalised.into()),
            )
    }

    fn submit_rekey(finalised: u32) -> Weight {
        // Measured: one that makes nothing final, with seven that are shut out; one that makes two final; one that makes two final, the second against seven.
        Weight::from_parts(2_675_000_000, 40_112)
            .saturating_add(ParityDbWeight::get().reads_writes(72, 4))
            .saturating_add(
                Weight::from_parts(852_000_000, 5_738)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 16))
                    .saturating_mul(finalised.into()),
            )
    }

    fn drop_replica() -> Weight {
        // Measured: one of 15.
        Weight::from_parts(3_377_000_000, 62_531).saturating_add(ParityDbWeight::get().reads_writes(84, 4))
    }

    fn draw_cluster(replicas: u32, registrations: u32, clusters: u32) -> Weight {
        // Measured: 3 of 50; 15 of 50; 3 of 800; beside 200 clusters.
        Weight::from_parts(383_016_900, 64_582)
            .saturating_add(ParityDbWeight::get().reads_writes(13, 4))
            .saturating_add(Weight::from_parts(175_166_667, 0).saturating_mul(replicas.into()))
            .saturating_add(
                Weight::from_parts(267_610_667, 1_433)
                    .saturating_add(ParityDbWeight::get().reads_writes(6, 0))
                    .saturating_mul(registrations.into()),
            )
            .saturating_add(
                Weight::from_parts(21_949_749, 2_761)
                    .saturating_add(ParityDbWeight::get().reads_writes(1, 0))
                    .saturating_mul(clusters.into()),
            )
    }

    fn close_cluster() -> Weight {
        // Measured: of 15 replicas.
        Weight::from_parts(1_248_000_000, 24_492).saturating_add(ParityDbWeight::get().reads_writes(69, 7))
    }

    fn look_at_clusters(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(306_066_666, 58_678)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 2))
            .saturating_add(
                Weight::from_parts(3_120_933_334, 47_588)
                    .saturating_add(ParityDbWeight::get().reads_writes(65, 4))
                    .saturating_mul(number.into()),
            )
    }

    fn watch_replicas(number: u32) -> Weight {
        // Measured: one; 4.
        Weight::from_parts(66_000_000, 1_618).saturating_add(ParityDbWeight::get().reads_writes(12, 1)).saturating_add(
            Weight::from_parts(1_291_000_000, 47_221)
                .saturating_add(ParityDbWeight::get().reads_writes(51, 5))
                .saturating_mul(number.into()),
        )
    }
}
