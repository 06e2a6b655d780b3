//! Items that are wrong in every way: each gets its own error reply, and the next item executes.

use super::{
    chain::{CLUSTER, FEE},
    client::{seal_as, seal_to, Account},
    network::Network,
};
use codec::Encode;
use phala_crypto::envelope::Destination;
use phala_protocol::{
    call::{Call, CallPurpose},
    envelope::EnvelopeKind,
    gas::GasClass,
    query::AnswerContent,
    result::{Failure, Outcome, Reply},
    AccountId, ContractId,
};

pub use super::contract::*;

/// What a bad item is made of, and the reply that it has to get.
struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    expected: Vec<Reply>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut network = Network::ready(seed, 1);
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
        Self { network, alice, contract, expected: Vec::new() }
    }

    fn expect(&mut self, called: Option<(AccountId, u64, ContractId)>, failure: Failure, gas_used: u64) {
        let caller = called.map(|(account, nonce, _)| (account, nonce));
        let contract = called.map(|(_, _, contract)| contract);
        let sequence = self.network.chain.head.count - 1;
        let outcome = Outcome::Failed(failure);
        self.expected.push(Reply {
            sequence,
            caller,
            contract,
            outcome,
            gas_used,
            fee: FEE,
            events: Vec::new(),
            egress: Vec::new(),
        });
    }

    /// Pushes bytes that cannot be traced to an account.
    fn anonymous(&mut self, envelope: Vec<u8>, failure: Failure) {
        self.network.chain.push(GasClass::Small, AccountId([9; 32]), envelope);
        self.expect(None, failure, 0);
    }

    /// Pushes a signed call with one thing wrong.
    fn call(&mut self, payload: Vec<u8>, failure: Failure, gas_used: u64, change: impl FnOnce(&mut Call)) {
        let mut call = self.alice.call(&self.network, self.contract, payload);
        change(&mut call);
        let (nonce, contract) = (call.nonce, call.contract);
        let envelope = self.alice.seal(&self.network, call);
        self.network.chain.push(GasClass::Small, self.alice.id(), envelope);
        self.expect(Some((self.alice.id(), nonce, contract)), failure, gas_used);
    }
}

