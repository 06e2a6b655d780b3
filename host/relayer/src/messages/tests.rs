//! Which messages are found in which state and blocks, and what of them a TEE is brought.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_protocol::{egress::EgressFailure, identities::Scheme, AccountId};
use std::sync::Mutex as Locked;

const GENESIS: Hash = [9; 32];
const ONE: ClusterId = ClusterId(1);
const OTHER: ClusterId = ClusterId(2);

/// A chain in memory that has states from `oldest` on; its state is that of its newest block.
#[derive(Default)]
struct Played {
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    next: BTreeMap<ClusterId, u64>,
    said: BTreeMap<BlockNumber, Vec<ChainEvent>>,
    bodies: BTreeMap<BlockNumber, Vec<Vec<u8>>>,
    oldest: BlockNumber,
    newest: BlockNumber,
    /// Blocks whose events were asked for.
    asked: Locked<Vec<BlockNumber>>,
    /// Keys that were asked for.
    keys: Locked<usize>,
}

impl Edge for Played {
    async fn hash(&self, number: BlockNumber) -> Result<Option<Hash>, ClientError> {
        Ok((number <= self.newest).then_some([1; 32]))
    }

    async fn next(&self, _: &Hash) -> Result<Vec<(ClusterId, u64)>, ClientError> {
        Ok(self.next.iter().map(|(cluster, next)| (*cluster, *next)).collect())
    }

    async fn values(&self, keys: &[Vec<u8>], _: &Hash) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        *self.keys.lock().unwrap() += keys.len();
        Ok(keys.iter().map(|key| self.state.get(key).cloned()).collect())
    }

    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError> {
        self.asked.lock().unwrap().push(number);
        Ok((number >= self.oldest).then(|| self.said.get(&number).cloned().unwrap_or_default()))
    }

    async fn body(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        match self.bodies.get(&number) {
            Some(body) => Ok(Some(body.clone())),
            None => Err(ClientError::new(ErrorCode::Unverified, "the node gives what is no body")),
        }
    }
}

fn message(cluster: ClusterId, sequence: u64) -> EgressItem {
    let action = EgressAction::Message { destination: b"there".to_vec(), payload: sequence.to_le_bytes().to_vec() };
    EgressItem { cluster, sequence, contract: ContractId([3; 32]), action }
}

fn id(cluster: ClusterId, sequence: u64) -> Hash {
    message(cluster, sequence).id(&GENESIS)
}

impl Played {
    fn new(newest: BlockNumber) -> Self {
        Self { newest, ..Self::default() }
    }

    fn put(&mut self, key: Vec<u8>, value: impl Encode) {
        self.state.insert(key, value.encode());
    }

    /// The chain took an item in this block.
    fn take(&mut self, item: &EgressItem, block: BlockNumber, outcome: EgressOutcome) {
        let EgressItem { cluster, sequence, .. } = *item;
        let id = item.id(&GENESIS);
        self.put(storage::egress_fate_key(cluster, sequence), EgressFate { id, block, outcome });
        let next = self.next.entry(cluster).or_default();
        *next = (*next).max(sequence + 1);
    }

    /// A message left in this block.
    fn leave(&mut self, item: &EgressItem, block: BlockNumber) {
        self.take(item, block, EgressOutcome::Left);
        self.put(sender_key(item.cluster, item.sequence), item.contract);
        let EgressAction::Message { destination, payload } = &item.action else { return };
        let fields = (item.id(&GENESIS), item.contract, destination, payload).encode();
        let event = |name: &str, fields| ChainEvent { pallet: "Egress".into(), name: name.into(), fields };
        let said = self.said.entry(block).or_default();
        said.extend([event("MessageLeft", fields), event("Taken", vec![1, 2, 3])]);
    }

    fn sign(&mut self, cluster: ClusterId, sequence: u64, scheme: Scheme) {
        self.put(storage::egress_signature_key(cluster, sequence, scheme), [1u8; 161]);
    }

