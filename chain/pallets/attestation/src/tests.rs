//! Admission on a mock runtime, with evidence of the simulator under the development root and genuine-format collateral.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bans;
mod brake;
mod collateral;
mod identity;
mod listing;
mod roots;
mod sgx;
mod standing;

use crate::{self as pallet_attestation, *};
use codec::{Decode, Encode};
use frame_support::{assert_noop, assert_ok};
use phala_attest::{Collateral, ConfidenceLevel, Evidence, PolicyTerms, Subject, Vendor};
use phala_insecure_tee::{InsecureMachine, InsecureVendor, Processor, QuoteFields, QuoteSigner};
use phala_protocol::{
    attestation::{Assurance, Listing, Registration, Role, Version},
    chain_state::RootRecord,
    AccountId, WorkerId,
};
use sp_core::{ed25519, Pair};
use sp_runtime::{AccountId32, BuildStorage, DispatchResult};

phala_pallet_mock::runtime! {
    50 Attestation = pallet_attestation,
}

frame_support::parameter_types! {
    pub static Development: bool = true;
    pub static Lone: bool = true;
    pub static TimesTold: u32 = 0;
}

pub struct Braking;

impl frame_support::traits::SortedMembers<AccountId32> for Braking {
    fn sorted_members() -> Vec<AccountId32> {
        vec![AccountId32::new(BRAKE)]
    }
}

/// Counts how often somebody was said to be shut out.
pub struct Told;

impl OnBarred for Told {
    fn on_barred() {
        TimesTold::set(TimesTold::get() + 1);
    }
}

impl crate::Config for Test {
    type InsecureDevelopment = Development;
    type LoneRoot = Lone;
    type GovernanceOrigin = frame_system::EnsureRoot<AccountId32>;
    type BrakeOrigin = frame_system::EnsureSignedBy<Braking, AccountId32>;
    type OnBarred = Told;
    type WeightInfo = ();
}

const NOW: u64 = 1_790_000_000;
const BLOCK: u32 = 50;
const DAY: u64 = 86_400;
const BINARY: &[u8] = b"worker binary";
const BRAKE: [u8; 32] = [7; 32];
const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

fn network(insecure_development: bool) -> sp_io::TestExternalities {
    Development::set(insecure_development);
    Lone::set(insecure_development);
    TimesTold::set(0);
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
    InsecureMachine::new(name, BINARY, NOW).unwrap()
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

fn listing(not_before: u32, sunset: Option<u32>) -> Listing {
    Listing { source: [0; 32], version: Version(0, 1, 0), role: None, not_before, sunset }
}

fn allow(machine: &InsecureMachine, not_before: u32, sunset: Option<u32>) {
    let listing = listing(not_before, sunset);
    assert_ok!(Attestation::allow_measurement(RuntimeOrigin::root(), machine.measurement(), listing));
}

/// A development network with one machine's collateral and measurement, and the machine.
fn ready(test: impl FnOnce(&InsecureMachine)) {
    network(true).execute_with(|| {
        let machine = machine("one");
        assert_ok!(submit(machine.collateral()));
        allow(&machine, 0, None);
        test(&machine);
    });
}

/// Registers the machine of this name with a TDX module of security version `module`; 6 is up to date, 2 is not.
fn register_with_module(name: &str, module: u8, claim: Registration) -> DispatchResult {
    let mut fields = QuoteFields::of(BINARY);
    fields.report.tee_tcb_svn[0] = module;
    fields.report.report_data = claim.report_data(&Attestation::genesis());
    let signer = QuoteSigner::new(&InsecureVendor::new().unwrap(), &Processor::named(name)).unwrap();
    let evidence = Evidence::TdxDcap(signer.sign(&fields).try_into().unwrap());
    Attestation::register(signed(claim.operator.0), claim, Box::new(evidence))
}

fn at_second(seconds: u64) {
    pallet_timestamp::Now::<Test>::put(seconds * 1_000);
}

fn is_active(claim: &Registration) -> bool {
    Attestation::active(&claim.identity, claim.role).is_some()
}

fn set_windows(change: impl FnOnce(&mut Windows)) -> DispatchResult {
    let mut windows = CurrentWindows::<Test>::get();
    change(&mut windows);
    Attestation::set_windows(RuntimeOrigin::root(), windows)
}

fn happened(event: Event<Test>) -> usize {
    System::events().into_iter().filter(|record| record.event == RuntimeEvent::from(event.clone())).count()
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
        let appraisal = Appraisals::<Test>::get(registration.identity).unwrap();
        assert_eq!((appraisal.confidence, appraisal.origin.evaluation), (ConfidenceLevel::One, 1));
        assert_eq!((record.operator, record.measurement), (AccountId(ALICE), machine.measurement()));
        assert!(record.valid_until <= NOW + 86_400);
        assert_eq!(Attestation::active(&registration.identity, Role::Gatekeeper), None);
    });
}

