//! Cutting deliveries at whole blocks.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use codec::Encode;
use jsonrpsee::{
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
    RpcModule,
};
use phala_protocol::{
    ceremony::Attachment,
    egress::{EgressAction, EgressItem},
    finality::FinalityFragment,
    gas::GasClass,
    inbox::{Head, ItemHeader, ItemKind, ItemOrigin},
    relay::PlacedAttachment,
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart},
    AccountId, ContractId, WorkerId,
};
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        Arc, Mutex,
    },
};

const CLUSTER: ClusterId = ClusterId(1);

/// A first delivery.
async fn assemble(node: &impl Node, status: &TeeStatus) -> Result<Assembled, ClientError> {
    super::assemble(node, status, &mut Turns::default()).await
}

/// A node in memory: items by block, cut at `page` an answer, finalised up to `height`.
struct MockNode {
    items: Vec<Vec<u8>>,
    page: usize,
    height: BlockNumber,
    complete: bool,
    proved: Mutex<Vec<(Vec<Vec<u8>>, Hash)>>,
}

fn item(sequence: u64, block: BlockNumber, bytes: usize) -> Vec<u8> {
    let header = ItemHeader {
        kind: ItemKind::Envelope(GasClass::Small),
        origin: ItemOrigin::Account(AccountId([1; 32])),
        sequence,
        block,
        time_ms: 1,
        fee: 1,
    };
    Item { previous: [0; 32], header, message: vec![0; bytes] }.encode()
}

fn header(number: BlockNumber) -> Vec<u8> {
    ([9u8; 32], Compact(number), [0u8; 64]).encode()
}

impl MockNode {
    fn new(blocks: &[(BlockNumber, usize)], page: usize, height: BlockNumber) -> Self {
        let blocks = blocks.iter().flat_map(|(block, count)| std::iter::repeat_n(*block, *count));
        let items = blocks.enumerate().map(|(sequence, block)| item(sequence as u64, block, 10)).collect();
        Self { items, page, height, complete: true, proved: Mutex::default() }
    }
}

impl Node for MockNode {
    async fn finality_proof(&self, from: BlockNumber) -> Result<Vec<u8>, ClientError> {
        let fragment = FinalityFragment { header: header(self.height), justification: vec![] };
        let fragments = if from < self.height { vec![fragment] } else { vec![] };
        Ok(FinalityProof { fragments, complete: self.complete }.encode())
    }

    async fn items(&self, _: ClusterId, from: u64, limit: u32) -> Result<(u64, Vec<Vec<u8>>), ClientError> {
        let from = from as usize;
        let end = (from + self.page.min(limit as usize)).min(self.items.len());
        Ok((self.items.len() as u64, self.items[from..end].to_vec()))
    }

    async fn proof(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        self.proved.lock().unwrap().push((keys.to_vec(), *at));
        Ok(vec![vec![1]])
    }

    async fn code(&self, code: &CodeHash) -> Result<Option<Vec<u8>>, ClientError> {
        Ok((code.0 == [5; 32]).then(|| vec![5; 10]))
    }

    async fn listed(&self, _: &Hash) -> Result<Vec<(Hash, AllowedMeasurement)>, ClientError> {
        let entry = |listed_at| AllowedMeasurement { source: [0; 32], listed_at, not_before: 0, sunset: None };
        Ok((0..100).map(|index| ([index; 32], entry(index.into()))).collect())
    }
}

fn status(height: BlockNumber, count: u64) -> TeeStatus {
    TeeStatus {
        identity: WorkerId([1; 32]),
        role: Role::Worker,
        genesis: [0; 32],
        height,
        head: [7; 32],
        wanted_keys: vec![],
        inboxes: vec![InboxCursor { cluster: CLUSTER, head: Head { count, link: [0; 32] }, ready: true }],
        wanted_codes: vec![],
        attempt: None,
        identity_attempt: None,
        signing: None,
        snapshot: None,
        outgoing: vec![],
    }
}

fn blocks_of(delivery: &Delivery) -> Vec<BlockNumber> {
    delivery.items.iter().flat_map(|inbox| &inbox.items).map(|item| block_of(item).unwrap()).collect()
}

