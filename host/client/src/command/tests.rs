//! Sealing a command, and judging the reply to it, without a network.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::{
    fees::call_envelope_bytes,
    reply::{executed_elsewhere, is_lost, verify_reply},
    *,
};
use crate::chain::ChainEvent;
use phala_crypto::{envelope::open_envelope, merkle, signature::sr25519, xwing::DecapsulationKey};
use phala_protocol::{
    chain_state::FinalRecord,
    gas::BACKLOG_LIMIT,
    query::{AnswerContent, QueryRefusal},
    result::{reply_leaf, Boundary, ClusterResult, Failure, Outcome, Reply},
    WorkerId,
};

pub(super) const GENESIS: Hash = [1; 32];
pub(super) const CLUSTER: ClusterId = ClusterId(0);

pub(super) fn cluster(key: &DecapsulationKey) -> ClusterRecord {
    ClusterRecord {
        era: 0,
        era_before: 0,
        epoch: 4,
        opened_at: 0,
        opened_count: 0,
        final_count: 0,
        bound_epoch: 0,
        epoch_length: 100,
        envelope_key: key.public_key().to_vec(),
        replicas: vec![WorkerId([1; 32])],
    }
}

pub(super) fn call(payload: usize) -> Call {
    Call {
        purpose: CallPurpose::Command,
        contract: ContractId([2; 32]),
        nonce: next_nonce(),
        valid_until: 9,
        gas_class: GasClass::Small,
        gas_limit: 10,
        max_fee: 11,
        payload: vec![3; payload],
    }
}

#[test]
fn nonces_of_one_process_never_repeat() {
    let threads: Vec<_> =
        (0..4).map(|_| std::thread::spawn(|| (0..500).map(|_| next_nonce()).collect::<Vec<_>>())).collect();
    let mut all: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(all[0] > 1_700_000_000_000);
}

#[test]
fn a_sealed_command_opens_for_its_epoch_and_is_signed_for_its_key() {
    let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
    let record = cluster(&key);
    let account = Account::development("alice").unwrap();
    let call = call(100);
    let bytes = seal(&GENESIS, CLUSTER, &record, &account, &call, &[6; 64]).unwrap();
    let envelope = Envelope::decode_exact(&bytes).unwrap();
    assert_eq!(envelope.header.size, SizeClass::K1);
    let destination = Destination { genesis: GENESIS, cluster: CLUSTER, epoch: 4 };
    let opened = open_envelope(&key, &destination, &envelope).unwrap();
    let signed = SignedCall::decode_exact(opened.data.expose()).unwrap();
    assert_eq!(signed.call, call);
    let payload = signing_payload(&GENESIS, CLUSTER, &public_key_hash(key.public_key()), &call);
    assert_eq!(sr25519::verify(&account.id().0, &payload, &signed.signature), Ok(()));
}

#[test]
fn refuses_a_closed_cluster_and_a_long_command() {
    let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
    let account = Account::development("alice").unwrap();
    let closed = ClusterRecord { epoch: 0, ..cluster(&key) };
    let error = seal(&GENESIS, CLUSTER, &closed, &account, &call(1), &[6; 64]).unwrap_err();
    assert_eq!(error.code, ErrorCode::Busy);
    let error = seal(&GENESIS, CLUSTER, &cluster(&key), &account, &call(16_384), &[6; 64]).unwrap_err();
    assert_eq!(error.code, ErrorCode::OverLimit);
    assert_eq!(class_of(u64::MAX).unwrap_err().code, ErrorCode::OverLimit);
}

#[test]
fn nothing_is_sealed_for_a_cluster_that_is_closed_for_good_and_nobody_waits_for_it() {
    let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
    let account = Account::development("alice").unwrap();
    let open = ClusterRecord { final_count: 7, ..cluster(&key) };
    let closed = ClusterRecord { replicas: Vec::new(), envelope_key: Vec::new(), ..open.clone() };
    let error = seal(&GENESIS, CLUSTER, &closed, &account, &call(1), &[6; 64]).unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(error.message.contains("closed cluster 0 for good") && error.hint.unwrap().contains("another cluster"));
    assert_eq!([6, 7, 8].map(|sequence| is_lost(&closed, sequence)), [false, true, true], "what was final stays so");
    assert_eq!([6, 7, 8].map(|sequence| is_lost(&open, sequence)), [false; 3]);
}

#[test]
fn a_refusal_that_can_be_foreseen_is_the_chains_own() {
    let call = Call { max_fee: 11, ..call(1) };
    let said = |backlog, fee| foreseen(&call, backlog, fee).map(unsent).map(|error| error.code);
    let gas = call.gas_class.gas();
    assert_eq!(said(0, 11), None);
    assert_eq!(said(BACKLOG_LIMIT - gas, 11), None);
    assert_eq!(said(BACKLOG_LIMIT - gas + 1, 11), Some(ErrorCode::Busy));
    assert_eq!(said(u64::MAX, 0), Some(ErrorCode::Busy));
    assert_eq!(said(0, 12), Some(ErrorCode::OverLimit));
    let error = unsent(foreseen(&call, 0, 12).unwrap());
    assert_eq!(error.message, "the chain refuses: Inbox.FeeOverMax; it was not sent");
}

