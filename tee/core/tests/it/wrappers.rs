//! Envelopes that a stranger copies out of the pool and brings in a wrapper of his own: they use up nothing of the account's.

use crate::{
    chain::{CLUSTER, CONSTRUCTOR_CLASS, FEE},
    client::Account,
    network::Network,
    poison::{code, KEEP},
};
use phala_protocol::{
    call::Call,
    gas::GasClass,
    query::{AnswerContent, QueryRefusal},
    result::{Failure, Outcome},
    AccountId, CodeHash, ContractId,
};

const STRANGER: AccountId = AccountId([9; 32]);

fn scene(seed: u64) -> (Network, Account, ContractId) {
    let mut network = Network::ready(seed, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 0]);
    (network, alice, contract)
}

fn outcome(network: &Network, account: &mut Account, nonce: u64) -> (u64, Outcome) {
    match account.ask_reply(network, nonce) {
        AnswerContent::Reply { reply, .. } => (reply.sequence, reply.outcome),
        other => panic!("no reply: {other:?}"),
    }
}

const EXECUTED: Outcome = Outcome::Returned(Vec::new());

fn id_of(network: &Network, account: &Account, code: CodeHash, salt: u8) -> ContractId {
    ContractId::derive(&network.chain.genesis(), CLUSTER, &account.id(), &code, &[salt; 32])
}

fn bring(network: &mut Network, class: GasClass, copy: Vec<u8>) {
    network.chain.push(class, STRANGER, copy);
}

/// A copy in each wrong wrapper, then the original: in one block, in another, and by the pusher's own choice of both.
#[test]
fn a_copy_in_another_wrapper_uses_up_neither_nonce_nor_reply() {
    type Copy = fn(&mut Network, Vec<u8>);
    let copies: [(Copy, Failure); 4] = [
        (|network, copy| bring(network, GasClass::Small, copy), Failure::WrongClass),
        (|network, copy| bring(network, GasClass::Large, copy), Failure::WrongClass),
        (
            |network, copy| {
                network.chain.fee = FEE + 1;
                bring(network, GasClass::Medium, copy);
                network.chain.fee = FEE;
            },
            Failure::FeeOverMax,
        ),
        (
            |network, copy| {
                let mallory = Account::new(6);
                let uploaded = network.chain.upload(&code());
                let own = id_of(network, &mallory, uploaded, 7);
                network.chain.instantiate(mallory.id(), uploaded, own, copy);
            },
            Failure::WrongConstructor,
        ),
    ];
    let (mut network, mut alice, contract) = scene(90);
    for (round, (bring_copy, failure)) in copies.into_iter().enumerate() {
        for same_block in [true, false] {
            let payload = vec![KEEP, round as u8, same_block.into()];
            let call = alice.call(&network, contract, payload.clone());
            let call = Call { gas_class: GasClass::Medium, max_fee: FEE, ..call };
            let nonce = call.nonce;
            let envelope = alice.seal(&network, call);
            bring_copy(&mut network, envelope.clone());
            if !same_block {
                network.settle();
                let refused = outcome(&network, &mut alice, nonce);
                assert_eq!(
                    refused,
                    (network.chain.head.count - 1, Outcome::Failed(failure)),
                    "the account is told why"
                );
            }
            let original = network.chain.push(GasClass::Medium, alice.id(), envelope.clone());
            network.settle();
            assert_eq!(outcome(&network, &mut alice, nonce), (original, EXECUTED), "{failure} {same_block}");
            let kept = alice.ask_contract(&network, contract, vec![KEEP]);
            assert_eq!(kept, AnswerContent::Output(payload));
            // And afterwards a copy does not stand in for the reply.
            bring_copy(&mut network, envelope.clone());
            network.chain.push(GasClass::Medium, STRANGER, envelope);
            network.settle();
            assert_eq!(outcome(&network, &mut alice, nonce), (original, EXECUTED), "{failure} {same_block}");
        }
    }
}

#[test]
fn a_copied_constructor_uses_up_neither_nonce_nor_contract_id() {
    let (mut network, mut alice, _) = scene(91);
    let mallory = Account::new(6);
    let uploaded = network.chain.upload(&code());
    let contract = id_of(&network, &alice, uploaded, 1);
    let call = alice.constructor(&network, contract, vec![KEEP, 5]);
    let nonce = call.nonce;
    let init = alice.seal(&network, call);

    network.chain.push(CONSTRUCTOR_CLASS, STRANGER, init.clone());
    network.settle();
    assert_eq!(outcome(&network, &mut alice, nonce).1, Outcome::Failed(Failure::WrongPurpose));
    let own = id_of(&network, &mallory, uploaded, 1);
    network.chain.instantiate(mallory.id(), uploaded, own, init.clone());
    network.settle();
    assert_eq!(outcome(&network, &mut alice, nonce).1, Outcome::Failed(Failure::WrongConstructor));
    let missing = AnswerContent::Refused(QueryRefusal::NotFound);
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), missing);
    assert_eq!(alice.ask_contract(&network, own, vec![KEEP]), missing);

    let original = network.chain.instantiate(alice.id(), uploaded, contract, init);
    network.settle();
    assert_eq!(outcome(&network, &mut alice, nonce), (original, EXECUTED));
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), AnswerContent::Output(vec![KEEP, 5]));
}

#[test]
fn a_call_that_expired_leaves_its_nonce_and_never_executes() {
    let (mut network, mut alice, contract) = scene(92);
    let call = alice.call(&network, contract, vec![KEEP, 1]);
    let call = Call { valid_until: network.chain.number(), ..call };
    let late = alice.seal(&network, call.clone());
    network.run(1);
    network.chain.push(GasClass::Small, STRANGER, late.clone());
    network.settle();
    assert_eq!(outcome(&network, &mut alice, call.nonce).1, Outcome::Failed(Failure::Expired));
    // The account says it again under the same nonce, and it is the only one of the two that ever executes.
    let nonce = call.nonce;
    let again = alice.seal(&network, Call { valid_until: network.chain.number() + 50, payload: vec![KEEP, 2], ..call });
    network.chain.push(GasClass::Small, alice.id(), again);
    network.chain.push(GasClass::Small, STRANGER, late);
    network.settle();
    let executed = outcome(&network, &mut alice, nonce);
    assert_eq!(executed, (network.chain.head.count - 2, EXECUTED));
    assert_eq!(alice.ask_contract(&network, contract, vec![KEEP]), AnswerContent::Output(vec![KEEP, 2]));
}
