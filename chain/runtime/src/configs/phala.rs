//! The product's own pallets: attestation, inbox, contracts, beacon, egress, heartbeats. What meets staking is in [`super::gatekeepers`].
//!
//! The constants are consensus rules and prices; who may change the registry and the clusters is `governance::GovernanceOrigin`.

use crate::{
    configs::{
        funds::TreasuryAccount,
        governance::{BrakeOrigin, GovernanceOrigin},
    },
    currency::*,
    network, Balance, Balances, Beacon, Contracts, Heartbeats, Runtime, RuntimeHoldReason,
};
use frame_support::{parameter_types, traits::Get};
use phala_protocol::{
    beacon::{MadeBeacon, Period},
    heartbeat::{HeartbeatPolicy, EVERY_WORKER},
    identities::IdentityPoints,
    ids::{BlockNumber, WorkerId},
    Hash,
};

parameter_types! {
    /// One hybrid opening by one replica: about 80 microseconds of a core.
    pub const OpeningPrice: Balance = CENT / 10;
    /// One session command by one replica: a symmetric opening and a batched signature.
    pub const SessionOpeningPrice: Balance = CENT / 100;
    /// About an hour of boundaries at one a second: what a replica may be behind and still catch up by itself. At most 7 MB of state
    /// for a cluster of 15 replicas, 2 MB for one of three, and only while a replica is behind.
    pub const MaxReplicaLag: u32 = 4_096;
    /// A week of hours. At most 1.1 MB of state with a hundred seats, 250 KB with 21.
    pub const BeaconValuesKept: u32 = 168;
    /// What a cluster pays out in an hour, unless governance has set another limit: what two colluding replicas of three could take
    /// before others see that it happens.
    pub const EgressLimit: Balance = 100_000 * UNIT;
    /// For each byte of contract code, which the chain keeps and serves.
    pub const CodeDepositPerByte: Balance = deposit(0, 1);
}

/// Blocks that an epoch stays open at least, and so the granularity of forward secrecy: an hour of 1 s blocks on a development
/// network, an hour of 6 s blocks elsewhere.
pub struct EpochLength;
impl frame_support::traits::Get<BlockNumber> for EpochLength {
    fn get() -> BlockNumber {
        let slot = network::SlotDuration::get().max(1);
        BlockNumber::try_from(3_600_000 / slot).unwrap_or(BlockNumber::MAX)
    }
}

/// Blocks from one value of the beacon to the next: 20 s of 1 s blocks on a development network, an hour of 6 s blocks elsewhere.
pub struct BeaconPeriod;
impl frame_support::traits::Get<BlockNumber> for BeaconPeriod {
    fn get() -> BlockNumber {
        if network::IsDevelopment::get() {
            20
        } else {
            600
        }
    }
}

/// Blocks after a result became final in which its other replicas may still show that they signed otherwise: five minutes of 6 s blocks,
/// and five blocks on a development network.
pub struct DissentWindow;
impl Get<BlockNumber> for DissentWindow {
    fn get() -> BlockNumber {
        if network::IsDevelopment::get() {
            5
        } else {
            50
        }
    }
}

/// The network's public keys, of which contracts' follow. They stay, whichever set of gatekeepers holds them.
pub struct NetworkIdentities;
impl Get<Option<IdentityPoints>> for NetworkIdentities {
    fn get() -> Option<IdentityPoints> {
        phala_pallet_gatekeepers::Identity::<Runtime>::get().map(|record| record.keys)
    }
}

/// Shows the newest value of the beacon to whoever draws from it.
pub struct NewestBeacon;
impl phala_pallet_contracts::LatestBeacon for NewestBeacon {
    fn latest() -> Option<MadeBeacon> {
        Beacon::latest()
    }
}

impl phala_pallet_heartbeats::BeaconValues for NewestBeacon {
    fn newest() -> Option<(u32, Period)> {
        phala_pallet_beacon::Latest::<Runtime>::get()
    }

    fn value(era: u32, period: Period) -> Option<Hash> {
        phala_pallet_beacon::Values::<Runtime>::get((era, period)).map(|made| made.value)
    }
}

/// Until governance decides otherwise: a value samples one worker of eight, which has ten minutes of 6 s blocks to answer; on a development
/// network every worker, which has fifteen blocks. Whoever misses three in a row is unresponsive.
pub struct FirstHeartbeatPolicy;
impl Get<HeartbeatPolicy> for FirstHeartbeatPolicy {
    fn get() -> HeartbeatPolicy {
        if network::IsDevelopment::get() {
            HeartbeatPolicy { rate: EVERY_WORKER, window: 15, patience: 3 }
        } else {
            HeartbeatPolicy { rate: EVERY_WORKER / 8, window: 100, patience: 3 }
        }
    }
}

