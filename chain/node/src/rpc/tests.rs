//! The RPC module of a real node - client, database, offchain index - asked as a server asks it, by JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::{cli, service};
use codec::{DecodeAll, Encode};
use phala_protocol::{
    gas::GasClass,
    ids::{AccountId, ClusterId},
    inbox::{Head, Item, ItemHeader, ItemKind, ItemOrigin},
    limits::{MAX_INBOX_BYTES_PER_ANSWER, MAX_INBOX_ITEMS_PER_ANSWER, MAX_MESSAGE_BYTES},
    storage,
};
use sc_client_api::Backend as _;
use sc_consensus_grandpa::SharedVoterState;
use serde_json::{json, Value};
use sp_core::offchain::{OffchainStorage, STORAGE_PREFIX};

/// Clusters whose inboxes the genesis has: 600 small items, 80 of the greatest size, three of which one is lost, and more than a call looks
/// at.
const MANY: ClusterId = ClusterId(3);
const LARGE: ClusterId = ClusterId(4);
const DAMAGED: ClusterId = ClusterId(5);
const LONG: ClusterId = ClusterId(6);

/// Ended in this order: the runtime waits for its tasks, which end when their manager does.
struct Asked {
    module: RpcModule<()>,
    _tasks: sc_service::TaskManager,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// An inbox of `count` items of `bytes`: what state and index keep of it.
fn inbox(cluster: ClusterId, count: u64, bytes: usize) -> (Head, Vec<Item>) {
    let mut head = Head::empty(cluster);
    let mut items = Vec::new();
    for sequence in 0..count {
        let header = ItemHeader {
            kind: ItemKind::Envelope(GasClass::Small),
            origin: ItemOrigin::Account(AccountId([1; 32])),
            sequence,
            block: 0,
            time_ms: 0,
            fee: 0,
        };
        let message = vec![sequence as u8; bytes];
        let next = head.pushed(&header, &message).unwrap();
        items.push(Item { previous: head.link, header, message });
        head = next;
    }
    (head, items)
}

impl Asked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let entered = runtime.enter();
        let base = folder.path().to_str().unwrap();
        let arguments = ["phala-node", "--chain", "dev", "--base-path", base, "--no-prometheus", "--no-telemetry"];
        let mut config = cli::configuration(&arguments, runtime.handle().clone()).unwrap();
        let inboxes = [
            (MANY, inbox(MANY, 600, 300)),
            (LARGE, inbox(LARGE, 80, MAX_MESSAGE_BYTES as usize)),
            (DAMAGED, inbox(DAMAGED, 3, 9)),
            (LONG, inbox(LONG, 2_700, 9)),
        ];
        let mut genesis = config.chain_spec.as_storage_builder().build_storage().unwrap();
        for (cluster, (head, _)) in &inboxes {
            genesis.top.insert(storage::inbox_head_key(*cluster), head.encode());
        }
        config.chain_spec.set_storage(genesis);
        let node = service::parts(&config).unwrap();
        let mut index = node.backend.offchain_storage().unwrap();
        for (cluster, (_, items)) in &inboxes {
            for item in items.iter().filter(|item| *cluster != DAMAGED || item.header.sequence != 1) {
                let key = storage::offchain_item_key(*cluster, item.header.sequence, &item.link());
                index.set(STORAGE_PREFIX, &key, &item.encode());
            }
        }
        let parts = Parts {
            client: node.client,
            backend: node.backend,
            pool: node.pool,
            authority_set: node.grandpa_link.shared_authority_set().clone(),
            voter_state: SharedVoterState::empty(),
            justifications: node.grandpa_link.justification_stream(),
            inbox_links: Default::default(),
        };
        let module = module(&parts, Arc::new(node.task_manager.spawn_handle())).unwrap();
        drop(entered);
        Self { module, _tasks: node.task_manager, runtime, _folder: folder }
    }

    /// The result, or the error's code.
    fn ask(&self, method: &str, parameters: Value) -> Result<Value, i64> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).to_string();
        let (answer, _) = self.runtime.block_on(self.module.raw_json_request(&request, 1)).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(answer["error"]["code"].as_i64().unwrap()),
        }
    }

    fn items(&self, cluster: ClusterId, from: u64, limit: u32) -> Vec<Item> {
        let answer = self.ask("phala_inboxItems", json!([cluster.0, from, limit])).unwrap();
        let bytes = |item: &Value| hex::decode(item.as_str().unwrap().trim_start_matches("0x")).unwrap();
        answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| Item::decode_all(&mut &bytes(item)[..]).unwrap())
            .collect()
    }
}

