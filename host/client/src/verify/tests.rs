//! Receipts over a chain made in the test: the good one, and one broken link at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use crate::receipt::ReceiptError;
use codec::Encode;
use phala_attest::{Ban, ConfidenceLevel, Origin, Root, Subject, TcbStatus, Vendor};
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    result::{Boundary, ClusterResult, Outcome, Reply},
    AccountId, ClusterId, CodeHash, ContractId,
};

const CLUSTER: ClusterId = ClusterId(3);
const CONTRACT: ContractId = ContractId([4; 32]);
const CODE: CodeHash = CodeHash([5; 32]);
const MEASUREMENT: Hash = [6; 32];
/// A GRANDPA set of four lets one be absent; three sets follow one another.
const AUTHORITIES: usize = 4;
/// The block whose state the receipt is proved in.
const HEAD: u32 = 6;

/// The link that breaks, and how.
type Case<T> = (&'static str, fn(&mut T));

/// What the chain's state says, before it is put into a chain.
struct Facts {
    result: ClusterResult,
    record: FinalRecord,
    worker: WorkerRecord,
    measurement: AllowedMeasurement,
    contract: ContractRecord,
    now_ms: u64,
    replies: Vec<Reply>,
    /// Where the worker comes from; the state has no such record if there is none.
    appraisal: Option<Appraisal>,
    /// Who is shut out; the state has no such record if nobody is.
    bans: Bans,
    /// Whether the receipt proves the two.
    shown: bool,
    /// Whether the genesis state is marked as a development one.
    marked: bool,
}

fn identity() -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([8; 32]))
}

fn worker_id() -> WorkerId {
    WorkerId(identity().public())
}

fn salt(reply: &Reply) -> [u8; 32] {
    [reply.sequence as u8; 32]
}

fn facts(genesis: &Hash) -> Facts {
    let reply = |sequence| Reply {
        sequence,
        caller: Some((AccountId([7; 32]), sequence + 100)),
        contract: Some(CONTRACT),
        outcome: Outcome::Returned(vec![1, 2]),
        gas_used: 9,
        fee: 10,
        events: vec![],
        egress: vec![],
    };
    let replies = vec![reply(11), reply(12), reply(13)];
    let leaves: Vec<Hash> = replies.iter().map(|reply| reply_leaf(&salt(reply), reply)).collect();
    let result = ClusterResult {
        cluster: CLUSTER,
        epoch: 2,
        boundary: Boundary { block: 5, count: 14, link: [1; 32] },
        prev: [2; 32],
        next: [3; 32],
        replies_root: merkle::root(&leaves),
        egress_root: merkle::root::<Hash>(&[]),
    };
    let signature = identity().sign(&result.signing_payload(genesis));
    Facts {
        result,
        record: FinalRecord { result, votes: vec![(worker_id(), signature)], replicas: 1, finalised_at: 7 },
        worker: WorkerRecord {
            role: Role::Worker,
            operator: AccountId([0; 32]),
            encryption_key: [0; 32],
            measurement: MEASUREMENT,
            hardware: [0; 32],
            assurance: Assurance::Hardware,
            registered_at: 1,
            valid_until: 2_000,
        },
        measurement: AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None },
        contract: ContractRecord { cluster: CLUSTER, code: CODE, deployer: AccountId([0; 32]), created_at: 2 },
        now_ms: 1_000_000,
        replies,
        appraisal: Some(Appraisal {
            origin: Origin {
                root: Root::Intel,
                vendor: Vendor::IntelTdx,
                fmspc: [1; 6],
                evaluation: 17,
                measurement: MEASUREMENT,
            },
            status: TcbStatus::UpToDate,
            confidence: ConfidenceLevel::One,
        }),
        bans: Bans::default(),
        shown: true,
        marked: false,
    }
}

