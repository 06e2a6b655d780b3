//! Admission on a mock runtime, with evidence of the simulator under the development root and genuine-format collateral.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::{self as pallet_attestation, *};
use codec::{Decode, Encode};
use frame_support::{assert_noop, assert_ok, derive_impl, traits::ConstU64};
use phala_attest::{Collateral, Evidence};
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{Assurance, Registration, Role},
    chain_state::RootRecord,
    AccountId, WorkerId,
};
use sp_core::{ed25519, Pair};
use sp_runtime::{traits::IdentityLookup, AccountId32, BuildStorage, DispatchResult};

#[frame_support::runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeTask,
        RuntimeHoldReason,
        RuntimeFreezeReason
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(50)]
    pub type Attestation = pallet_attestation;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = frame_system::mocking::MockBlockU32<Test>;
    type AccountId = AccountId32;
    type Lookup = IdentityLookup<AccountId32>;
}

#[derive_impl(pallet_timestamp::config_preludes::TestDefaultConfig)]
impl pallet_timestamp::Config for Test {}

frame_support::parameter_types! {
    pub static Development: bool = true;
}

impl crate::Config for Test {
    type InsecureDevelopment = Development;
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type AttestationPeriod = ConstU64<86_400>;
    type WeightInfo = ();
}

const NOW: u64 = 1_790_000_000;
const BLOCK: u32 = 50;
const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

fn network(insecure_development: bool) -> sp_io::TestExternalities {
    Development::set(insecure_development);
    let storage = frame_system::GenesisConfig::<Test>::default().build_storage().unwrap();
    let mut network = sp_io::TestExternalities::new(storage);
    network.execute_with(|| {
        System::set_block_number(BLOCK);
        pallet_timestamp::Now::<Test>::put(NOW * 1_000);
        for block in 1..BLOCK {
            frame_system::BlockHash::<Test>::insert(block, sp_core::H256([block as u8; 32]));
        }
    });
    network
}

fn machine(name: &str) -> InsecureMachine {
    InsecureMachine::new(name, b"worker binary", NOW).unwrap()
}

fn signed(account: [u8; 32]) -> RuntimeOrigin {
    RuntimeOrigin::signed(AccountId32::new(account))
}

fn registration(operator: [u8; 32], identity: u8) -> Registration {
    Registration {
        role: Role::Worker,
        identity: WorkerId(ed25519::Pair::from_seed(&[identity; 32]).public().0),
        encryption_key: [4; 32],
        operator: AccountId(operator),
        block: BLOCK - 1,
        block_hash: [BLOCK as u8 - 1; 32],
    }
}

fn evidence(machine: &InsecureMachine, registration: &Registration) -> Evidence {
    let quote = machine.quote(registration.report_data(&Attestation::genesis()));
    Evidence::TdxDcap(quote.try_into().unwrap())
}

fn submit(collateral: &Collateral) -> DispatchResult {
    Attestation::submit_collateral(signed(BOB), Box::new(collateral.clone()))
}

fn register(machine: &InsecureMachine, registration: Registration) -> DispatchResult {
    let evidence = evidence(machine, &registration);
    Attestation::register(signed(registration.operator.0), registration, Box::new(evidence))
}

fn allow(machine: &InsecureMachine, not_before: u32, sunset: Option<u32>) {
    assert_ok!(Attestation::allow_measurement(
        RuntimeOrigin::root(),
        machine.measurement(),
        [0; 32],
        not_before,
        sunset
    ));
}

#[test]
fn simulated_machine_joins_a_development_network_and_is_marked() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let registration = registration(ALICE, 1);
        assert_ok!(register(&machine, registration));
        let record = Attestation::active(&registration.identity, Role::Worker).unwrap();
        assert_eq!(record.assurance, Assurance::Simulated);
        assert_eq!((record.operator, record.measurement), (AccountId(ALICE), machine.measurement()));
        assert!(record.valid_until <= NOW + 86_400);
        assert_eq!(Attestation::active(&registration.identity, Role::Gatekeeper), None);
    });
}

