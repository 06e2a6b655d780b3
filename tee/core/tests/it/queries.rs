//! Questions: what is answered, what is refused, and that a refusal tells nothing.

use crate::{
    client::{ask, seal_query, try_ask, try_ask_sealed, Account},
    network::{Network, WORKER},
    poison::{code, DENY, KEEP, LOOP, REVERT, TRAP},
};
use codec::Encode;
use phala_core::{QueryFault, Seen};
use phala_protocol::{
    gas::GasClass,
    limits::MAX_QUERY_LIFETIME_BLOCKS,
    query::{AnswerContent, Query, QueryRefusal, QueryRequest},
    relay::Delivery,
    result::{Failure, Outcome},
    AccountId, ContractId, WorkerId,
};

fn scene(seed: u64) -> (Network, Account, ContractId) {
    let mut network = Network::ready(seed, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 4]);
    (network, alice, contract)
}

#[test]
fn a_query_is_answered_once_in_its_time_by_the_worker_it_names() {
    let (network, mut alice, contract) = scene(50);
    let node = network.worker();
    let height = node.tee().head().0;
    let request = QueryRequest::Contract { contract, payload: vec![KEEP] };
    let mut answer = |change: &dyn Fn(&mut Query)| {
        let mut query = alice.query(node, request.clone());
        change(&mut query);
        ask(&network, node, &alice.sign_query(&network, query)).content
    };
    let output = AnswerContent::Output(vec![KEEP, 4]);
    let refused = AnswerContent::Refused;
    assert_eq!(answer(&|_| {}), output);
    assert_eq!(answer(&|query| query.valid_until = height), output);
    assert_eq!(answer(&|query| query.valid_until = height - 1), refused(QueryRefusal::Expired));
    assert_eq!(answer(&|query| query.valid_until = height + MAX_QUERY_LIFETIME_BLOCKS), output);
    let too_far = answer(&|query| query.valid_until = height + MAX_QUERY_LIFETIME_BLOCKS + 1);
    assert_eq!(too_far, refused(QueryRefusal::Expired));
    assert_eq!(answer(&|query| query.min_height = height), output);
    assert_eq!(answer(&|query| query.min_height = height + 1), refused(QueryRefusal::Stale));
    assert_eq!(answer(&|query| query.worker = WorkerId([1; 32])), refused(QueryRefusal::Unauthorised));

    let query = alice.query(node, request.clone());
    let signed = alice.sign_query(&network, query.clone());
    let answer = ask(&network, node, &signed);
    assert_eq!(answer.content, output);
    assert_eq!((answer.height, answer.state), (height, Some(network.last_final())));
    assert_eq!(ask(&network, node, &signed).content, refused(QueryRefusal::Replayed));
    let mut bob = Account::new(2);
    let other = bob.sign_query(&network, query);
    assert_eq!(ask(&network, node, &other).content, output, "nonces are each account's own");

    let mut unsigned = alice.sign_query(&network, bob.query(node, request));
    unsigned.account = bob.id();
    assert_eq!(ask(&network, node, &unsigned).content, refused(QueryRefusal::Unauthorised));
    unsigned.signature = [0; 64];
    assert_eq!(ask(&network, node, &unsigned).content, refused(QueryRefusal::Unauthorised));
}

#[test]
fn a_query_changes_nothing_and_its_gas_is_bounded() {
    let (network, mut alice, contract) = scene(51);
    let refused = AnswerContent::Refused;
    let mut ask = |payload: u8| alice.ask_contract(&network, contract, vec![payload]);
    assert_eq!(ask(REVERT), refused(QueryRefusal::NotReadOnly));
    assert_eq!(ask(TRAP), refused(QueryRefusal::Trapped));
    assert_eq!(ask(LOOP), refused(QueryRefusal::OutOfGas));
    assert_eq!(ask(KEEP), AnswerContent::Output(vec![KEEP, 4]));
}