/// A receipt over a chain with two changes of authorities whose last block holds what `edit` leaves of the facts.
fn receipt_with(edit: impl FnOnce(&mut Facts)) -> Receipt {
    let genesis_of =
        |marked: bool| TestChain::new(7, AUTHORITIES, marked.then(|| (storage::DEVELOPMENT.to_vec(), vec![1])));
    let mut facts = facts(&genesis_of(false).genesis_hash());
    edit(&mut facts);
    let mut chain = genesis_of(facts.marked);
    let genesis = chain.genesis_hash();
    if facts.marked {
        // What was signed was signed for the chain that it is on.
        facts.record.votes = vec![(worker_id(), identity().sign(&facts.result.signing_payload(&genesis)))];
    }
    let Facts { result, record, worker, measurement, contract, now_ms, replies, appraisal, bans, shown, marked: _ } =
        facts;
    chain.build_blocks(2);
    chain.build_set_change(AUTHORITIES);
    chain.build_blocks(1);
    chain.build_set_change(AUTHORITIES);
    let head = chain.build_block([
        (storage::final_result_key(CLUSTER, 5), Some(record.encode())),
        (storage::worker_key(&worker_id()), Some(worker.encode())),
        (storage::measurement_key(&MEASUREMENT), Some(measurement.encode())),
        (storage::contract_key(&CONTRACT), Some(contract.encode())),
        (storage::TIMESTAMP_NOW.to_vec(), Some(now_ms.encode())),
        (storage::appraisal_key(&worker_id()), appraisal.map(|appraisal| appraisal.encode())),
        (storage::BANS.to_vec(), (!bans.is_empty()).then(|| bans.encode())),
    ]);
    assert_eq!(head, HEAD);
    let mut keys = Receipt::keys(&result, &CONTRACT, &[worker_id()], &[MEASUREMENT]);
    let hidden = [storage::BANS.to_vec(), storage::appraisal_key(&worker_id())];
    keys.retain(|key| shown || !hidden.contains(key));
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let leaves: Vec<Hash> = replies.iter().map(|reply| reply_leaf(&salt(reply), reply)).collect();
    Receipt {
        genesis,
        anchor: chain.anchor(),
        finality: chain.proof(0, head).fragments,
        proof: chain.read_proof(head, &keys),
        record,
        reply: replies[1].clone(),
        salt: salt(&replies[1]),
        position: (1, 3),
        path: merkle::prove(&leaves, 1).unwrap(),
        contract: CONTRACT,
        code: CODE,
        evidence: vec![],
    }
}

fn verdict(receipt: &Receipt) -> Verdict {
    verify(receipt, &receipt.genesis, &[1; 32])
}

fn failed(receipt: &Receipt) -> &'static str {
    let verdict = verdict(receipt);
    assert!(!verdict.holds());
    verdict.failed().unwrap().name
}

#[test]
fn every_link_of_a_good_receipt_holds_in_order() {
    let receipt = receipt_with(|_| ());
    assert_eq!(receipt.finality.len(), 3, "two set changes and the head");
    let verdict = verdict(&receipt);
    assert!(verdict.holds() && !verdict.simulated, "{:?}", verdict.links);
    assert_eq!(verdict.links.iter().map(|link| link.name).collect::<Vec<_>>(), LINKS);
    assert_eq!(verdict.code(), None);
    assert!(verdict.links[6].detail.contains("no vote"));
    assert!(verdict.links[8].detail.contains("nonce 112"));
}

#[test]
fn receipts_round_trip_through_json() {
    let mut receipt = receipt_with(|_| ());
    receipt.evidence =
        vec![EvidenceOf { worker: worker_id(), registration: vec![1], evidence: vec![2], collateral: vec![] }];
    let json = receipt.to_json().unwrap();
    assert_eq!(Receipt::from_json(json.as_bytes()), Ok(receipt));
    let other = json.replace("phala-receipt/v1", "phala-receipt/v9");
    assert_eq!(Receipt::from_json(other.as_bytes()), Err(ReceiptError::Format("phala-receipt/v9".into())));
    let broken = json.replace("\"salt\": \"0x", "\"salt\": \"0x0");
    assert_eq!(Receipt::from_json(broken.as_bytes()), Err(ReceiptError::Field("salt")));
    assert!(matches!(Receipt::from_json(b"{}"), Err(ReceiptError::Json(_))));
}

#[test]
fn simulated_workers_are_flagged_and_hold_on_a_marked_genesis_alone() {
    let simulated = |marked: bool| {
        verdict(&receipt_with(|facts| {
            facts.worker.assurance = Assurance::Simulated;
            facts.marked = marked;
        }))
    };
    let development = simulated(true);
    assert!(development.holds() && development.simulated, "{:?}", development.links);
    assert!(development.links[4].detail.contains("INSECURE"));
    let other = simulated(false);
    assert!(other.simulated);
    assert_eq!(other.failed().unwrap().name, "evidence and root");
    assert_eq!(other.code(), Some(ErrorCode::Unattested));
}

#[test]
fn names_the_link_that_the_chains_state_breaks() {
    let cases: [Case<Facts>; 8] = [
        ("worker registered", |facts| facts.worker.role = Role::Gatekeeper),
        ("worker registered", |facts| facts.now_ms = 2_000_000),
        ("worker registered", |facts| facts.record.votes.clear()),
        ("measurement allow-listed", |facts| facts.measurement.sunset = Some(3)),
        ("measurement allow-listed", |facts| facts.measurement.not_before = 100),
        ("result signed", |facts| facts.record.replicas = 2),
        ("result signed", |facts| facts.record.votes[0].1[0] ^= 1),
        ("code hash", |facts| facts.contract.code = CodeHash([0; 32])),
    ];
    for (name, edit) in cases {
        assert_eq!(failed(&receipt_with(edit)), name);
    }
}