#[test]
fn development_root_counts_for_nothing_elsewhere() {
    network(false).execute_with(|| {
        let machine = machine("one");
        assert_noop!(submit(machine.collateral()), Error::<Test>::CollateralRefused);
        allow(&machine, 0, None);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::NoCollateral);
    });
    // Collateral that was accepted on a development network is refused by its root when the mark is gone.
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        Development::set(false);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::UntrustedRoot);
    });
}

#[test]
fn evidence_binds_chain_role_keys_operator_and_a_recent_block() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let good = registration(ALICE, 1);
        let proof = evidence(&machine, &good);
        let attempt =
            |claimed: Registration| Attestation::register(signed(claimed.operator.0), claimed, Box::new(proof.clone()));
        assert_noop!(attempt(Registration { role: Role::Gatekeeper, ..good }), Error::<Test>::WrongReportData);
        assert_noop!(attempt(Registration { identity: WorkerId([9; 32]), ..good }), Error::<Test>::WrongReportData);
        assert_noop!(attempt(Registration { encryption_key: [9; 32], ..good }), Error::<Test>::WrongReportData);
        assert_noop!(attempt(Registration { operator: AccountId(BOB), ..good }), Error::<Test>::WrongReportData);
        let stolen = Attestation::register(signed(BOB), good, Box::new(proof.clone()));
        assert_noop!(stolen, Error::<Test>::NotTheOperator);
        assert_noop!(attempt(Registration { block_hash: [0; 32], ..good }), Error::<Test>::NotRecent);
        assert_noop!(attempt(Registration { block: BLOCK, ..good }), Error::<Test>::NotRecent);
        assert_noop!(attempt(Registration { block: 0, block_hash: [0; 32], ..good }), Error::<Test>::NotRecent);
        // Named is the block before BLOCK; its age is bounded to the block.
        System::set_block_number(BLOCK + phala_protocol::limits::MAX_REGISTRATION_AGE_BLOCKS);
        assert_noop!(attempt(good), Error::<Test>::NotRecent);
        System::set_block_number(BLOCK - 1 + phala_protocol::limits::MAX_REGISTRATION_AGE_BLOCKS);
        assert_ok!(attempt(good));
    });
}

#[test]
fn altered_evidence_is_refused() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let good = registration(ALICE, 1);
        let Evidence::TdxDcap(quote) = evidence(&machine, &good);
        for position in [50, 200, 400, 600, 700] {
            let mut bytes = quote.clone().into_inner();
            bytes[position] ^= 1;
            let altered = Evidence::TdxDcap(bytes.try_into().unwrap());
            let attempt = Attestation::register(signed(ALICE), good, Box::new(altered));
            assert_noop!(attempt, Error::<Test>::EvidenceRefused);
        }
    });
}

#[test]
fn evidence_for_another_chain_and_evidence_of_before_are_refused() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let claim = registration(ALICE, 1);
        let attempt = |claim: Registration, quote: Vec<u8>| {
            Attestation::register(signed(ALICE), claim, Box::new(Evidence::TdxDcap(quote.try_into().unwrap())))
        };
        let elsewhere = machine.quote(claim.report_data(&[9; 32]));
        assert_noop!(attempt(claim, elsewhere), Error::<Test>::WrongReportData);
        // What was good for an earlier registration does not renew it.
        let before = machine.quote(claim.report_data(&Attestation::genesis()));
        let later = Registration { block: BLOCK - 2, block_hash: [BLOCK as u8 - 2; 32], ..claim };
        assert_noop!(attempt(later, before.clone()), Error::<Test>::WrongReportData);
        // Stale collateral makes good evidence stale, until newer comes.
        let model = Collaterals::<Test>::iter_keys().next().unwrap();
        let expiry = Collaterals::<Test>::get(model).unwrap().valid_until();
        pallet_timestamp::Now::<Test>::put(expiry * 1_000);
        assert_noop!(attempt(claim, before.clone()), Error::<Test>::EvidenceRefused);
        pallet_timestamp::Now::<Test>::put(expiry * 1_000 - 1);
        assert_ok!(attempt(claim, before));
        assert!(Workers::<Test>::get(claim.identity).unwrap().valid_until <= expiry);
    });
}