#[test]
fn development_root_counts_for_nothing_elsewhere() {
    network(true).execute_with(|| {
        let machine = machine("one");
        allow(&machine, 0, None);
        Development::set(false);
        assert_noop!(submit(machine.collateral()), Error::<Test>::CollateralRefused);
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
        let Evidence::TdxDcap(quote) = evidence(&machine, &good) else { panic!("a TDX machine") };
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
        assert_noop!(attempt(claim, before.clone()), Error::<Test>::CollateralExpired);
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
fn governance_alone_governs_and_the_brake_only_suspends() {
    network(true).execute_with(|| {
        let subject = Subject::Vendor(Vendor::IntelTdx);
        let members = || vec![AccountId(ALICE)].try_into().unwrap();
        assert_ok!(Attestation::set_committee(RuntimeOrigin::root(), members(), 100));
        for who in [ALICE, BRAKE] {
            assert!(Attestation::set_terms(signed(who), PolicyTerms::STRICT).is_err());
            assert!(Attestation::allow_measurement(signed(who), [1; 32], listing(0, None)).is_err());
            assert!(Attestation::remove_measurement(signed(who), [1; 32]).is_err());
            assert!(Attestation::set_sunset(signed(who), [1; 32], None).is_err());
            assert!(Attestation::set_evaluation_cap(signed(who), Some(1)).is_err());
            assert!(Attestation::set_advisories(signed(who), Default::default()).is_err());
            assert!(Attestation::set_windows(signed(who), Windows::DEFAULT).is_err());
            assert!(Attestation::revoke(signed(who), subject, None).is_err());
            assert!(Attestation::lift(signed(who), subject).is_err());
            assert!(Attestation::revoke_hardware(signed(who), [1; 32]).is_err());
            assert!(Attestation::lift_hardware(signed(who), [1; 32]).is_err());
            assert!(Attestation::end_root(signed(who), [1; 32], None).is_err());
            assert!(Attestation::set_committee(signed(who), members(), 100).is_err());
        }
        assert!(Attestation::suspend(signed(ALICE), subject).is_err());
        assert!(Attestation::suspend(RuntimeOrigin::root(), subject).is_err());
        assert_ok!(Attestation::suspend(signed(BRAKE), subject));
        for who in [ALICE, BRAKE] {
            assert!(Attestation::lift(signed(who), subject).is_err());
        }
    });
}

#[test]
fn windows_out_of_range_are_refused() {
    network(true).execute_with(|| {
        let wrong: [fn(&mut Windows); 8] = [
            |windows| windows.attestation_period = 3_599,
            |windows| windows.attestation_period = 7 * DAY + 1,
            |windows| windows.lapse_grace = 7 * DAY + 1,
            |windows| windows.cool_down = u64::MAX,
            |windows| windows.collateral_warning = 31 * DAY,
            |windows| windows.collateral_grace = 7 * DAY + 1,
            |windows| windows.suspension = 0,
            |windows| windows.further_delay = u32::MAX,
        ];
        for change in wrong {
            assert_noop!(set_windows(change), Error::<Test>::WindowOutOfRange);
        }
        assert!(Windows::DEFAULT.in_range());
        assert_ok!(set_windows(|windows| windows.attestation_period = 3_600));
        assert_eq!(CurrentWindows::<Test>::get().attestation_period, 3_600);
    });
}