    fn asked(&self) -> Vec<BlockNumber> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// What a TEE is brought at `height` that names nothing and was brought nothing, as sequences.
async fn due(messages: &Messages, node: &Played, height: BlockNumber) -> Vec<u64> {
    let due = messages.due(node, &GENESIS, height, &[], &Shown::default()).await.unwrap();
    let ids: Vec<_> = due.messages.iter().map(|item| item.id(&GENESIS)).collect();
    assert_eq!(due.ids, ids);
    due.messages.iter().map(|item| item.sequence).collect()
}

#[tokio::test]
async fn what_has_left_and_lacks_a_signature_is_found_and_found_again_after_a_restart() {
    let mut node = Played::new(100);
    node.leave(&message(ONE, 0), 90);
    let to = AccountId([2; 32]);
    let transfer = EgressItem { action: EgressAction::Transfer { to, amount: 5 }, ..message(ONE, 1) };
    node.take(&transfer, 91, EgressOutcome::Paid);
    node.take(&message(ONE, 2), 91, EgressOutcome::Failed(EgressFailure::Voided));
    for sequence in 3..=5 {
        node.leave(&message(ONE, sequence), 92);
    }
    node.sign(ONE, 4, Scheme::Ed25519);
    for scheme in SCHEMES {
        node.sign(ONE, 5, scheme);
    }
    node.leave(&message(ONE, 6), 99);
    let messages = Messages::default();
    let found = messages.due(&node, &GENESIS, 100, &[], &Shown::default()).await.unwrap();
    let expected = [0, 3, 4, 6].map(|sequence| message(ONE, sequence));
    assert_eq!(found.messages, expected);
    assert!(!found.more);
    assert_eq!(node.asked(), [90, 92, 99], "blocks in which something left, once");
    // Another TEE is shown the same without a look, and one whose head is behind what it knows of.
    assert_eq!(due(&messages, &node, 100).await, [0, 3, 4, 6]);
    assert_eq!(due(&messages, &node, 98).await, [0, 3, 4]);
    let named = [id(ONE, 3), [7; 32]];
    let others = messages.due(&node, &GENESIS, 100, &named, &Shown::default()).await.unwrap();
    assert_eq!(
        others.ids,
        [0, 4, 6].map(|sequence| id(ONE, sequence)),
        "one that has begun with a message lacks the rest"
    );
    assert!(node.asked().is_empty());
    // A relayer that was started anew finds what the chain keeps.
    assert_eq!(due(&Messages::default(), &node, 100).await, [0, 3, 4, 6]);
}

#[tokio::test]
async fn what_is_signed_meanwhile_is_brought_no_more_and_what_leaves_meanwhile_is() {
    let mut node = Played::new(100);
    node.leave(&message(ONE, 0), 90);
    node.leave(&message(OTHER, 0), 91);
    let messages = Messages::default();
    assert_eq!(due(&messages, &node, 100).await, [0, 0]);
    node.newest = 101;
    for scheme in SCHEMES {
        node.sign(ONE, 0, scheme);
    }
    node.leave(&message(ONE, 1), 101);
    assert_eq!(due(&messages, &node, 100).await, [0, 0], "the state is that of a block, and no later one's");
    node.asked();
    let found = messages.due(&node, &GENESIS, 101, &[], &Shown::default()).await.unwrap();
    assert_eq!(found.ids, [id(OTHER, 0), id(ONE, 1)]);
    assert_eq!(node.asked(), [101]);
    // A node that said that more was taken than there was is not believed for ever.
    let lie = |next| BTreeMap::from([(ONE, next), (OTHER, 1)]);
    (node.next, node.newest) = (lie(u64::MAX), 102);
    assert_eq!(due(&messages, &node, 102).await, [0], "of the other cluster");
    (node.next, node.newest) = (lie(2), 103);
    assert_eq!(due(&messages, &node, 103).await, [0, 1]);
    // A node that is behind has nothing new, which is no failure.
    assert_eq!(due(&messages, &node, 500).await.len(), 2);
    assert!(due(&Messages::default(), &node, 500).await.is_empty());
    // Nothing of one chain is another's.
    node.leave(&message(ONE, 2), 101);
    let elsewhere = messages.due(&node, &[8; 32], 101, &[], &Shown::default()).await.unwrap();
    assert_eq!(elsewhere, Due::default(), "ids bind the chain");
}

#[tokio::test]
async fn nothing_is_brought_of_a_disputed_cluster_until_it_is_settled_and_never_what_governance_found_against() {
    let mut node = Played::new(100);
    node.leave(&message(ONE, 0), 90);
    node.leave(&message(ONE, 1), 95);
    node.leave(&message(OTHER, 0), 90);
    node.put(storage::disputed_key(ONE), 93u32);
    let messages = Messages::default();
    let ids = async |height: BlockNumber, node: &Played| {
        messages.due(node, &GENESIS, height, &[], &Shown::default()).await.unwrap().ids
    };
    assert_eq!(ids(100, &node).await, [id(OTHER, 0)]);
    node.state.remove(&storage::disputed_key(ONE));
    node.put(storage::egress_voided_key(ONE), 94u32);
    node.newest = 102;
    assert_eq!(ids(101, &node).await, [id(OTHER, 0), id(ONE, 1)]);
    node.state.remove(&storage::egress_voided_key(ONE));
    assert_eq!(ids(102, &node).await, [id(OTHER, 0), id(ONE, 1)], "it is forgotten for good");
}

#[tokio::test]
async fn what_the_chain_has_forgotten_is_forgotten_and_what_it_still_keeps_is_found_however_much_it_is() {
    let mut node = Played::new(100);
    let kept = EGRESS_FATES_KEPT;
    for sequence in 0..kept {
        node.leave(&message(ONE, sequence), 50 + (sequence % 40) as BlockNumber);
    }
    let messages = Messages::default();
    let mut looks = 0;
    let mut seen = BTreeSet::new();
    let mut shown = Shown::default();
    while seen.len() < kept as usize && looks < 1_000 {
        let (before, keys) = (node.asked().len(), *node.keys.lock().unwrap());
        let due = messages.due(&node, &GENESIS, 100, &[], &shown).await.unwrap();
        let bytes: usize = due.messages.iter().map(Encode::encoded_size).sum();
        assert!(due.ids.len() <= MOST_IN_ONE && bytes <= MAX_BYTES_IN_ONE && before <= MOST_BLOCKS);
        let asked = *node.keys.lock().unwrap() - keys;
        assert!(asked <= 2 * (MOST_SEQUENCES as usize + MOST_CHECKED + 1), "{asked}");
        seen.extend(due.messages.iter().map(|item| item.sequence));
        shown.took(due.ids, 100);
        looks += 1;
    }
    assert_eq!(seen.len(), kept as usize, "each once, for it is not brought again at once");
    // Two more are taken: the oldest two are forgotten.
    node.newest = 101;
    for sequence in [kept, kept + 1] {
        node.leave(&message(ONE, sequence), 101);
    }
    for forgotten in [0, 1] {
        node.state.remove(&storage::egress_fate_key(ONE, forgotten));
    }
    messages.due(&node, &GENESIS, 101, &[], &shown).await.unwrap();
    let found = messages.0.lock().await;
    let sequences: Vec<u64> = found.clusters[&ONE].messages.keys().copied().collect();
    assert_eq!(sequences, (2..kept + 2).collect::<Vec<_>>());
    let bytes: usize = found.clusters[&ONE].messages.values().map(Message::bytes).sum();
    assert_eq!((found.number, found.bytes), (kept as usize, bytes));
}

#[tokio::test]
async fn a_tee_that_does_not_name_what_it_was_brought_is_brought_it_again_after_an_attempt() {
    let mut node = Played::new(200);
    node.leave(&message(ONE, 0), 90);
    let (messages, mut shown) = (Messages::default(), Shown::default());
    let bring = async |shown: &mut Shown, height: BlockNumber| {
        let due = messages.due(&node, &GENESIS, height, &[], shown).await.unwrap();
        let count = due.ids.len();
        shown.took(due.ids, height);
        count
    };
    assert_eq!(bring(&mut shown, 89).await, 0, "its head does not show it");
    assert_eq!(bring(&mut shown, 100).await, 1);
    assert_eq!(bring(&mut shown, 100).await, 0);
    assert_eq!(bring(&mut shown, 100 + AGAIN_BLOCKS - 1).await, 0);
    assert_eq!(bring(&mut shown, 100 + AGAIN_BLOCKS).await, 1);
    assert_eq!(bring(&mut shown, 100).await, 1, "its head went back");
    assert_eq!(shown.0.len(), 1, "what is long ago is forgotten");
}

#[tokio::test]
async fn what_a_pruned_node_has_no_events_of_is_found_in_the_extrinsic_that_brought_it() {
    let mut node = Played { oldest: 95, ..Played::new(100) };
    for (sequence, block) in [(0, 90), (1, 91), (2, 92), (3, 96)] {
        node.leave(&message(ONE, sequence), block);
    }
    // Beside others in one take, behind the same item with other content, and in a block whose body the node does not give.
    let forged = EgressItem {
        action: EgressAction::Message { destination: vec![], payload: b"forged".to_vec() },
        ..message(ONE, 0)
    };
    let take = |items: &[&EgressItem]| [&[0x84u8, 0, 55, 0][..], &items.encode()[..], &[0; 40][..]].concat();
    node.bodies.insert(90, vec![vec![4, 5], take(&[&forged, &message(OTHER, 0), &message(ONE, 0)])]);
    node.bodies.insert(91, vec![take(&[&message(ONE, 1)])[..50].to_vec(), vec![]]);
    let messages = Messages::default();
    assert_eq!(due(&messages, &node, 100).await, [0, 3]);
    assert_eq!(node.asked(), [90, 91, 92, 96]);
    // What nobody shows is not asked for again.
    assert_eq!(due(&messages, &node, 100).await, [0, 3]);
    assert!(node.asked().is_empty());
    // But for much later: by then another node may be asked, which has kept all states.
    (node.oldest, node.newest) = (0, 100 + LOST_BLOCKS - 1);
    assert_eq!(due(&messages, &node, node.newest).await, [0, 3]);
    node.newest += 1;
    assert_eq!(due(&messages, &node, node.newest).await, [0, 1, 2, 3]);
    assert_eq!(node.asked(), [91, 92]);
    // An event with another content is not that message.
    let mut lying = Played::new(100);
    lying.leave(&message(ONE, 0), 90);
    let fields = (id(ONE, 0), ContractId([3; 32]), b"elsewhere".to_vec(), b"lies".to_vec()).encode();
    lying.said.insert(90, vec![ChainEvent { pallet: "Egress".into(), name: "MessageLeft".into(), fields }]);
    assert!(due(&Messages::default(), &lying, 100).await.is_empty());
    // Nor is what is tried for one message without bound.
    let wanted = Wanted { cluster: ONE, sequence: 0, sender: ContractId([3; 32]), id: id(ONE, 0) };
    let many = [forged.encode().repeat(MOST_TRIED), message(ONE, 0).encode()].concat();
    assert_eq!(wanted.within(&GENESIS, &[many]), None);
    let fewer = [forged.encode().repeat(MOST_TRIED - 1), message(ONE, 0).encode()].concat();
    assert_eq!(wanted.within(&GENESIS, &[fewer]), Some(message(ONE, 0)));
}

#[tokio::test]
async fn a_node_that_said_what_never_was_is_believed_no_longer_than_it_says_so() {
    let mut node = Played::new(100);
    node.leave(&message(ONE, 0), 90);
    let messages = Messages::default();
    assert_eq!(due(&messages, &node, 100).await, [0]);
    // Clusters that there are not.
    for height in 101..110u32 {
        node.next = BTreeMap::from([(ONE, 1), (ClusterId(height), u64::MAX)]);
        node.newest = height;
        assert_eq!(due(&messages, &node, height).await, [0]);
        assert_eq!(messages.0.lock().await.clusters.len(), 2);
    }
    // And all of them, but the one that there is.
    (node.next, node.newest) = (BTreeMap::new(), 110);
    assert!(due(&messages, &node, 110).await.is_empty());
    let empty = messages.0.lock().await;
    assert_eq!((empty.clusters.len(), empty.number, empty.bytes), (0, 0, 0));
    drop(empty);
    // A head that is higher than any.
    (node.next, node.newest) = (BTreeMap::from([(ONE, 1)]), BlockNumber::MAX);
    assert_eq!(due(&messages, &node, BlockNumber::MAX).await, [0]);
    node.newest = 120;
    node.leave(&message(ONE, 1), 120);
    assert_eq!(due(&messages, &node, 120).await, [0, 1]);
}

#[tokio::test]
async fn the_memory_of_messages_is_bounded() {
    let mut node = Played::new(100);
    let clusters = 2 * MOST_MESSAGES as u32 / EGRESS_FATES_KEPT as u32;
    for cluster in (0..clusters).map(ClusterId) {
        for sequence in 0..EGRESS_FATES_KEPT {
            let item = message(cluster, sequence);
            node.take(&item, 90, EgressOutcome::Left);
            node.put(sender_key(cluster, sequence), item.contract);
        }
    }
    let messages = Messages::default();
    for _ in 0..2 * clusters {
        due(&messages, &node, 100).await;
    }
    let found = messages.0.lock().await;
    assert_eq!(found.number, MOST_MESSAGES);
    assert!(found.unchecked.is_empty(), "each is asked for in its turn");
}