/// Whom heartbeats leave among those that are drawn.
pub struct WithHeartbeat;
impl phala_pallet_contracts::Responsive for WithHeartbeat {
    fn is_responsive(worker: &WorkerId) -> bool {
        Heartbeats::is_responsive(worker)
    }
}

impl phala_pallet_attestation::Config for Runtime {
    type InsecureDevelopment = network::IsDevelopment;
    type LoneRoot = network::TakesLoneRoot;
    type GovernanceOrigin = GovernanceOrigin;
    type BrakeOrigin = BrakeOrigin;
    type OnBarred = Contracts;
    type WeightInfo = ();
}

impl phala_pallet_inbox::Config for Runtime {
    type Currency = Balances;
    type Clusters = Contracts;
    type FeeReceiver = TreasuryAccount;
    type OpeningPrice = OpeningPrice;
    type SessionOpeningPrice = SessionOpeningPrice;
    type WeightInfo = ();
}

impl phala_pallet_contracts::Config for Runtime {
    type GovernanceOrigin = GovernanceOrigin;
    type HoldCurrency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type DepositPerByte = CodeDepositPerByte;
    type EpochLength = EpochLength;
    type MaxReplicaLag = MaxReplicaLag;
    type Beacon = NewestBeacon;
    type Responsive = WithHeartbeat;
    type WeightInfo = ();
}

impl phala_pallet_beacon::Config for Runtime {
    type PeriodLength = BeaconPeriod;
    type ValuesKept = BeaconValuesKept;
    type OnSilence = crate::Gatekeepers;
    type WeightInfo = ();
}

impl phala_pallet_egress::Config for Runtime {
    type GovernanceOrigin = GovernanceOrigin;
    type Currency = Balances;
    type Identities = NetworkIdentities;
    type DissentWindow = DissentWindow;
    type PeriodLength = EpochLength;
    type PeriodLimit = EgressLimit;
    type WeightInfo = ();
}

