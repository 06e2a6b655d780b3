//! Which evidence our own collateral proves, on simulated machines.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use codec::Encode;
use phala_insecure_tee::InsecureMachine;
use phala_protocol::{
    attestation::{Assurance, Registration, Role},
    AccountId,
};

const GENESIS: Hash = [7; 32];

fn registration() -> Registration {
    let (identity, operator) = (WorkerId([2; 32]), AccountId([3; 32]));
    Registration { role: Role::Gatekeeper, identity, encryption_key: [4; 32], operator, block: 1, block_hash: [5; 32] }
}

fn evidence(quote: Vec<u8>) -> Vec<u8> {
    Evidence::TdxDcap(quote.try_into().unwrap()).encode()
}

#[test]
fn evidence_is_proved_by_our_own_collateral_and_only_of_this_registration_and_this_program() {
    let registration = registration();
    let machine = InsecureMachine::new("one", b"program", unix_now()).unwrap();
    let record = WorkerRecord {
        role: registration.role,
        operator: registration.operator,
        encryption_key: registration.encryption_key,
        measurement: machine.measurement(),
        hardware: [0; 32],
        assurance: Assurance::Simulated,
        registered_at: 1,
        valid_until: 0,
    };
    let bound = registration.report_data(&GENESIS);
    let collaterals = Collaterals::new(Vec::new());
    let judged = |registration, quote: Vec<u8>| collaterals.judge(&(registration, evidence(quote)), &record, &GENESIS);
    assert_eq!(judged(registration, machine.quote(bound)), Judged::Unknown, "there is none yet");
    collaterals.learn(&machine.collateral().encode(), &GENESIS).unwrap();
    assert_eq!(judged(registration, machine.quote(bound)), Judged::Proved);
    let later = Registration { block: 2, ..registration };
    assert_eq!(judged(later, machine.quote(bound)), Judged::Foreign, "it binds another registration");
    let another = InsecureMachine::new("one", b"another program", unix_now()).unwrap();
    assert_eq!(judged(registration, another.quote(bound)), Judged::Foreign, "of a program that may say anything");
    assert_eq!(judged(registration, vec![1; 100]), Judged::Foreign);
    // What names the platform to its own quoting enclave is signed, and says nothing to us.
    let mut forged = machine.quote(bound);
    forged[30] ^= 1;
    assert_eq!(judged(registration, forged), Judged::Refused);
    assert_eq!(collaterals.judge(&(registration, vec![0xff; 9]), &record, &GENESIS), Judged::Foreign);
}