#[test]
fn every_poisoned_item_gets_its_own_failure_and_the_next_item_executes() {
    let mut scene = Scene::new(20);
    let gas = GasClass::Small.gas();
    let genesis = scene.network.chain.genesis();
    let call = scene.alice.call(&scene.network, scene.contract, vec![KEEP]);
    let of_another_chain = scene.alice.sign_over(&[9; 32], &scene.network, call.clone()).encode();
    let good = scene.alice.sign(&scene.network, call).encode();
    let used = scene.alice.next_nonce;
    let open = Destination { genesis, cluster: CLUSTER, epoch: 1 };

    // What no key opens, or what holds no call.
    let length = seal_as(&scene.network, EnvelopeKind::Call, &good).len();
    scene.anonymous(Vec::new(), Failure::Malformed);
    scene.anonymous(vec![0xff; length], Failure::Malformed);
    let mut garbage = seal_as(&scene.network, EnvelopeKind::Call, &good);
    garbage[11..].fill(0xa5);
    scene.anonymous(garbage, Failure::Undecryptable);
    let mut altered = seal_as(&scene.network, EnvelopeKind::Call, &good);
    *altered.last_mut().unwrap() ^= 1;
    scene.anonymous(altered, Failure::Undecryptable);
    let mut longer = seal_as(&scene.network, EnvelopeKind::Call, &good);
    longer.push(0);
    scene.anonymous(longer, Failure::Malformed);
    for elsewhere in [
        Destination { epoch: 2, ..open },
        Destination { cluster: phala_protocol::ClusterId(1), ..open },
        Destination { genesis: [0; 32], ..open },
    ] {
        let envelope = seal_to(&scene.network, &elsewhere, EnvelopeKind::Call, &good);
        scene.anonymous(envelope, Failure::Undecryptable);
    }
    // Sealed for another epoch, with a header that says the open one.
    let mut relabelled = seal_to(&scene.network, &Destination { epoch: 2, ..open }, EnvelopeKind::Call, &good);
    relabelled[6] = 1;
    scene.anonymous(relabelled, Failure::Undecryptable);
    let empty = seal_as(&scene.network, EnvelopeKind::Call, &[]);
    scene.anonymous(empty, Failure::Malformed);
    let no_call = seal_as(&scene.network, EnvelopeKind::Call, &[7; 200]);
    scene.anonymous(no_call, Failure::Malformed);
    let trailing = seal_as(&scene.network, EnvelopeKind::Call, &[&good[..], &[0]].concat());
    scene.anonymous(trailing, Failure::Malformed);
    let session = seal_as(&scene.network, EnvelopeKind::SessionOpen, &good);
    scene.anonymous(session, Failure::Malformed);
    scene.anonymous([&[1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &[7; 16 + 256 + 16]].concat(), Failure::Undecryptable);

    // What an account did not say, or says again.
    let forged = scene.alice.call(&scene.network, scene.contract, vec![KEEP, 66]);
    let mut forged = scene.alice.sign(&scene.network, forged);
    forged.call.payload.push(67);
    let forged = seal_as(&scene.network, EnvelopeKind::Call, &forged.encode());
    scene.anonymous(forged, Failure::BadSignature);
    // What it said on another chain, sealed again for this one by whoever opened it there. The nonce stays free, for what follows has it.
    let resealed = seal_as(&scene.network, EnvelopeKind::Call, &of_another_chain);
    scene.anonymous(resealed, Failure::BadSignature);
    let first = seal_as(&scene.network, EnvelopeKind::Call, &good);
    scene.network.chain.push(GasClass::Small, scene.alice.id(), first.clone());
    let outcome = Outcome::Returned(Vec::new());
    let sequence = scene.network.chain.head.count - 1;
    let (caller, events) = (Some((scene.alice.id(), used)), Vec::new());
    let contract = Some(scene.contract);
    scene.expected.push(Reply {
        sequence,
        caller,
        contract,
        outcome,
        gas_used: 0,
        fee: FEE,
        events,
        egress: Vec::new(),
    });
    let first_index = scene.expected.len() - 1;
    scene.anonymous(first, Failure::NonceUsed);

    // What an account says in vain.
    let now = scene.network.chain.number();
    scene.call(vec![KEEP], Failure::Expired, 0, |call| call.valid_until = now - 1);
    scene.call(vec![KEEP], Failure::WrongClass, 0, |call| call.gas_class = GasClass::Medium);
    scene.call(vec![KEEP], Failure::WrongPurpose, 0, |call| call.purpose = CallPurpose::Constructor);
    scene.call(vec![KEEP], Failure::GasOverClass, 0, |call| call.gas_limit = gas + 1);
    scene.call(vec![KEEP], Failure::FeeOverMax, 0, |call| call.max_fee = FEE - 1);
    scene.call(vec![KEEP], Failure::NoSuchContract, 0, |call| call.contract = ContractId([1; 32]));
    scene.call(vec![KEEP], Failure::NoSuchContract, 0, |call| call.contract = ContractId([0; 32]));
    scene.call(vec![TRAP], Failure::Trapped, gas, |_| {});
    scene.call(vec![LOOP], Failure::OutOfGas, gas, |_| {});
    scene.call(vec![KEEP], Failure::OutOfGas, 0, |call| call.gas_limit = 0);
    scene.call(vec![KEEP], Failure::OutOfGas, 10, |call| call.gas_limit = 10);

    let last = scene.alice.push(&mut scene.network, scene.contract, vec![KEEP, 1, 2, 3]);
    scene.network.settle();
    let (network, mut alice) = (scene.network, scene.alice);
    let mut reply_to = |nonce| match alice.ask_reply(&network, nonce) {
        AnswerContent::Reply { reply, .. } => reply,
        other => panic!("no reply: {other:?}"),
    };
    // The gas of what succeeded is the engine's to say; everything else of every reply is not.
    scene.expected[first_index].gas_used = reply_to(used).gas_used;
    let last = reply_to(last);
    assert_eq!(last.outcome, Outcome::Returned(Vec::new()));
    scene.expected.push(last);
    for reply in scene.expected.iter().filter(|reply| reply.caller.is_some()) {
        assert_eq!(reply_to(reply.caller.unwrap().1), *reply);
    }
    assert_eq!(network.last_final().replies_root, network.insecure_replies_root(1, &scene.expected));
    assert_eq!(alice.ask_contract(&network, scene.contract, vec![KEEP]), AnswerContent::Output(vec![KEEP, 1, 2, 3]));
}

#[test]
fn poisoned_chain_messages_create_nothing() {
    let mut network = Network::ready(21, 1);
    let (mut alice, mut mallory) = (Account::new(1), Account::new(6));
    let good = network.chain.upload(&code());
    let genesis = network.chain.genesis();
    let id = |salt: u8| ContractId::derive(&genesis, CLUSTER, &alice.id(), &good, &[salt; 32]);
    let (first, second, third, fourth) = (id(1), id(2), id(3), id(4));

    // A stranger's constructor for the deployer's contract, and the deployer's own for another contract.
    let call = mallory.constructor(&network, first, vec![KEEP]);
    let stranger = mallory.seal(&network, call);
    network.chain.instantiate(alice.id(), good, first, stranger);
    let call = alice.constructor(&network, first, vec![KEEP]);
    let misdirected = alice.seal(&network, call);
    network.chain.instantiate(alice.id(), good, second, misdirected);
    let misdirected = alice.next_nonce;
    // A constructor that gives up, and code that is none.
    let call = alice.constructor(&network, third, vec![TRAP]);
    let trapping = alice.seal(&network, call);
    network.chain.instantiate(alice.id(), good, third, trapping);
    let trapping = alice.next_nonce;
    let bad = network.chain.upload(b"\0asm\x01\0\0\0 this is no module");
    let call = alice.constructor(&network, fourth, vec![KEEP]);
    let codeless = alice.seal(&network, call);
    network.chain.instantiate(alice.id(), bad, fourth, codeless);
    let codeless = alice.next_nonce;
    // And one that works, twice.
    let call = alice.constructor(&network, first, vec![KEEP, 1]);
    let works = alice.seal(&network, call);
    network.chain.instantiate(alice.id(), good, first, works);
    let works = alice.next_nonce;
    let call = alice.constructor(&network, first, vec![KEEP, 2]);
    let again = alice.seal(&network, call);
    network.chain.instantiate(alice.id(), good, first, again);
    let again = alice.next_nonce;
    network.settle();

    let outcome = |account: &mut Account, nonce| match account.ask_reply(&network, nonce) {
        AnswerContent::Reply { reply, .. } => reply.outcome,
        other => panic!("no reply: {other:?}"),
    };
    assert_eq!(outcome(&mut mallory, 1), Outcome::Failed(Failure::WrongConstructor));
    assert_eq!(outcome(&mut alice, misdirected), Outcome::Failed(Failure::WrongConstructor));
    assert_eq!(outcome(&mut alice, trapping), Outcome::Failed(Failure::Trapped));
    assert_eq!(outcome(&mut alice, codeless), Outcome::Failed(Failure::BadCode));
    assert_eq!(outcome(&mut alice, works), Outcome::Returned(Vec::new()));
    assert_eq!(outcome(&mut alice, again), Outcome::Failed(Failure::ContractExists));
    assert_eq!(alice.ask_contract(&network, first, vec![KEEP]), AnswerContent::Output(vec![KEEP, 1]));
    let missing = AnswerContent::Refused(phala_protocol::query::QueryRefusal::NotFound);
    for nowhere in [second, third, fourth, ContractId([0; 32])] {
        assert_eq!(alice.ask_contract(&network, nowhere, vec![KEEP]), missing);
    }
}

#[test]
fn a_command_that_fails_writes_nothing() {
    let mut scene = Scene::new(22);
    let reverted = scene.alice.push(&mut scene.network, scene.contract, vec![REVERT, 5]);
    scene.network.settle();
    let AnswerContent::Reply { reply, .. } = scene.alice.ask_reply(&scene.network, reverted) else {
        panic!("no reply")
    };
    assert_eq!(reply.outcome, Outcome::Reverted(Vec::new()));
    let kept = scene.alice.ask_contract(&scene.network, scene.contract, vec![KEEP]);
    assert_eq!(kept, AnswerContent::Output(vec![KEEP]));
}