impl phala_pallet_heartbeats::Config for Runtime {
    type GovernanceOrigin = GovernanceOrigin;
    type Beacon = NewestBeacon;
    type DefaultPolicy = FirstHeartbeatPolicy;
    type WeightInfo = ();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        configs::system::RuntimeBlockWeights, Address, RuntimeCall, Signature, SignedPayload, TxExtension,
        UncheckedExtrinsic,
    };
    use codec::{DecodeAll, Encode};
    use frame_support::dispatch::DispatchClass;
    use phala_attest::Evidence;
    use phala_attest_corpus::{unaltered, Kind};
    use phala_pallet_beacon::{Latest, Values, WeightInfo};
    use phala_pallet_contracts::LatestBeacon;
    use phala_protocol::{
        attestation::{Registration, Role},
        beacon::BeaconValue,
        identities::IdentityRecord,
        ids::AccountId,
    };
    use sp_keyring::Sr25519Keyring;
    use sp_runtime::generic::Era;

    /// `cargo xtask bench attest` knows no runtime: the bytes of a transaction that it adds to a registration's arguments are these.
    #[test]
    fn a_signed_registration_has_the_bytes_around_its_arguments_that_the_benchmark_adds() {
        let alice = Sr25519Keyring::Alice;
        let case = unaltered(Kind::TdxV5).remove(0);
        let evidence = Evidence::decode_all(&mut &case.input.evidence[..]).unwrap();
        let registration = Registration {
            role: Role::Worker,
            identity: WorkerId([1; 32]),
            encryption_key: [2; 32],
            operator: AccountId(alice.to_account_id().into()),
            block: 1_000_000,
            block_hash: [4; 32],
        };
        let arguments = registration.encoded_size() + evidence.encoded_size();
        let evidence = Box::new(evidence);
        let call =
            RuntimeCall::Attestation(phala_pallet_attestation::Call::<Runtime>::register { registration, evidence });
        let extension = TxExtension::new((
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            frame_system::CheckEra::from(Era::mortal(64, 0)),
            frame_system::CheckNonce::from(5),
            frame_system::CheckWeight::new(),
            pallet_transaction_payment::ChargeTransactionPayment::from(0),
            frame_metadata_hash_extension::CheckMetadataHash::new(false),
            frame_system::WeightReclaim::new(),
        ));
        let bytes = sp_io::TestExternalities::default().execute_with(|| {
            // The block that the transaction's era begins with.
            frame_system::BlockHash::<Runtime>::insert(0, crate::Hash::repeat_byte(1));
            let payload = SignedPayload::new(call.clone(), extension.clone()).unwrap();
            let signature = Signature::Sr25519(payload.using_encoded(|bytes| alice.sign(bytes)));
            let signer = Address::Id(alice.to_account_id());
            UncheckedExtrinsic::new_signed(call, signer, signature, extension).encode()
        });
        assert!(UncheckedExtrinsic::decode_all(&mut &bytes[..]).is_ok());
        let around = bytes.len() - arguments;
        let benchmark = include_str!("../../../../testing/bench/attest/src/main.rs");
        let said = format!("const TRANSACTION_BYTES: usize = {around};");
        assert!(benchmark.contains(&said), "the benchmark does not say: {said}");
    }

    #[test]
    fn a_value_of_the_beacon_is_due_every_600_blocks_and_every_20_on_a_development_network() {
        sp_io::TestExternalities::default().execute_with(|| {
            assert_eq!(BeaconPeriod::get(), 600);
            network::Development::<Runtime>::put(true);
            assert_eq!(BeaconPeriod::get(), 20);
        });
    }

    #[test]
    fn a_value_samples_one_worker_of_eight_and_every_one_on_a_development_network() {
        sp_io::TestExternalities::default().execute_with(|| {
            let policy = Heartbeats::policy();
            assert_eq!((policy.rate, policy.window, policy.patience), (8_192, 100, 3));
            assert!(policy.in_range() && policy.window < BeaconPeriod::get());
            network::Development::<Runtime>::put(true);
            let policy = Heartbeats::policy();
            assert_eq!((policy.rate, policy.window), (65_536, 15));
            assert!(policy.in_range() && policy.window < BeaconPeriod::get());
            // A heartbeat names a block of its window, whose hash the chain has to know.
            assert!(crate::configs::system::BlockHashCount::get() > *phala_protocol::heartbeat::WINDOW_BLOCKS.end());
        });
    }

    #[test]
    fn the_newest_value_opens_a_round_and_no_unresponsive_worker_is_drawn() {
        use frame_support::traits::Hooks;
        use phala_pallet_contracts::Responsive;
        use phala_pallet_heartbeats::{Round, Standings};
        use phala_protocol::{heartbeat::HeartbeatStanding, storage};
        sp_io::TestExternalities::default().execute_with(|| {
            let read = |key: Vec<u8>| sp_io::storage::get(&key).map(|bytes| bytes.to_vec());
            crate::System::set_block_number(5);
            Heartbeats::on_initialize(5);
            assert_eq!(read(storage::heartbeat_round_key()), None);
            let proof = BeaconValue { era: 1, period: 7, partials: Vec::new() };
            Values::<Runtime>::insert((1u32, 7u32), MadeBeacon { opened: 1, made: 2, value: [6; 32], proof });
            Latest::<Runtime>::put((1u32, 7u32));
            Heartbeats::on_initialize(5);
            let round = Round::<Runtime>::get().unwrap();
            assert_eq!((round.era, round.period, round.value, round.opened), (1, 7, [6; 32], 5));
            assert_eq!(read(storage::heartbeat_round_key()), Some(round.encode()));
            type Asked = <Runtime as phala_pallet_contracts::Config>::Responsive;
            let worker = WorkerId([1; 32]);
            assert!(Asked::is_responsive(&worker));
            let standing = HeartbeatStanding { unresponsive: true, ..Default::default() };
            Standings::<Runtime>::insert(worker, standing);
            assert!(!Asked::is_responsive(&worker));
            assert_eq!(read(storage::heartbeat_standing_key(&worker)), Some(standing.encode()));
        });
    }

    #[test]
    fn what_the_beacon_costs_at_the_most_fits_into_a_transaction() {
        let most = RuntimeBlockWeights::get().get(DispatchClass::Normal).max_extrinsic.unwrap();
        assert!(most.all_gte(<() as WeightInfo>::most()));
        assert!(most.all_gte(<() as WeightInfo>::publish_key(100)));
    }

    #[test]
    fn signatures_of_contracts_count_under_the_keys_that_gatekeepers_were_recorded_with() {
        sp_io::TestExternalities::default().execute_with(|| {
            assert_eq!(NetworkIdentities::get(), None);
            let keys = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };
            let record = IdentityRecord { era: 1, threshold: 3, keys, holders: Vec::new() };
            phala_pallet_gatekeepers::Identity::<Runtime>::put(record);
            assert_eq!(NetworkIdentities::get(), Some(keys));
        });
    }

    #[test]
    fn replicas_are_drawn_from_the_newest_value_that_the_beacon_keeps() {
        sp_io::TestExternalities::default().execute_with(|| {
            assert_eq!(NewestBeacon::latest(), None);
            for (era, period) in [(1, 0), (1, 1), (2, 0)] {
                let proof = BeaconValue { era, period, partials: Vec::new() };
                let made = MadeBeacon { opened: 1, made: 2, value: [era as u8 + period as u8; 32], proof };
                Values::<Runtime>::insert((era, period), made.clone());
                Latest::<Runtime>::put((era, period));
                assert_eq!(NewestBeacon::latest(), Some(made));
            }
        });
    }
}