#[test]
fn a_repeated_attempt_keeps_its_nonce_and_everything_that_finds_either_of_them() {
    let account = Account::development("alice").unwrap().id();
    let first = Intent::of(CLUSTER, account, &call(1), 100, None).unwrap();
    let options = CommandOptions { again: Some(first.clone()), ..CommandOptions::default() };
    assert_eq!(options.nonce(), first.nonce);
    assert_ne!(CommandOptions::default().nonce(), first.nonce);
    // The reply may be of any block since the first left, and of any until the last of them is over.
    let again = |valid_until| Call { nonce: options.nonce(), valid_until, ..call(1) };
    let of = |call: &Call| Intent::of(CLUSTER, account, call, 150, options.again.as_ref()).unwrap();
    assert_eq!(of(&again(700)), Intent { valid_until: 700, ..first.clone() });
    assert_eq!(of(&again(first.valid_until - 1)), first);
    for other in [
        Intent { cluster: ClusterId(9), ..first.clone() },
        Intent { account: AccountId([9; 32]), ..first.clone() },
        Intent { contract: ContractId([9; 32]), ..first.clone() },
        Intent { nonce: first.nonce - 1, ..first.clone() },
    ] {
        let refused = Intent::of(CLUSTER, account, &again(700), 150, Some(&other)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Invalid);
    }
}

pub(super) fn replied() -> (Command, FinalRecord, AnswerContent) {
    let account = Account::development("alice").unwrap().id();
    let command = Command {
        cluster: CLUSTER,
        contract: ContractId([2; 32]),
        account,
        nonce: 77,
        sequence: 6,
        block: 30,
        fee: 9,
        transaction_fee: Some(4),
    };
    let reply = |sequence, nonce| Reply {
        sequence,
        caller: Some((account, nonce)),
        contract: Some(ContractId([2; 32])),
        outcome: Outcome::Returned(vec![1]),
        gas_used: 5,
        fee: 9,
        events: vec![],
        egress: vec![],
    };
    let replies = [reply(5, 76), reply(6, 77), reply(7, 78)];
    let leaves: Vec<Hash> = replies.iter().map(|reply| reply_leaf(&[8; 32], reply)).collect();
    let result = ClusterResult {
        cluster: CLUSTER,
        epoch: 4,
        boundary: Boundary { block: 30, count: 8, link: [0; 32] },
        prev: [0; 32],
        next: [1; 32],
        replies_root: merkle::root(&leaves),
        egress_root: merkle::root::<Hash>(&[]),
    };
    let record = FinalRecord { result, votes: vec![], replicas: 1, finalised_at: 33 };
    let [_, reply, _] = replies;
    let path = merkle::prove(&leaves, 1).unwrap();
    (command, record, AnswerContent::Reply { reply, salt: [8; 32], result, position: (1, 3), path })
}

#[test]
fn a_reply_holds_when_the_final_result_commits_it() {
    let (command, record, content) = replied();
    let completed = verify_reply(&command, &record, content, WorkerId([1; 32])).unwrap();
    assert_eq!(completed.output(), Ok(&[1][..]));
    assert_eq!(completed.command, command);
}

#[test]
fn a_copy_that_was_executed_first_is_the_command() {
    let (command, record, content) = replied();
    assert_eq!(executed_elsewhere(&content, &record), None);
    // Ours came later, in another block: the item that executed is a stranger's copy of it.
    let ours = Command { sequence: 12, block: 31, fee: 3, ..command.clone() };
    let mut later = record.clone();
    later.result.boundary.block = 31;
    assert_eq!(executed_elsewhere(&content, &later), Some(30));
    assert_eq!(
        verify_reply(&ours, &later, content.clone(), WorkerId([1; 32])).unwrap_err().code,
        ErrorCode::Unverified
    );
    let completed = verify_reply(&ours, &record, content, WorkerId([1; 32])).unwrap();
    assert_eq!(completed.command, command, "place, block and fee of what executed");
}

#[test]
fn a_command_that_nobody_answered_for_is_said_to_be_in_the_inbox_and_not_to_be_sent_again() {
    let (command, record, _) = replied();
    let timeout = ClientError::new(ErrorCode::Timeout, "there is no final result yet");
    let pending = verify_reply(&command, &record, AnswerContent::Pending, WorkerId([1; 32])).unwrap_err();
    let refused = ClientError::new(ErrorCode::Busy, "the worker is busy").with_hint("try again");
    for error in [timeout, pending, refused] {
        let said = command.unanswered(error.clone());
        assert_eq!(said.code, error.code);
        assert!(said.message.starts_with(&error.message), "{said}");
        for part in ["inbox of cluster 0", "item 6", "block 30", "nonce 77", "must not be sent again"] {
            assert!(said.message.contains(part), "{part}: {said}");
        }
        assert_eq!(said.hint.as_deref(), Some(UNANSWERED), "and not to try again");
    }
}