#[test]
fn a_bit_flipped_anywhere_in_evidence_is_refused() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let good = registration(ALICE, 1);
        let quote = machine.quote(good.report_data(&Attestation::genesis()));
        // A prime step, so that every field is hit.
        for bit in (0..quote.len() * 8).step_by(331) {
            let mut flipped = quote.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = Box::new(Evidence::TdxDcap(flipped.try_into().unwrap()));
            assert!(Attestation::register(signed(ALICE), good, flipped).is_err(), "bit {bit}");
        }
        assert_eq!(Workers::<Test>::iter().count(), 0);
    });
}

#[test]
fn collateral_of_another_authority_displaces_nothing() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let model = Collaterals::<Test>::iter_keys().next().unwrap();
        let kept = Collaterals::<Test>::get(model).unwrap();
        assert_eq!(kept.model(), model);
        // The same model's processors under the other authority: no evidence of this machine is judged by it.
        Collaterals::<Test>::insert(phala_attest::PlatformModel { authority: [9; 32], ..model }, kept.clone());
        Collaterals::<Test>::remove(model);
        assert_noop!(register(&machine, registration(ALICE, 1)), Error::<Test>::NoCollateral);
        Collaterals::<Test>::insert(model, kept);
        assert_ok!(register(&machine, registration(ALICE, 1)));
    });
}

#[test]
fn early_collateral_waits_for_governance_and_gives_way_to_standard_one() {
    network(true).execute_with(|| {
        let machine = machine("one");
        let set = |origin, cap| Attestation::set_evaluation_cap(origin, cap);
        assert!(set(signed(ALICE), Some(1)).is_err());
        // The simulator's documents are of evaluation 1.
        assert_ok!(set(RuntimeOrigin::root(), Some(0)));
        assert_noop!(submit(machine.collateral()), Error::<Test>::EvaluationTooEarly);
        assert_ok!(set(RuntimeOrigin::root(), Some(1)));
        assert_ok!(submit(machine.collateral()));
        // Somebody had brought an early evaluation 2, issued later, before there was a cap.
        let model = Collaterals::<Test>::iter_keys().next().unwrap();
        let mut early = Collaterals::<Test>::get(model).unwrap().encode();
        // Root, two dates, model and PCE come before TCB info's evaluation number; its date follows.
        early[25..29].copy_from_slice(&2u32.to_le_bytes());
        early[29..37].copy_from_slice(&(NOW + 1).to_le_bytes());
        let early = phala_attest::VerifiedCollateral::decode(&mut &early[..]).unwrap();
        assert_eq!((early.tcb_evaluation_number(), early.latest_evaluation_number()), (1, 2));
        Collaterals::<Test>::insert(model, early);
        assert_ok!(set(RuntimeOrigin::root(), None));
        assert_noop!(submit(machine.collateral()), Error::<Test>::CollateralNotNewer);
        assert_ok!(set(RuntimeOrigin::root(), Some(1)));
        assert_ok!(submit(machine.collateral()));
        assert_eq!(Collaterals::<Test>::get(model).unwrap().latest_evaluation_number(), 1);
    });
}

#[test]
fn measurement_counts_from_its_first_block_to_its_sunset() {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        let claim = registration(ALICE, 1);
        assert_noop!(register(&machine, claim), Error::<Test>::MeasurementNotAllowed);
        allow(&machine, BLOCK + 1, None);
        assert_noop!(register(&machine, claim), Error::<Test>::MeasurementNotAllowed);
        allow(&machine, 0, Some(BLOCK));
        assert_ok!(register(&machine, claim));
        assert!(Attestation::active(&claim.identity, Role::Worker).is_some());
        System::set_block_number(BLOCK + 1);
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "past the sunset");
        allow(&machine, 0, None);
        assert!(Attestation::active(&claim.identity, Role::Worker).is_some());
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), machine.measurement()));
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "removed");
        pallet_timestamp::Now::<Test>::put((NOW + 86_400) * 1_000);
        allow(&machine, 0, None);
        assert_eq!(Attestation::active(&claim.identity, Role::Worker), None, "attestation lapsed");
    });
}

