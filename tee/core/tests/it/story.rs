//! The life of a command, from a sealed envelope to a proof that anyone can check.

use crate::{cargo, chain::CLUSTER, client::Account, network::Network};
use codec::Encode;
use phala_core::Notice;
use phala_crypto::merkle;
use phala_protocol::{
    query::{AnswerContent, QueryRefusal},
    result::{reply_leaf, Outcome},
};

#[test]
fn sealed_call_becomes_final_and_its_reply_is_proved() {
    let mut network = Network::ready(1, 1);
    assert!(network.worker().tee().is_development());
    let (mut alice, mut bob) = (Account::new(1), Account::new(2));
    let token = network.deploy(&mut alice, cargo::token(), ("create", 1_000u128).encode());
    assert_eq!((alice.balance(&network, token), bob.balance(&network, token)), (1_000, 0));

    let nonce = alice.push(&mut network, token, ("transfer", (bob.id(), 30u128)).encode());
    let nothing = AnswerContent::Refused(QueryRefusal::NotFound);
    assert_eq!(alice.ask_reply(&network, nonce), nothing, "not even in a block");
    network.settle();
    assert_eq!((alice.balance(&network, token), bob.balance(&network, token)), (970, 30));

    let AnswerContent::Reply { reply, salt, result, position, path } = alice.ask_reply(&network, nonce) else {
        panic!("no reply")
    };
    assert_eq!(reply.caller, Some((alice.id(), nonce)));
    assert_eq!(reply.outcome, Outcome::Returned(Vec::new()));
    assert_eq!(reply.events[0].contract, token);
    assert_eq!(reply.events[0].data, ("Transfer", alice.id(), bob.id(), 30u128).encode());
    assert!(reply.gas_used > 0 && reply.gas_used < 1_000_000);

    let on_chain = &network.chain.finals[&result.boundary.block];
    assert_eq!(on_chain.result, result);
    let leaf = reply_leaf(&salt, &reply);
    let (index, count) = (u64::from(position.0), u64::from(position.1));
    assert_eq!(merkle::verify(&on_chain.result.replies_root, index, count, &leaf, &path), Ok(()));
    let mut altered = reply.clone();
    altered.gas_used += 1;
    let altered = reply_leaf(&salt, &altered);
    assert!(merkle::verify(&on_chain.result.replies_root, index, count, &altered, &path).is_err());

    assert_eq!(bob.ask_reply(&network, nonce), nothing, "the reply is its account's alone");
    let notices = &network.worker().notices;
    assert!(notices.contains(&Notice::EpochKeys { cluster: CLUSTER, epoch: 1 }));
    let block = result.boundary.block;
    assert!(notices.contains(&Notice::Executed { cluster: CLUSTER, block, items: 1 }));
    assert!(notices.contains(&Notice::ResultFinal { cluster: CLUSTER, block, count: 2 }));
}

#[test]
fn nothing_that_an_account_said_is_on_the_disk() {
    const CANARY: &[u8] = b"the quick brown canary";
    let mut network = Network::ready(2, 1);
    let mut alice = Account::new(1);
    let code = wat::parse_str(crate::poison::CONTRACT).unwrap();
    let contract = network.deploy(&mut alice, &code, CANARY.to_vec());
    let nonce = alice.push(&mut network, contract, [&[crate::poison::KEEP], CANARY].concat());
    network.settle();
    let kept = alice.ask_contract(&network, contract, vec![crate::poison::KEEP]);
    assert_eq!(kept, AnswerContent::Output([&[crate::poison::KEEP], CANARY].concat()), "the state has it");
    assert!(matches!(alice.ask_reply(&network, nonce), AnswerContent::Reply { .. }));
    let folder = network.worker().machine.folder();
    assert!(!cargo::any_file_holds(folder, CANARY));
    assert!(!cargo::any_file_holds(folder, &contract.0));
    assert!(!cargo::any_file_holds(folder, &alice.id().0));
}