#[test]
fn what_is_anothers_looks_like_what_is_not_there() {
    let (mut network, mut alice, contract) = scene(52);
    let nonce = alice.push(&mut network, contract, vec![KEEP, 5]);
    network.settle();
    let mut bob = Account::new(2);
    let node = network.worker();
    let serving = node.tee().serving().unwrap();
    // An answer's content, and the length of its bytes as everybody on the way sees them.
    let answer = |account: &mut Account, request| {
        let query = account.query(node, request);
        let plaintext = account.sign_query(&network, query).encode();
        let (answer, sealed) = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
        (answer.content, sealed.encode().len())
    };
    let of = |contract, payload| QueryRequest::Contract { contract, payload };
    let missing = answer(&mut bob, of(ContractId([3; 32]), vec![KEEP]));
    assert_eq!(missing.0, AnswerContent::Refused(QueryRefusal::NotFound));
    for (what, request) in [
        ("another missing contract", of(ContractId([0; 32]), vec![KEEP])),
        ("data that the contract denies", of(contract, vec![DENY])),
        ("the reply to another's command", QueryRequest::Reply { nonce }),
        ("the reply to nobody's command", QueryRequest::Reply { nonce: 12_345 }),
    ] {
        assert_eq!(answer(&mut bob, request), missing, "{what}");
    }
    // To whom it belongs it is there, and what he does not have is refused to him in the same way.
    assert!(matches!(answer(&mut alice, QueryRequest::Reply { nonce }).0, AnswerContent::Reply { .. }));
    assert_eq!(answer(&mut alice, QueryRequest::Reply { nonce: 12_345 }), missing);
    assert_eq!(answer(&mut bob, of(contract, vec![KEEP])).0, AnswerContent::Output(vec![KEEP, 5]));
}

/// Of everything that an account has sent, only what was executed and is not final yet is said to wait.
#[test]
fn only_its_sender_is_told_that_a_command_waits_to_become_final() {
    let (mut network, mut alice, contract) = scene(57);
    let mut bob = Account::new(2);
    let nonce = alice.push(&mut network, contract, vec![KEEP, 6]);
    let nothing = AnswerContent::Refused(QueryRefusal::NotFound);
    assert_eq!(alice.ask_reply(&network, nonce), nothing, "no worker has seen it");
    let (mut waited, mut told) = (0, false);
    for _ in 0..40 {
        network.step();
        match alice.ask_reply(&network, nonce) {
            AnswerContent::Reply { .. } => told = true,
            AnswerContent::Pending => waited += 1,
            other => assert_eq!((other, waited), (nothing.clone(), 0), "it waits until it is final"),
        }
        assert_eq!(bob.ask_reply(&network, nonce), nothing, "nobody else learns that there is something");
        if told {
            break;
        }
    }
    assert!(told && waited > 0, "it was executed before it was final: {waited}");
}

/// A stranger can have a copy of a command refused that was not executed: it waits for nobody.
#[test]
fn a_refused_copy_is_not_said_to_be_a_command_that_was_executed() {
    let (mut network, mut alice, contract) = scene(58);
    // All that the sender is told until there is a reply, and its outcome.
    let watch = |network: &mut Network, alice: &mut Account, nonce: u64| {
        let mut told = Vec::new();
        for _ in 0..40 {
            network.step();
            match alice.ask_reply(network, nonce) {
                AnswerContent::Reply { reply, .. } => return (told, reply.outcome),
                other => told.push(other),
            }
        }
        panic!("no reply: {told:?}");
    };
    let call = alice.call(&network, contract, vec![KEEP, 6]);
    let nonce = call.nonce;
    let envelope = alice.seal(&network, call);
    network.chain.push(GasClass::Large, AccountId([9; 32]), envelope);
    let (told, outcome) = watch(&mut network, &mut alice, nonce);
    assert_eq!(outcome, Outcome::Failed(Failure::WrongClass));
    assert!(
        !told.is_empty() && told.iter().all(|told| *told == AnswerContent::Refused(QueryRefusal::NotFound)),
        "{told:?}"
    );
    // The same way of a command that is executed leads over the other answer.
    let nonce = alice.push(&mut network, contract, vec![KEEP, 7]);
    let (told, outcome) = watch(&mut network, &mut alice, nonce);
    assert_eq!(outcome, Outcome::Returned(Vec::new()));
    assert!(told.contains(&AnswerContent::Pending), "{told:?}");
}

