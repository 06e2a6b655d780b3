//! What separates contracts of one cluster: each has the entries of its own, whatever keys it names.

use super::{
    chain::CLUSTER,
    client::Account,
    contract::{code, KEEP},
    network::Network,
};
use phala_protocol::{query::AnswerContent, ContractId};

#[test]
fn a_contract_reads_and_writes_its_own_entries_only() {
    let mut network = Network::ready(31, 1);
    let mut alice = Account::new(1);
    // The same code and deployer twice: both keep their word under the same key.
    let first = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let second = network.deploy(&mut alice, &code(), vec![KEEP, 2]);
    assert_ne!(first, second);
    let kept = |network: &Network, alice: &mut Account, contract: ContractId| {
        let AnswerContent::Output(bytes) = alice.ask_contract(network, contract, vec![KEEP]) else {
            panic!("no answer of a contract in cluster {CLUSTER}")
        };
        bytes
    };
    assert_eq!(kept(&network, &mut alice, first), [KEEP, 1]);
    assert_eq!(kept(&network, &mut alice, second), [KEEP, 2]);

    alice.push(&mut network, second, vec![KEEP, 3, 3, 3]);
    network.settle();
    assert_eq!(kept(&network, &mut alice, first), [KEEP, 1], "the other contract's write is not seen here");
    assert_eq!(kept(&network, &mut alice, second), [KEEP, 3, 3, 3]);
}
