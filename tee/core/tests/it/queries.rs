//! Questions: what is answered, what is refused, and that a refusal tells nothing.

use crate::{
    client::{ask, try_ask, try_ask_sealed, Account},
    network::{Network, WORKER},
    poison::{code, KEEP, LOOP, REVERT, TRAP},
};
use codec::Encode;
use phala_core::{QueryFault, Seen};
use phala_protocol::{
    limits::MAX_QUERY_LIFETIME_BLOCKS,
    query::{AnswerContent, Query, QueryRefusal, QueryRequest},
    relay::Delivery,
    ContractId, WorkerId,
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
    assert!(matches!(alice.ask_reply(&network, nonce), AnswerContent::Reply { .. }));
    assert_eq!(bob.ask_reply(&network, nonce), AnswerContent::Pending);
    assert_eq!(bob.ask_reply(&network, 12_345), AnswerContent::Pending);
    assert_eq!(alice.ask_reply(&network, 12_345), AnswerContent::Pending);
    let nowhere = alice.ask_contract(&network, ContractId([3; 32]), vec![KEEP]);
    assert_eq!(nowhere, AnswerContent::Refused(QueryRefusal::NotFound));
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

/// Who carries a query can bring it again. Its second answer is under the key of the first, and mostly known to the carrier: under a
/// cipher that a repeated nonce breaks, that would read the first.
#[test]
fn a_second_answer_to_one_query_does_not_open_the_first() {
    let (network, mut alice, contract) = scene(56);
    let node = network.worker();
    let query = alice.query(node, QueryRequest::Contract { contract, payload: vec![KEEP] });
    let plaintext = alice.sign_query(&network, query).encode();
    let serving = node.tee().serving().unwrap();
    let (first, first_body) = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
    let (second, second_body) = try_ask_sealed(&network, node, &serving, &plaintext).unwrap();
    assert_eq!(second.content, AnswerContent::Refused(QueryRefusal::Replayed));
    let xor = |one: &[u8], other: &[u8]| one.iter().zip(other).map(|(one, other)| one ^ other).collect::<Vec<u8>>();
    let plain = xor(&first.encode(), &second.encode());
    // After the length that padding puts first; what the two do not share is at the end.
    let sealed = xor(&first_body[2..], &second_body[2..]);
    let same = plain.iter().zip(&sealed).filter(|(plain, sealed)| plain == sealed).count();
    assert!(same < plain.len() / 4, "{same} of {} bytes of the key stream repeat", plain.len());
}
