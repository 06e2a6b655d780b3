//! Receipts: whatever its maker writes, one that holds proves the reply that the chain committed.

use crate::{measured, Target, Verdict};
use codec::Encode;
use phala_client::{
    receipt::{EvidenceOf, Receipt},
    verify::verify,
};
use phala_crypto::{merkle, signature::ed25519::IdentityKey, Secret};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    attestation::{Assurance, Role},
    chain_state::{AllowedMeasurement, ContractRecord, FinalRecord, WorkerRecord},
    result::{reply_leaf, Boundary, ClusterResult, Outcome, Reply},
    storage, AccountId, ClusterId, CodeHash, ContractId, Hash, WorkerId,
};
use std::sync::LazyLock;

const CLUSTER: ClusterId = ClusterId(3);
const CONTRACT: ContractId = ContractId([4; 32]);
const CODE: CodeHash = CodeHash([5; 32]);
const MEASUREMENT: Hash = [6; 32];

static HONEST: LazyLock<Receipt> = LazyLock::new(honest);

/// A receipt over a chain with a change of authorities.
fn honest() -> Receipt {
    let mut chain = TestChain::new(7, 2, []);
    let genesis = chain.genesis_hash();
    let identity = IdentityKey::from_seed(&Secret::new([8; 32]));
    let worker = WorkerId(identity.public());
    let reply = |sequence: u64| Reply {
        sequence,
        caller: Some((AccountId([7; 32]), sequence + 100)),
        contract: Some(CONTRACT),
        outcome: Outcome::Returned(vec![1, 2]),
        gas_used: 9,
        fee: 10,
        events: vec![],
        egress: vec![],
    };
    let replies = [reply(12), reply(13)];
    let salt = |reply: &Reply| [reply.sequence as u8; 32];
    let leaves: Vec<Hash> = replies.iter().map(|reply| reply_leaf(&salt(reply), reply)).collect();
    let result = ClusterResult {
        cluster: CLUSTER,
        epoch: 2,
        boundary: Boundary { block: 2, count: 14, link: [1; 32] },
        prev: [2; 32],
        next: [3; 32],
        replies_root: merkle::root(&leaves),
        egress_root: merkle::root::<Hash>(&[]),
    };
    let signature = identity.sign(&result.signing_payload(&genesis));
    let record = FinalRecord { result, votes: vec![(worker, signature)], replicas: 1, finalised_at: 3 };
    let registered = WorkerRecord {
        role: Role::Worker,
        operator: AccountId([0; 32]),
        encryption_key: [0; 32],
        measurement: MEASUREMENT,
        hardware: [0; 32],
        assurance: Assurance::Hardware,
        registered_at: 1,
        valid_until: 2_000,
    };
    let allowed = AllowedMeasurement { source: [0; 32], listed_at: 0, not_before: 0, sunset: None };
    let contract = ContractRecord { cluster: CLUSTER, code: CODE, deployer: AccountId([0; 32]), created_at: 2 };
    chain.build_set_change(2);
    let head = chain.build_block([
        (storage::final_result_key(CLUSTER, 2), Some(record.encode())),
        (storage::worker_key(&worker), Some(registered.encode())),
        (storage::measurement_key(&MEASUREMENT), Some(allowed.encode())),
        (storage::contract_key(&CONTRACT), Some(contract.encode())),
        (storage::TIMESTAMP_NOW.to_vec(), Some(1_000_000_u64.encode())),
    ]);
    let keys = Receipt::keys(&result, &CONTRACT, &[worker], &[MEASUREMENT]);
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    Receipt {
        genesis,
        anchor: chain.anchor(),
        finality: chain.proof(0, head).fragments,
        proof: chain.read_proof(head, &keys),
        record,
        reply: replies[0].clone(),
        salt: salt(&replies[0]),
        position: (0, 2),
        path: merkle::prove(&leaves, 0).unwrap(),
        contract: CONTRACT,
        code: CODE,
        evidence: vec![],
    }
}

/// The JSON of a receipt.
pub static RECEIPTS: Target = Target {
    name: "receipts",
    covers: &["host/client/src/receipt.rs::from_json", "host/client/src/verify.rs::verify"],
    samples: LazyLock::new(|| {
        assert!(verify(&HONEST, &HONEST.genesis, &[1; 32]).holds(), "the honest receipt does not hold");
        let evidence = EvidenceOf {
            worker: HONEST.record.votes[0].0,
            registration: vec![1],
            evidence: vec![2],
            collateral: vec![3],
        };
        let attested = Receipt { evidence: vec![evidence], ..HONEST.clone() };
        vec![HONEST.to_json().unwrap().into_bytes(), attested.to_json().unwrap().into_bytes()]
    }),
    check: |bytes| {
        let (receipt, peak) = measured(|| Receipt::from_json(bytes));
        assert!(peak <= bytes.len() as u64 * 400 + (64 << 10), "{peak} bytes for a receipt of {}", bytes.len());
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => return Verdict::refused(error),
        };
        assert_eq!(Receipt::from_json(receipt.to_json().unwrap().as_bytes()).as_ref(), Ok(&receipt));
        let verdict = verify(&receipt, &HONEST.genesis, &[1; 32]);
        if verdict.holds() {
            let claims =
                |of: &Receipt| (of.record.clone(), of.reply.clone(), of.salt, of.contract, of.code, of.position);
            assert_eq!(claims(&receipt), claims(&HONEST), "a receipt of something that never happened");
            return Verdict::accepted("");
        }
        let failed = verdict.failed().expect("a link that does not hold");
        Verdict::refused(format_args!("{}: {}", failed.name, failed.detail))
    },
    iterations: 300,
};