#[test]
fn bytes_that_are_no_query_get_no_answer() {
    let (network, mut alice, _) = scene(53);
    let node = network.worker();
    let serving = node.tee().serving().unwrap();
    assert_eq!((serving.cluster(), serving.replicas()), (crate::chain::CLUSTER, 1));
    for garbage in [vec![], vec![0xff; 100], vec![1; 30_000]] {
        assert!(matches!(serving.answer(&garbage, &node.seen), Err(QueryFault::Malformed(_))));
    }
    // The right form around nothing.
    let mut sealed = vec![0; 10 + 1120 + 256 + 16];
    sealed[..10].copy_from_slice(&[1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(matches!(serving.answer(&sealed, &node.seen), Err(QueryFault::Undecryptable)));
    for header in [[1, 1, 0, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 2, 0, 0, 0, 0]] {
        sealed[..10].copy_from_slice(&header);
        assert!(matches!(serving.answer(&sealed, &node.seen), Err(QueryFault::WrongKey)));
    }
    assert!(matches!(try_ask(&network, node, &serving, b"no query"), Err(QueryFault::NotAQuery)));
    let query = alice.query(node, QueryRequest::Reply { nonce: 1 });
    let longer = [alice.sign_query(&network, query).encode(), vec![0]].concat();
    assert!(matches!(try_ask(&network, node, &serving, &longer), Err(QueryFault::NotAQuery)));
}

#[test]
fn an_answer_is_no_fresher_than_the_records_that_the_host_showed() {
    let (mut network, mut alice, contract) = scene(54);
    let before = network.worker().tee().head().0;
    alice.push(&mut network, contract, vec![KEEP, 9]);
    network.run(4);
    let shown = network.worker().tee().serving().unwrap();
    network.chain.next_block();
    network.chain.next_block();
    // The host shows the new headers, and nothing of what stands below them.
    let finality = network.delivery(WORKER).finality;
    network.bring(WORKER, Delivery { finality, ..Delivery::default() }).unwrap();
    let node = network.worker();
    let height = node.tee().head().0;
    assert!(height > before);
    let mut query = alice.query(node, QueryRequest::Contract { contract, payload: vec![KEEP] });
    query.min_height = height;
    let answer = ask(&network, node, &alice.sign_query(&network, query));
    assert_eq!(answer.content, AnswerContent::Refused(QueryRefusal::Stale));
    assert!(answer.height < height);
    let query = alice.query(node, QueryRequest::Contract { contract, payload: vec![KEEP] });
    let plaintext = alice.sign_query(&network, query).encode();
    assert_eq!(try_ask(&network, node, &shown, &plaintext).unwrap().height, answer.height);
}

#[test]
fn free_keys_that_flood_a_worker_crowd_out_no_query_of_a_shorter_lifetime() {
    let (mut network, mut alice, contract) = scene(55);
    network.nodes[WORKER].seen = Seen::with_room(20);
    let request = QueryRequest::Contract { contract, payload: vec![KEEP] };
    let crowded = AnswerContent::Refused(QueryRefusal::Crowded);
    let output = AnswerContent::Output(vec![KEEP, 4]);
    let asked = |network: &Network, account: &mut Account, lifetime| {
        let node = network.worker();
        let mut query = account.query(node, request.clone());
        query.valid_until = node.tee().head().0 + lifetime;
        ask(network, node, &account.sign_query(network, query)).content
    };
    for lifetime in [MAX_QUERY_LIFETIME_BLOCKS, 60] {
        let flood: Vec<_> = (0..30).map(|key| asked(&network, &mut Account::new(100 + key), lifetime)).collect();
        assert!(
            flood[..20].iter().all(|answer| *answer == output) && flood[20..].iter().all(|answer| *answer == crowded)
        );
        assert_eq!(asked(&network, &mut alice, lifetime), crowded);
        assert_eq!(asked(&network, &mut alice, 30), output, "what a client asks with next is answered");
    }
    network.run(61);
    assert_eq!(asked(&network, &mut alice, 60), output, "and the flood is over in its own lifetime");
}

/// Who carries a query can bring it again. Its second answer is under the key of the first, and mostly known to the carrier: under the
/// nonce of the first, and a cipher that this breaks, that would read the first.
#[test]
fn a_second_answer_to_one_query_does_not_open_the_first() {
    let (network, mut alice, contract) = scene(56);
    let node = network.worker();
    let query = alice.query(node, QueryRequest::Contract { contract, payload: vec![KEEP] });
    let plaintext = alice.sign_query(&network, query).encode();
    let serving = node.tee().serving().unwrap();
    let (first, first_sealed) = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
    let (second, second_sealed) = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
    assert_eq!(second.content, AnswerContent::Refused(QueryRefusal::Replayed));
    let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(one, other)| one ^ other).collect::<Vec<u8>>();
    let plain = xor(&first.encode(), &second.encode());
    // After the length that padding puts first; what the two do not share is at the end.
    let sealed = xor(&first_sealed.body[2..], &second_sealed.body[2..]);
    let same = plain.iter().zip(&sealed).filter(|(plain, sealed)| plain == sealed).count();
    assert!(same < plain.len() / 4, "{same} of {} bytes of the key stream repeat", plain.len());
    assert_ne!(first_sealed.nonce, second_sealed.nonce);

    // What is the same answer is the same bytes; so is the first of a worker that forgot it, as one does with its process.
    let third = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
    assert_eq!(third, (second, second_sealed));
    let (sealed, _) = seal_query(&network, &serving, &plaintext);
    assert_eq!(serving.answer(&sealed, &Seen::with_room(20)).unwrap(), first_sealed);
}