#[test]
fn names_the_link_that_a_forger_breaks() {
    let cases: [Case<Receipt>; 13] = [
        ("genesis", |receipt| receipt.anchor.header[40] ^= 1),
        ("authority sets", |receipt| receipt.finality.clear()),
        ("authority sets", |receipt| receipt.finality[0].justification[60] ^= 1),
        ("worker registered", |receipt| receipt.finality.truncate(2)),
        ("block finalised", |receipt| receipt.finality[2].header[40] ^= 1),
        ("worker registered", |receipt| receipt.proof[0][3] ^= 1),
        ("worker registered", |receipt| receipt.record.votes[0].0 = WorkerId([9; 32])),
        ("result finalised", |receipt| receipt.record.finalised_at += 1),
        ("result signed", |receipt| receipt.record.result.next = [9; 32]),
        ("reply included", |receipt| receipt.reply.outcome = Outcome::Returned(vec![9])),
        ("reply included", |receipt| receipt.position = (0, 3)),
        ("code hash", |receipt| receipt.code = CodeHash([9; 32])),
        ("code hash", |receipt| receipt.contract = ContractId([9; 32])),
    ];
    for (name, edit) in cases {
        let mut receipt = receipt_with(|_| ());
        edit(&mut receipt);
        assert_eq!(failed(&receipt), name);
    }
}

fn ban(facts: &mut Facts, subject: Subject, from: u32, until: Option<u32>) {
    facts.bans.put(Ban { subject, from, until }, 0).unwrap();
}

#[test]
fn a_worker_that_was_shut_out_in_the_receipts_state_breaks_the_link_of_its_evidence() {
    const VENDOR: Subject = Subject::Vendor(Vendor::IntelTdx);
    let barred: [fn(&mut Facts); 7] = [
        |facts| ban(facts, VENDOR, HEAD, None),
        |facts| ban(facts, VENDOR, 1, Some(HEAD)),
        |facts| ban(facts, Subject::Root(Root::Intel), 0, None),
        |facts| ban(facts, Subject::Model { vendor: Vendor::IntelTdx, fmspc: [1; 6] }, 0, None),
        |facts| ban(facts, Subject::Evaluation { vendor: Vendor::IntelTdx, below: 18 }, 0, None),
        |facts| ban(facts, Subject::Measurement(MEASUREMENT), 0, None),
        // Of a worker of which nothing is known, any ban in force is about it.
        |facts| {
            ban(facts, Subject::Vendor(Vendor::IntelSgx), 0, None);
            facts.appraisal = None;
        },
    ];
    for edit in barred {
        let verdict = verdict(&receipt_with(edit));
        assert_eq!(verdict.failed().unwrap().name, "evidence and root", "{:?}", verdict.links);
        assert_eq!(verdict.code(), Some(ErrorCode::Unattested));
        assert!(verdict.failed().unwrap().detail.contains("shut out at block"));
    }
    let free: [fn(&mut Facts); 4] = [
        |facts| ban(facts, VENDOR, HEAD + 1, None),
        |facts| ban(facts, VENDOR, 1, Some(HEAD - 1)),
        |facts| ban(facts, Subject::Vendor(Vendor::IntelSgx), 0, None),
        |facts| facts.appraisal = None,
    ];
    for edit in free {
        let verdict = verdict(&receipt_with(edit));
        assert!(verdict.holds() && !verdict.bans_unknown, "{:?}", verdict.links);
        assert!(verdict.links[4].detail.contains("no ban is about them"));
    }
}

#[test]
fn a_receipt_that_does_not_prove_the_list_of_bans_says_that_they_are_unknown() {
    let verdict = verdict(&receipt_with(|facts| {
        // Long enough to stand in a node of its own: a short list can stand in one that the proof has anyway.
        ban(facts, Subject::Measurement(MEASUREMENT), 0, None);
        facts.shown = false;
    }));
    assert!(verdict.holds() && verdict.bans_unknown, "{:?}", verdict.links);
    assert!(verdict.links[4].detail.contains("bans unknown"));
}

#[test]
fn refuses_a_receipt_of_another_chain() {
    let receipt = receipt_with(|_| ());
    let verdict = verify(&receipt, &[9; 32], &[1; 32]);
    assert_eq!((verdict.failed().unwrap().name, verdict.links.len()), ("genesis", 1));
    assert_eq!(verdict.code(), Some(ErrorCode::Unverified));
}

#[test]
fn a_fragment_that_ends_no_set_is_not_a_link_of_sets() {
    let mut receipt = receipt_with(|_| ());
    let head = receipt.finality.pop().unwrap();
    receipt.finality.extend([head.clone(), head]);
    assert_eq!(failed(&receipt), "authority sets");
}

#[test]
fn evidence_that_does_not_hold_breaks_its_link() {
    let mut receipt = receipt_with(|_| ());
    receipt.evidence =
        vec![EvidenceOf { worker: worker_id(), registration: vec![1], evidence: vec![2], collateral: vec![3] }];
    assert_eq!(failed(&receipt), "evidence and root");
    assert_eq!(verdict(&receipt).code(), Some(ErrorCode::Unattested));
}