#[test]
fn one_machine_carries_one_live_identity() {
    network(true).execute_with(|| {
        let (one, two) = (machine("one"), machine("two"));
        assert_ok!(submit(one.collateral()));
        allow(&one, 0, None);
        assert_ok!(register(&one, registration(ALICE, 1)));
        assert_ok!(register(&two, registration(ALICE, 2)));
        assert_noop!(register(&one, registration(BOB, 3)), Error::<Test>::HardwareInUse);
        assert_noop!(register(&two, registration(BOB, 1)), Error::<Test>::IdentityInUse);
        // The operator sets the machine up anew: the former identity is gone.
        assert_ok!(register(&one, registration(ALICE, 4)));
        assert!(Workers::<Test>::get(registration(ALICE, 1).identity).is_none());
        assert_eq!(Workers::<Test>::iter().count(), 2);
    });
}

#[test]
fn collateral_never_goes_back_in_time() {
    network(true).execute_with(|| {
        let (old, new) = (InsecureMachine::new("one", b"", NOW - 86_400).unwrap(), machine("one"));
        assert_ok!(submit(new.collateral()));
        assert_noop!(submit(old.collateral()), Error::<Test>::CollateralNotNewer);
        assert_noop!(submit(new.collateral()), Error::<Test>::CollateralNotNewer);
        let mut forged = new.collateral().clone();
        forged.tcb_info_signature[0] ^= 1;
        assert_noop!(submit(&forged), Error::<Test>::CollateralRefused);
    });
}

#[test]
fn governance_alone_lists_measurements_and_sets_terms() {
    network(true).execute_with(|| {
        let terms = phala_attest::PolicyTerms::STRICT;
        assert!(Attestation::set_terms(signed(ALICE), terms).is_err());
        assert!(Attestation::allow_measurement(signed(ALICE), [1; 32], [0; 32], 0, None).is_err());
        assert!(Attestation::remove_measurement(signed(ALICE), [1; 32]).is_err());
        assert_noop!(Attestation::remove_measurement(RuntimeOrigin::root(), [1; 32]), Error::<Test>::NotListed);
    });
}

#[test]
fn root_needs_signatures_of_registered_seats_and_a_development_network_for_a_single_one() {
    network(true).execute_with(|| {
        let machine = machine("keeper");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        let claim = Registration { role: Role::Gatekeeper, ..registration(ALICE, 1) };
        let root = RootRecord { era: 0, threshold: 1, seats: vec![claim.identity], share_list: [3; 32] };
        let sign = |root: &RootRecord| {
            vec![ed25519::Pair::from_seed(&[1; 32]).sign(&root.signing_payload(&Attestation::genesis())).0]
        };
        let record =
            |root: &RootRecord, signatures| Attestation::record_root(RuntimeOrigin::root(), root.clone(), signatures);
        assert_noop!(record(&root, sign(&root)), Error::<Test>::NotAGatekeeper);
        assert_ok!(register(&machine, claim));
        assert_noop!(record(&root, vec![[0; 64]]), Error::<Test>::NotAGatekeeper);
        let wrong = RootRecord { threshold: 2, ..root.clone() };
        assert_noop!(record(&wrong, sign(&wrong)), Error::<Test>::BadRoot);
        let wrong = RootRecord { era: 1, ..root.clone() };
        assert_noop!(record(&wrong, sign(&wrong)), Error::<Test>::WrongEra);
        Development::set(false);
        assert_noop!(record(&root, sign(&root)), Error::<Test>::BadRoot);
        Development::set(true);
        assert_ok!(record(&root, sign(&root)));
        assert_eq!(Root::<Test>::get(), Some(root));
    });
}