#[test]
fn inbox_items_are_served_within_the_limits_and_all_of_them() {
    let node = Asked::new();
    let sequences = |items: &[Item]| items.iter().map(|item| item.header.sequence).collect::<Vec<_>>();
    let limit = u64::from(MAX_INBOX_ITEMS_PER_ANSWER);
    assert_eq!(sequences(&node.items(MANY, 0, u32::MAX)), (0..limit).collect::<Vec<_>>());
    assert_eq!(
        sequences(&node.items(MANY, limit, MAX_INBOX_ITEMS_PER_ANSWER + 1)),
        (limit..2 * limit).collect::<Vec<_>>()
    );
    assert_eq!(sequences(&node.items(MANY, 2 * limit, u32::MAX)), (2 * limit..600).collect::<Vec<_>>());
    assert_eq!(sequences(&node.items(MANY, 7, 3)), [7, 8, 9]);
    for (from, limit) in [(0, 0), (600, 9), (u64::MAX, u32::MAX)] {
        assert!(node.items(MANY, from, limit).is_empty(), "from {from}");
    }

    // Bytes bind before the number does; a relayer that goes on where an answer ends gets all.
    let (_, expected) = inbox(LARGE, 80, MAX_MESSAGE_BYTES as usize);
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let items = node.items(LARGE, found.len() as u64, u32::MAX);
        let bytes: usize = items.iter().map(Encode::encoded_size).sum();
        assert!(bytes <= MAX_INBOX_BYTES_PER_ANSWER && !items.is_empty(), "{bytes} bytes");
        if found.is_empty() {
            assert!(bytes + expected[0].encoded_size() > MAX_INBOX_BYTES_PER_ANSWER, "no more would have fitted");
        }
        found.extend(items);
    }
    assert_eq!(found, expected);
}

#[test]
fn items_far_behind_what_is_known_are_found_in_several_calls() {
    let node = Asked::new();
    assert_eq!(node.items(LONG, 2_690, u32::MAX).len(), 10, "near the head nothing has to be looked for");
    assert_eq!(node.ask("phala_inboxItems", json!([LONG.0, 0, 9])), Err(7008));
    assert_eq!(node.items(LONG, 0, 9).len(), 9);
    assert_eq!(node.items(LONG, 1_300, 256).len(), 256, "what was looked at is known");
}

#[test]
fn what_cannot_be_answered_gets_a_typed_error_and_breaks_nothing_else() {
    const INVALID_PARAMETERS: i64 = -32602;
    let node = Asked::new();
    assert_eq!(node.ask("phala_inboxItems", json!([DAMAGED.0, 0, 3])), Err(7003));
    assert_eq!(node.ask("phala_inboxItems", json!([9, 0, 3])), Err(7005));
    assert_eq!(node.ask("phala_inboxItems", json!([u32::MAX, u64::MAX, u32::MAX])), Err(7005));
    assert_eq!(node.items(MANY, 0, 1).len(), 1);
    assert_eq!(node.ask("phala_finalityProof", json!([1])), Err(7001));
    assert_eq!(node.ask("phala_justification", json!([u32::MAX])), Err(7001));

    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    let garbage = [
        json!([]),
        json!(["0x00"]),
        json!([-1, 0, 1]),
        json!([3, -1, 1]),
        json!([3, 0, -1]),
        json!([4_294_967_296_u64, 0, 1]),
        json!([3, 18_446_744_073_709_551_616_f64, 1]),
        json!([3, 0, 4_294_967_296_u64]),
        json!([3, 0.5, 1]),
        json!([3, 0, null]),
        json!([null, null, null]),
        json!([{}, [], "x"]),
        json!({"cluster": "three", "from": "zero", "limit": 1}),
        json!({"limit": 1}),
        json!([deep]),
        json!(["x".repeat(100_000), 0, 1]),
    ];
    for parameters in &garbage {
        for method in ["phala_inboxItems", "phala_finalityProof", "phala_justification"] {
            // Those of one parameter are content with a number in front of more.
            let good = method != "phala_inboxItems" && parameters[0].is_u64();
            let code = node.ask(method, parameters.clone()).err();
            assert!(good || code == Some(INVALID_PARAMETERS), "{method} {parameters}: {code:?}");
        }
    }
    assert_eq!(node.ask("phala_inbox", json!([3, 0, 1])), Err(-32601), "no such method");
    assert_eq!(node.items(MANY, 599, 9).len(), 1);
}