#[tokio::test]
async fn brings_whole_blocks_and_proves_their_boundaries_at_the_new_head() {
    let node = MockNode::new(&[(3, 2), (5, 1)], 100, 9);
    let mut status = status(4, 0);
    status.wanted_keys = vec![b"wanted".to_vec()];
    let assembled = assemble(&node, &status).await.unwrap();
    assert!(assembled.has_news() && !assembled.more);
    assert_eq!(assembled.proved_at, Some(9));
    assert_eq!(blocks_of(&assembled.delivery), [3, 3, 5]);
    let proved = node.proved.lock().unwrap();
    let (keys, at) = &proved[0];
    assert_eq!(*at, blake2_256(&header(9)));
    for key in [
        b"wanted".to_vec(),
        storage::boundary_key(CLUSTER, 3),
        storage::final_result_key(CLUSTER, 5),
        storage::boundary_key(CLUSTER, 5),
    ] {
        assert!(keys.contains(&key));
    }
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn a_gatekeeper_is_shown_what_was_listed_last_and_a_worker_is_not() {
    let node = MockNode::new(&[], 100, 9);
    let mut status = status(4, 0);
    status.inboxes.clear();
    assemble(&node, &status).await.unwrap();
    assert!(node.proved.lock().unwrap().is_empty());
    status.role = Role::Gatekeeper;
    assemble(&node, &status).await.unwrap();
    let (keys, _) = node.proved.lock().unwrap().pop().unwrap();
    assert_eq!(keys.len(), 2 * MAX_LISTED);
    for key in [storage::measurement_key, storage::listing_key] {
        let asked = |index: u8| keys.contains(&key(&[index; 32]));
        assert!(asked(99) && asked(36) && !asked(35));
    }
}

#[tokio::test]
async fn a_block_that_an_answer_cuts_waits_whole_for_the_next_delivery() {
    let node = MockNode::new(&[(3, 2), (5, 4), (6, 1)], 4, 9);
    let first = assemble(&node, &status(4, 0)).await.unwrap();
    assert_eq!(blocks_of(&first.delivery), [3, 3]);
    assert!(first.more);
    let second = assemble(&node, &status(9, 2)).await.unwrap();
    assert!(second.delivery.finality.is_empty() && second.has_news());
    assert_eq!(
        blocks_of(&second.delivery),
        [5, 5, 5, 5, 6],
        "an answer ends inside block 5, so the next one is asked for"
    );
}

#[tokio::test]
async fn a_block_larger_than_an_answer_is_fetched_until_it_is_whole() {
    let node = MockNode::new(&[(3, 11), (5, 1)], 4, 9);
    let assembled = assemble(&node, &status(4, 0)).await.unwrap();
    assert_eq!(blocks_of(&assembled.delivery), [vec![3; 11], vec![5]].concat());
    let assembled = assemble(&MockNode::new(&[(3, 11)], 4, 9), &status(4, 0)).await.unwrap();
    assert_eq!(blocks_of(&assembled.delivery), [3; 11]);
}

#[tokio::test]
async fn items_after_the_delivered_head_wait() {
    let node = MockNode::new(&[(3, 1), (10, 2), (11, 1)], 2, 9);
    let assembled = assemble(&node, &status(4, 0)).await.unwrap();
    assert_eq!(blocks_of(&assembled.delivery), [3]);
    let node = MockNode::new(&[(10, 5)], 2, 9);
    let assembled = assemble(&node, &status(4, 0)).await.unwrap();
    assert!(assembled.delivery.items.is_empty());
}

#[tokio::test]
async fn nothing_is_brought_to_a_tee_that_is_not_ready_or_far_behind() {
    let node = MockNode::new(&[(3, 1)], 9, 9);
    let mut waiting = status(9, 0);
    waiting.inboxes[0].ready = false;
    let assembled = assemble(&node, &waiting).await.unwrap();
    assert!(!assembled.has_news() && node.proved.lock().unwrap().is_empty());

    let mut node = MockNode::new(&[(3, 1)], 9, 9);
    node.complete = false;
    let assembled = assemble(&node, &status(1, 0)).await.unwrap();
    assert!(assembled.more && assembled.delivery.items.is_empty() && assembled.proved_at.is_none());
}

#[tokio::test]
async fn what_stands_beside_statements_is_news_at_a_head_that_is_known() {
    let node = MockNode::new(&[], 9, 9);
    let mut assembled = assemble(&node, &status(9, 0)).await.unwrap();
    assert!(!assembled.has_news() && assembled.proved_at == Some(9));
    let attachment = Attachment::Package(vec![1]);
    let placed = PlacedAttachment { era: 1, attempt: 0, index: 2, attachment };
    assembled.delivery.attachments.push(placed.clone());
    assert!(assembled.has_news());
    assembled.delivery.attachments.clear();
    assembled.delivery.identity_attachments.push(placed);
    assert!(assembled.has_news());
}

#[tokio::test]
async fn messages_that_lack_a_signature_are_news_at_a_head_that_is_known() {
    let mut assembled = assemble(&MockNode::new(&[], 9, 9), &status(9, 0)).await.unwrap();
    assert!(!assembled.has_news());
    let action = EgressAction::Message { destination: vec![1], payload: vec![2] };
    let item = EgressItem { cluster: CLUSTER, sequence: 0, contract: ContractId([3; 32]), action };
    assembled.delivery.messages.push(item);
    assert!(assembled.has_news());
}

#[tokio::test]
async fn parts_of_a_snapshot_are_news_at_a_head_that_is_known() {
    let mut assembled = assemble(&MockNode::new(&[], 9, 9), &status(9, 0)).await.unwrap();
    assert!(!assembled.has_news());
    let boundary = Boundary { block: 1, count: 1, link: [0; 32] };
    let header = SnapshotHeader { cluster: CLUSTER, era: 1, epoch: 1, boundary, salt: [0; 32] };
    assembled.delivery.snapshot.push(SnapshotPart { header, index: 0, last: true, sealed: vec![1] });
    assert!(assembled.has_news());
}

#[tokio::test]
async fn brings_the_code_that_the_chain_has() {
    let node = MockNode::new(&[], 9, 9);
    let mut status = status(9, 0);
    status.wanted_codes = vec![CodeHash([5; 32]), CodeHash([6; 32])];
    let assembled = assemble(&node, &status).await.unwrap();
    assert_eq!(assembled.delivery.codes, vec![vec![5; 10]]);
}

#[test]
fn cuts_at_the_limits_but_never_inside_a_block() {
    let fetched = |blocks: &[(BlockNumber, usize, usize)]| -> Vec<(BlockNumber, Vec<u8>)> {
        blocks.iter().flat_map(|(block, count, bytes)| std::iter::repeat_n((*block, vec![0; *bytes]), *count)).collect()
    };
    let large = fetched(&[(1, 1, MAX_ITEM_BYTES + 1), (2, 1, 1)]);
    let blocks = cut(&large, true, 9);
    assert_eq!((blocks.numbers, blocks.more), (vec![1], true));
    let many = fetched(&[(1, 300, 1), (2, 1, 1)]);
    let blocks = cut(&many, true, 9);
    assert_eq!((blocks.items.len(), blocks.more), (300, true));
    let single: Vec<_> = (0..200).map(|block| (block, vec![0])).collect();
    assert_eq!(cut(&single, true, 500).numbers.len(), MAX_BLOCKS);
    assert_eq!(cut(&single, true, 3).numbers, [0, 1, 2, 3]);
    assert_eq!(cut(&fetched(&[(1, 2, 1)]), false, 9), Blocks { more: true, ..Blocks::default() });
}

/// A node that gives error `code` to so many questions for items before it has one, and how often it was asked. The inbox has a head unless
/// that error says that there is none.
async fn refusing(refusals: usize, code: i32) -> (Chain, Arc<AtomicUsize>, ServerHandle) {
    let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (asked, mut module) = (Arc::new(AtomicUsize::new(0)), RpcModule::new(()));
    let counted = asked.clone();
    let genesis = format!("0x{}", "09".repeat(32));
    let (given, head) = (phala_protocol::ids::to_hex(&item(0, 3, 10)), (code != 7005).then(|| "0x01".to_owned()));
    for method in ["chain_getBlockHash", "chain_getFinalizedHead"] {
        let genesis = genesis.clone();
        module.register_method(method, move |_, _, _| Ok::<_, ErrorObjectOwned>(genesis.clone())).unwrap();
    }
    module.register_method("state_getStorage", move |_, _, _| Ok::<_, ErrorObjectOwned>(head.clone())).unwrap();
    module
        .register_method("phala_inboxItems", move |_, _, _| -> Result<Value, ErrorObjectOwned> {
            match counted.fetch_add(1, SeqCst) {
                before if before < refusals => Err(ErrorObjectOwned::owned(code, "ask again", None::<()>)),
                _ => Ok(json!({"block": 1, "count": 1, "items": [given]})),
            }
        })
        .unwrap();
    let running = server.start(module);
    (Chain::connect(&url).await.unwrap(), asked, running)
}

#[tokio::test]
async fn a_node_that_looks_for_old_items_is_asked_until_it_has_them_and_another_refusal_stands() {
    let items = vec![item(0, 3, 10)];
    let (chain, asked, _running) = refusing(3, 7008).await;
    let mut steps = MOST_STEPS;
    let blocks = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap();
    assert_eq!((blocks.items, asked.load(SeqCst), steps), (items.clone(), 4, MOST_STEPS - 3));
    // Where it takes longer, the next delivery has it go on.
    let (chain, asked, _running) = refusing(12, 7008).await;
    steps = MOST_STEPS;
    let error = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap_err();
    assert_eq!((error.code, asked.load(SeqCst), steps), (ErrorCode::Busy, 9, 0));
    steps = MOST_STEPS;
    let blocks = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap();
    assert_eq!((blocks.items, asked.load(SeqCst)), (items.clone(), 13));
    // Whoever has nothing else to do waits for it.
    let (chain, asked, _running) = refusing(12, 7008).await;
    let answer = chain.inbox_items(CLUSTER, 0, 9).await.unwrap();
    assert_eq!((answer.items, asked.load(SeqCst)), (items, 13));
    let (chain, asked, _running) = refusing(3, 7006).await;
    steps = MOST_STEPS;
    let error = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap_err();
    assert_eq!((error.code, asked.load(SeqCst), steps), (ErrorCode::Refused, 1, MOST_STEPS));
}

#[tokio::test]
async fn an_inbox_that_the_node_does_not_keep_is_told_from_one_that_a_cluster_has_not() {
    let mut steps = MOST_STEPS;
    let (chain, asked, _running) = refusing(9, 7005).await;
    let blocks = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap();
    assert_eq!((blocks, asked.load(SeqCst)), (Blocks::default(), 1));
    let (chain, asked, _running) = refusing(9, 7003).await;
    let error = whole_blocks(&chain, CLUSTER, 0, 9, &mut steps).await.unwrap_err();
    assert_eq!((error.code, asked.load(SeqCst), steps), (ErrorCode::NotFound, 1, MOST_STEPS));
}

/// A node that holds the same items in every inbox, and gives an error for one of them for so many questions.
struct BusyNode {
    node: MockNode,
    busy_with: ClusterId,
    says: ErrorCode,
    left: AtomicUsize,
    asked: AtomicUsize,
}

impl BusyNode {
    fn new(node: MockNode, busy_with: ClusterId, questions: usize) -> Self {
        Self { node, busy_with, says: ErrorCode::Busy, left: AtomicUsize::new(questions), asked: AtomicUsize::new(0) }
    }
}

impl Node for BusyNode {
    async fn finality_proof(&self, from: BlockNumber) -> Result<Vec<u8>, ClientError> {
        self.node.finality_proof(from).await
    }

    async fn items(&self, cluster: ClusterId, from: u64, limit: u32) -> Result<(u64, Vec<Vec<u8>>), ClientError> {
        if cluster == self.busy_with {
            self.asked.fetch_add(1, SeqCst);
            if self.left.load(SeqCst) > 0 {
                self.left.fetch_sub(1, SeqCst);
                return Err(ClientError::new(self.says, "it gives none of these"));
            }
        }
        self.node.items(cluster, from, limit).await
    }

    async fn proof(&self, keys: &[Vec<u8>], at: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
        self.node.proof(keys, at).await
    }

    async fn code(&self, code: &CodeHash) -> Result<Option<Vec<u8>>, ClientError> {
        self.node.code(code).await
    }

    async fn listed(&self, at: &Hash) -> Result<Vec<(Hash, AllowedMeasurement)>, ClientError> {
        self.node.listed(at).await
    }
}

/// A TEE that takes all that it is brought.
struct Taker {
    status: TeeStatus,
    turns: Turns,
    took: BTreeMap<ClusterId, Vec<Vec<u8>>>,
}

impl Taker {
    fn of(clusters: &[u32]) -> Self {
        let mut status = status(4, 0);
        let inbox = |cluster: &u32| InboxCursor {
            cluster: ClusterId(*cluster),
            head: Head { count: 0, link: [0; 32] },
            ready: true,
        };
        status.inboxes = clusters.iter().map(inbox).collect();
        Self { status, turns: Turns::default(), took: BTreeMap::new() }
    }

    /// Whose items the next delivery brings.
    async fn take(&mut self, node: &impl Node) -> Vec<u32> {
        let assembled = super::assemble(node, &self.status, &mut self.turns).await.unwrap();
        self.status.height = assembled.proved_at.unwrap();
        let mut brought = Vec::new();
        for InboxItems { cluster, items } in assembled.delivery.items {
            let inbox = self.status.inboxes.iter_mut().find(|inbox| inbox.cluster == cluster).unwrap();
            inbox.head.count += items.len() as u64;
            self.took.entry(cluster).or_default().extend(items);
            brought.push(cluster.0);
        }
        brought
    }
}

#[tokio::test]
async fn other_inboxes_are_delivered_in_order_while_the_node_is_busy_with_one_for_ever() {
    let node = BusyNode::new(MockNode::new(&[(3, 2), (5, 4), (6, 1)], 4, 9), CLUSTER, usize::MAX);
    let mut tee = Taker::of(&[0, 1, 2]);
    let (begun, mut brought) = (Instant::now(), Vec::new());
    let each = 1 + MOST_STEPS as usize;
    while node.asked.load(SeqCst) < 4 * each {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not come back to");
        brought.push(tee.take(&node).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(brought[..2], [[0, 2], [2, 0]], "at once, and each first in its turn");
    let items = &node.node.items;
    assert_eq!((tee.status.height, &tee.took[&ClusterId(0)], &tee.took[&ClusterId(2)]), (9, items, items));
    assert!(!tee.took.contains_key(&CLUSTER));
    // It had four turns, and waited twice as long after each.
    assert_eq!(node.asked.load(SeqCst), 4 * each);
    assert!(begun.elapsed() >= Duration::from_millis(50 + 100 + 200));
}

#[tokio::test]
async fn an_inbox_that_the_node_does_not_keep_holds_up_nothing_else() {
    let lacking = |says| BusyNode {
        says,
        ..BusyNode::new(MockNode::new(&[(3, 2), (5, 4), (6, 1)], 100, 9), CLUSTER, usize::MAX)
    };
    for says in [ErrorCode::NotFound, ErrorCode::Refused] {
        let (node, mut tee) = (lacking(says), Taker::of(&[0, 1, 2]));
        assert_eq!(tee.take(&node).await, [0, 2]);
        let items = &node.node.items;
        assert_eq!((tee.status.height, &tee.took[&ClusterId(0)], &tee.took[&ClusterId(2)]), (9, items, items));
        assert_eq!(node.asked.load(SeqCst), 1, "such an answer is not asked for again at once");
        let begun = Instant::now();
        while node.asked.load(SeqCst) < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not come back to");
            tee.take(&node).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!tee.took.contains_key(&CLUSTER));
    }
    for says in [ErrorCode::Unreachable, ErrorCode::Unverified] {
        let (node, mut tee) = (lacking(says), Taker::of(&[0, 1, 2]));
        let error = super::assemble(&node, &tee.status, &mut tee.turns).await.err().unwrap();
        assert_eq!(error.code, says, "with such a node nothing goes on");
    }
}

#[tokio::test]
async fn an_inbox_that_the_node_was_busy_with_is_come_back_to_and_delivered_in_order() {
    let node = BusyNode::new(MockNode::new(&[(3, 2), (5, 4), (6, 1)], 4, 9), CLUSTER, 20);
    let mut tee = Taker::of(&[0, 1]);
    let begun = Instant::now();
    while tee.took.get(&CLUSTER).is_none_or(|items| items.len() < node.node.items.len()) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", tee.took.keys());
        tee.take(&node).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(tee.took[&CLUSTER], node.node.items);
    assert_eq!(tee.took[&ClusterId(0)], node.node.items);
}

#[tokio::test]
async fn an_inbox_whose_blocks_fill_deliveries_holds_up_no_other() {
    // Sixty items of 18 KiB are more than one delivery takes.
    let mut node = MockNode::new(&[], 100, 9);
    node.items = (0..180).map(|sequence| item(sequence, 1 + sequence as BlockNumber / 60, 18 * 1024)).collect();
    let mut tee = Taker::of(&[0, 1]);
    for expected in [0, 1, 0, 1, 0, 1] {
        assert_eq!(tee.take(&node).await, [expected]);
    }
    for cluster in [0, 1] {
        assert_eq!(tee.took[&ClusterId(cluster)], node.items);
    }
}

#[tokio::test]
async fn malformed_answers_are_errors() {
    struct Liar;
    impl Node for Liar {
        async fn finality_proof(&self, _: BlockNumber) -> Result<Vec<u8>, ClientError> {
            Ok(FinalityProof { fragments: vec![], complete: true }.encode())
        }
        async fn items(&self, _: ClusterId, _: u64, _: u32) -> Result<(u64, Vec<Vec<u8>>), ClientError> {
            Ok((u64::MAX, vec![vec![1, 2, 3]]))
        }
        async fn proof(&self, _: &[Vec<u8>], _: &Hash) -> Result<Vec<Vec<u8>>, ClientError> {
            Ok(vec![])
        }
        async fn code(&self, _: &CodeHash) -> Result<Option<Vec<u8>>, ClientError> {
            Ok(None)
        }
        async fn listed(&self, _: &Hash) -> Result<Vec<(Hash, AllowedMeasurement)>, ClientError> {
            Ok(vec![])
        }
    }
    let error = assemble(&Liar, &status(4, 0)).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::Unverified);
}