#[test]
fn a_command_knows_what_inbox_and_transaction_cost() {
    let event = |pallet: &str, name: &str, fields: Vec<u8>| ChainEvent {
        pallet: pallet.to_owned(),
        name: name.to_owned(),
        fields,
    };
    let account = Account::development("alice").unwrap().id();
    let pushed_event = event("Inbox", "Pushed", (CLUSTER, 6u64, [0u8; 32], 9u128).encode());
    let paid = event("TransactionPayment", "TransactionFeePaid", (account, 4u128, 0u128).encode());
    let command = |events| {
        let included = Included { block: 30, block_hash: [0; 32], events };
        pushed(&included, CLUSTER, ContractId([2; 32]), account, 77)
    };
    let known = command(vec![pushed_event.clone(), paid]).unwrap();
    assert_eq!((known.fee, known.transaction_fee), (9, Some(4)));
    assert_eq!(command(vec![pushed_event.clone()]).unwrap().transaction_fee, None);
    let damaged = event("TransactionPayment", "TransactionFeePaid", vec![1]);
    assert_eq!(command(vec![pushed_event, damaged]).unwrap().transaction_fee, None);
}

#[test]
fn a_transactions_fee_is_asked_for_an_envelope_as_long_as_a_sealed_one() {
    let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
    let account = Account::development("alice").unwrap();
    let sealed = |payload| seal(&GENESIS, CLUSTER, &cluster(&key), &account, &call(payload), &[6; 64]).unwrap().len();
    assert_eq!(sealed(10), call_envelope_bytes(SizeClass::B256));
    assert_eq!(sealed(16_000), call_envelope_bytes(SizeClass::K16));
}

#[test]
fn what_is_signed_says_how_it_will_be_carried() {
    assert_eq!(Carrier::Push.purpose(), CallPurpose::Command);
    let carrier = Carrier::Instantiate { code: CodeHash([1; 32]), salt: &[2; 32] };
    assert_eq!(carrier.purpose(), CallPurpose::Constructor);
}

#[test]
fn refuses_replies_to_others_of_others_and_altered_ones() {
    let check = |edit: fn(&mut Command, &mut FinalRecord, &mut Reply, &mut [u8; 32])| {
        let (mut command, mut record, content) = replied();
        let AnswerContent::Reply { mut reply, mut salt, result, position, path } = content else { unreachable!() };
        edit(&mut command, &mut record, &mut reply, &mut salt);
        let content = AnswerContent::Reply { reply, salt, result, position, path };
        verify_reply(&command, &record, content, WorkerId([1; 32])).unwrap_err()
    };
    assert_eq!(check(|command, _, _, _| command.nonce = 1).code, ErrorCode::Unverified);
    assert_eq!(check(|command, _, _, _| command.contract = ContractId([3; 32])).code, ErrorCode::Unverified);
    assert_eq!(check(|_, record, _, _| record.result.next = [9; 32]).code, ErrorCode::Unverified);
    assert_eq!(check(|_, _, reply, _| reply.outcome = Outcome::Returned(vec![2])).code, ErrorCode::Unverified);
    assert_eq!(check(|_, _, reply, _| reply.gas_used = 0).code, ErrorCode::Unverified);
    assert_eq!(check(|_, _, _, salt| salt[0] = 0).code, ErrorCode::Unverified);
    let (command, record, _) = replied();
    for content in [AnswerContent::Pending, AnswerContent::Refused(QueryRefusal::NotFound)] {
        assert_eq!(verify_reply(&command, &record, content, WorkerId([1; 32])).unwrap_err().code, ErrorCode::Stale);
    }
}

#[test]
fn every_failure_of_a_command_says_what_to_do() {
    // As replies carry them, by their index; the one after the last is none.
    let failure = |index: u8| Failure::decode(&mut [index].as_slice()).ok();
    let all: Vec<Failure> = (0..).map_while(failure).collect();
    assert_eq!((all.first(), all.last()), (Some(&Failure::Undecryptable), Some(&Failure::WrongClass)));
    for failure in all {
        let error = failure_error(&Failed::Failed(failure), None);
        assert!(error.hint.is_some_and(|hint| !hint.is_empty()), "{failure:?}");
    }
}

#[test]
fn failures_have_the_codes_of_the_specification() {
    let code = |failure| failure_error(&Failed::Failed(failure), None).code;
    assert_eq!(code(Failure::Trapped), ErrorCode::Trapped);
    assert_eq!(code(Failure::OutOfGas), ErrorCode::OutOfGas);
    assert_eq!(code(Failure::NonceUsed), ErrorCode::Expired);
    let error = failure_error(&Failed::Reverted(vec![0, 1]), Some("InsufficientBalance"));
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::ContractError, "the contract refuses: InsufficientBalance")
    );
}
