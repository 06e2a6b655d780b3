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

impl WeightInfo for () {
    fn assign(replicas: u32) -> Weight {
        // Measured: set_epoch_length; create_cluster of 15; create_cluster of 1; assign_replicas, 15.
        Weight::from_parts(21_000_000, 3_165).saturating_add(ParityDbWeight::get().reads_writes(2, 4)).saturating_add(
            Weight::from_parts(199_000_000, 65_169)
                .saturating_add(ParityDbWeight::get().reads_writes(14, 0))
                .saturating_mul(replicas.into()),
        )
    }

    fn announce_key() -> Weight {
        // Measured: the last of 15.
        Weight::from_parts(811_000_000, 110_375).saturating_add(ParityDbWeight::get().reads_writes(71, 2))
    }

    fn open_epochs(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(214_266_666, 59_059)
            .saturating_add(ParityDbWeight::get().reads_writes(21, 2))
            .saturating_add(
                Weight::from_parts(63_733_334, 6_593)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 4))
                    .saturating_mul(number.into()),
            )
    }

    fn upload_code(bytes: u32) -> Weight {
        // Measured: 8 bytes; 512 KiB.
        Weight::from_parts(96_917_584, 189)
            .saturating_add(ParityDbWeight::get().reads_writes(2, 3))
            .saturating_add(Weight::from_parts(10_302, 0).saturating_mul(bytes.into()))
    }

    fn instantiate(bytes: u32) -> Weight {
        // Measured: a small envelope; a large envelope.
        Weight::from_parts(216_036_327, 4_590)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 12))
            .saturating_add(Weight::from_parts(12_091, 0).saturating_mul(bytes.into()))
    }

    fn submit_results(number: u32, finalised: u32) -> Weight {
        // Measured: one that decides nothing; 16 that decide nothing; one that makes two final; 16 that make 32 final.
        Weight::from_parts(5_200_000, 13_927)
            .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
            .saturating_add(
                Weight::from_parts(735_800_000, 25_579)
                    .saturating_add(ParityDbWeight::get().reads_writes(66, 1))
                    .saturating_mul(number.into()),
            )
            .saturating_add(
                Weight::from_parts(337_687_500, 4_622)
                    .saturating_add(ParityDbWeight::get().reads_writes(8, 16))
                    .saturating_mul(finalised.into()),
            )
    }

    fn submit_rekey(finalised: u32) -> Weight {
        // Measured: one that makes nothing final; one that makes two final.
        Weight::from_parts(720_000_000, 37_145)
            .saturating_add(ParityDbWeight::get().reads_writes(72, 3))
            .saturating_add(
                Weight::from_parts(580_500_000, 7_115)
                    .saturating_add(ParityDbWeight::get().reads_writes(7, 15))
                    .saturating_mul(finalised.into()),
            )
    }

    fn drop_replica() -> Weight {
        // Measured: one of 15.
        Weight::from_parts(1_503_000_000, 62_531).saturating_add(ParityDbWeight::get().reads_writes(84, 4))
    }

    fn draw_cluster(replicas: u32, registrations: u32, clusters: u32) -> Weight {
        // Measured: 3 of 50; 15 of 50; 3 of 800; beside 200 clusters.
        Weight::from_parts(0, 64_490)
            .saturating_add(ParityDbWeight::get().reads_writes(13, 4))
            .saturating_add(Weight::from_parts(99_500_000, 0).saturating_mul(replicas.into()))
            .saturating_add(
                Weight::from_parts(116_165_334, 1_264)
                    .saturating_add(ParityDbWeight::get().reads_writes(5, 0))
                    .saturating_mul(registrations.into()),
            )
            .saturating_add(
                Weight::from_parts(10_834_171, 2_761)
                    .saturating_add(ParityDbWeight::get().reads_writes(1, 0))
                    .saturating_mul(clusters.into()),
            )
    }

    fn close_cluster() -> Weight {
        // Measured: of 15 replicas.
        Weight::from_parts(550_000_000, 24_492).saturating_add(ParityDbWeight::get().reads_writes(69, 7))
    }

    fn look_at_clusters(number: u32) -> Weight {
        // Measured: one; 16.
        Weight::from_parts(101_000_000, 58_678)
            .saturating_add(ParityDbWeight::get().reads_writes(10, 2))
            .saturating_add(
                Weight::from_parts(1_398_000_000, 47_588)
                    .saturating_add(ParityDbWeight::get().reads_writes(65, 4))
                    .saturating_mul(number.into()),
            )
    }

    fn watch_replicas(number: u32) -> Weight {
        // Measured: one; 4.
        Weight::from_parts(25_333_333, 1_618).saturating_add(ParityDbWeight::get().reads_writes(12, 1)).saturating_add(
            Weight::from_parts(582_666_667, 47_221)
                .saturating_add(ParityDbWeight::get().reads_writes(51, 5))
                .saturating_mul(number.into()),
        )
    }
}
