//! Which blocks are looked at, what is found in them, and what of it a TEE is brought.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use phala_client::ErrorCode;
use phala_protocol::ceremony::{CeremonyAttempt, MAX_ATTACHMENT_BYTES};
use std::sync::Mutex as Locked;

/// A chain in memory that has states from `oldest` on and is silent in most blocks.
#[derive(Default)]
struct Played {
    said: BTreeMap<BlockNumber, Vec<ChainEvent>>,
    oldest: BlockNumber,
    newest: BlockNumber,
    asked: Locked<Vec<BlockNumber>>,
}

impl Blocks for Played {
    async fn said(&self, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError> {
        if number > self.newest {
            return Err(ClientError::new(ErrorCode::Unreachable, "the node is gone"));
        }
        self.asked.lock().unwrap().push(number);
        Ok((number >= self.oldest).then(|| self.said.get(&number).cloned().unwrap_or_default()))
    }
}

impl Played {
    fn new(newest: BlockNumber) -> Self {
        Self { newest, ..Self::default() }
    }

    fn say(&mut self, number: BlockNumber, event: ChainEvent) {
        self.said.entry(number).or_default().push(event);
    }

    fn asked(&self) -> Vec<BlockNumber> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn event(name: &str, fields: Vec<u8>) -> ChainEvent {
    ChainEvent { pallet: "Gatekeepers".into(), name: name.into(), fields }
}

fn began((era, attempt): AttemptId, phase: Phase) -> ChainEvent {
    event("PhaseBegan", (era, attempt, phase, 99u32).encode())
}

fn announced((era, attempt): AttemptId, index: u16) -> AnnouncedKey {
    let of = CeremonyAttempt::root(era, attempt);
    AnnouncedKey { of, key: index.to_le_bytes().to_vec(), signature: [0; 64] }
}

fn key((era, attempt): AttemptId, index: u16) -> PlacedAttachment {
    PlacedAttachment { era, attempt, index, attachment: Attachment::Key(announced((era, attempt), index)) }
}

fn attached(placed: &PlacedAttachment) -> ChainEvent {
    event("Attached", placed.encode())
}

fn root() -> Attachments {
    Attachments::of(Ceremony::Root)
}

const ATTEMPT: AttemptId = (1, 3);

async fn due(found: &Attachments, node: &Played, height: BlockNumber, brought: &Brought) -> Vec<PlacedAttachment> {
    found.due(node, ATTEMPT, height, brought).await.unwrap().attachments
}

#[tokio::test]
async fn what_was_missed_is_found_back_to_the_beginning_of_the_attempt_and_blocks_are_looked_at_once() {
    let mut node = Played::new(1_010);
    node.say(980, attached(&key((1, 2), 9)));
    node.say(990, began((1, 3), Phase::Commit));
    node.say(995, began((1, 3), Phase::Share));
    node.say(996, event("Stated", vec![1, 2, 3]));
    node.say(996, attached(&key(ATTEMPT, 2)));
    node.say(996, event("Attached", vec![0xff; 7]));
    node.say(998, attached(&key(ATTEMPT, 1)));
    node.say(998, attached(&key(ATTEMPT, 2)));
    let (found, nothing) = (root(), Brought::default());
    assert_eq!(due(&found, &node, 1_000, &nothing).await, [key(ATTEMPT, 2), key(ATTEMPT, 1)]);
    assert_eq!(node.asked(), (990..=1_000).rev().collect::<Vec<_>>());
    // Another TEE, and one whose head is behind.
    assert_eq!(due(&found, &node, 1_000, &nothing).await.len(), 2);
    assert_eq!(due(&found, &node, 997, &nothing).await, [key(ATTEMPT, 2)]);
    assert!(node.asked().is_empty());
    node.say(1_002, attached(&key(ATTEMPT, 4)));
    assert_eq!(due(&found, &node, 1_003, &nothing).await.last(), Some(&key(ATTEMPT, 4)));
    assert_eq!(node.asked(), [1_001, 1_002, 1_003]);
}

#[tokio::test]
async fn an_attempt_without_a_beginning_costs_a_bounded_look_once() {
    let node = Played::new(10_100);
    let (found, nothing) = (root(), Brought::default());
    let mut asked = Vec::new();
    for _ in 0..20 {
        assert!(due(&found, &node, 10_000, &nothing).await.is_empty());
        let now = node.asked();
        assert!(now.len() <= MOST_AT_ONCE as usize);
        asked.extend(now);
    }
    assert_eq!(asked, (10_001 - MOST_BACK..=10_000).rev().collect::<Vec<_>>());
    let other = found.due(&node, (77, 0), 10_000, &nothing).await.unwrap();
    assert!(other == Due::default() && node.asked().is_empty());
    // A young chain ends at its first block.
    let (young, found) = (Played::new(5), root());
    due(&found, &young, 5, &nothing).await;
    due(&found, &young, 5, &nothing).await;
    assert_eq!(young.asked(), [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn the_look_back_ends_where_the_node_cannot_tell_and_a_long_silence_begins_anew() {
    let mut node = Played { oldest: 95, ..Played::new(10_000) };
    node.say(97, attached(&key(ATTEMPT, 1)));
    let (found, nothing) = (root(), Brought::default());
    assert_eq!(due(&found, &node, 100, &nothing).await, [key(ATTEMPT, 1)]);
    due(&found, &node, 100, &nothing).await;
    assert_eq!(node.asked(), [100, 99, 98, 97, 96, 95, 94]);
    node.say(8_999, began(ATTEMPT, Phase::Commit));
    node.say(9_000, attached(&key(ATTEMPT, 2)));
    assert_eq!(due(&found, &node, 9_000, &nothing).await, [key(ATTEMPT, 2)]);
    assert_eq!(node.asked(), [9_000, 8_999]);
    // A node that fails is asked for the same block again.
    assert!(found.due(&node, ATTEMPT, 10_001, &nothing).await.is_err());
    node.newest = 10_001;
    node.say(10_001, attached(&key(ATTEMPT, 3)));
    assert!(due(&found, &node, 10_001, &nothing).await.contains(&key(ATTEMPT, 3)));
}

#[tokio::test]
async fn a_tee_is_brought_each_once_until_it_may_have_lost_it() {
    let mut node = Played::new(100);
    node.say(90, began(ATTEMPT, Phase::Commit));
    node.say(95, attached(&key(ATTEMPT, 1)));
    let found = root();
    let mut brought = Brought::default();
    let bring = async |brought: &mut Brought, attempt: Option<AttemptId>, height: BlockNumber| {
        brought.look(attempt, height);
        let due = found.due(&node, ATTEMPT, height, brought).await.unwrap();
        brought.took(due.names);
        due.attachments.len()
    };
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 94).await, 0, "its head does not show it");
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 96).await, 1);
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 97).await, 0);
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 96).await, 1, "its head went back");
    brought.look(None, 97);
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 97).await, 1, "it was in none for a while");
    brought.forget();
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 97).await, 1, "it did not answer");
    assert_eq!(bring(&mut brought, Some(ATTEMPT), 98).await, 0);
}

#[tokio::test]
async fn a_delivery_and_the_memory_of_an_attempt_are_bounded() {
    let mut node = Played::new(100);
    node.say(1, began(ATTEMPT, Phase::Commit));
    let package = |index: u16| PlacedAttachment {
        index,
        attachment: Attachment::Package(vec![0; MAX_ATTACHMENT_BYTES]),
        ..key(ATTEMPT, index)
    };
    let most = MAX_ATTEMPT_BYTES / package(1).encoded_size();
    for index in 0..most as u16 + 100 {
        node.say(2 + BlockNumber::from(index % 50), attached(&package(index)));
    }
    let (found, mut brought) = (root(), Brought::default());
    let mut seen = BTreeSet::new();
    loop {
        let due = found.due(&node, ATTEMPT, 100, &brought).await.unwrap();
        let bytes: usize = due.attachments.iter().map(Encode::encoded_size).sum();
        assert!(bytes <= MAX_BYTES && due.names.len() <= MOST_IN_ONE);
        seen.extend(due.attachments.iter().map(|placed| placed.index));
        brought.took(due.names);
        if !due.more {
            break;
        }
    }
    assert_eq!(seen.len(), most);
    for index in 0..MOST_OF_AN_ATTEMPT as u16 + 10 {
        node.say(101, attached(&key((2, 0), index)));
    }
    node.say(101, attached(&key((2, 1), 1)));
    node.newest = 101;
    let due = found.due(&node, (2, 0), 101, &Brought::default()).await.unwrap();
    assert!(due.names.len() == MOST_IN_ONE && due.more);
    assert_eq!(found.found.lock().await.attempts[&(2, 0)].placed.len(), MOST_OF_AN_ATTEMPT);
    let former = found.due(&node, ATTEMPT, 101, &Brought::default()).await.unwrap();
    assert!(former == Due::default(), "two attempts are remembered");
}

#[tokio::test]
async fn the_keys_beside_complaints_are_found_with_their_seats() {
    let mut played = Played::new(9);
    let package = PlacedAttachment { era: 1, attempt: 0, index: 3, attachment: Attachment::Package(vec![1]) };
    played.say(3, began((1, 0), Phase::Commit));
    for placed in [key((1, 0), 2), package, key((1, 1), 4), key((1, 0), 5)] {
        played.say(5, attached(&placed));
    }
    let attachments = root();
    assert!(attachments.keys((1, 0)).await.is_empty());
    attachments.due(&played, (1, 0), 9, &Brought::default()).await.unwrap();
    assert_eq!(attachments.keys((1, 0)).await, [2, 5].map(|index| (index, announced((1, 0), index))));
}

#[tokio::test]
async fn a_key_that_is_signed_otherwise_each_time_is_found_once() {
    let mut played = Played::new(9);
    played.say(3, began((1, 0), Phase::Commit));
    for byte in 0..=255 {
        let attachment = Attachment::Key(AnnouncedKey { signature: [byte; 64], ..announced((1, 0), 2) });
        played.say(5, attached(&PlacedAttachment { era: 1, attempt: 0, index: 2, attachment }));
    }
    played.say(6, attached(&key((1, 0), 5)));
    let attachments = root();
    let due = attachments.due(&played, (1, 0), 9, &Brought::default()).await.unwrap();
    assert_eq!(due.attachments, [2, 5].map(|index| key((1, 0), index)));
    assert_eq!(attachments.keys((1, 0)).await.len(), 2);
}

#[tokio::test]
async fn what_stands_beside_statements_of_identities_is_found_apart_from_what_stands_beside_those_of_a_root() {
    let mut node = Played::new(1_010);
    let package = PlacedAttachment { attachment: Attachment::Package(vec![7; 9]), ..key(ATTEMPT, 2) };
    let of_identities = |placed: &PlacedAttachment, of_dealer: bool| {
        let PlacedAttachment { era, attempt, index, attachment } = placed;
        event("IdentitiesAttached", (era, attempt, index, of_dealer, attachment).encode())
    };
    let began = |name: &str, phase: Phase| event(name, (ATTEMPT.0, ATTEMPT.1, phase, 99u32).encode());
    node.say(985, of_identities(&key(ATTEMPT, 8), false));
    node.say(990, began("IdentitiesPhaseBegan", Phase::Commit));
    node.say(991, began("IdentitiesPhaseBegan", Phase::Share));
    node.say(995, of_identities(&key(ATTEMPT, 2), false));
    node.say(996, event("IdentitiesStated", vec![1, 2, 3]));
    node.say(996, event("IdentitiesAttached", key(ATTEMPT, 3).encode()));
    node.say(997, of_identities(&package, true));
    // Of a root's ceremony with the same numbers.
    node.say(993, began("PhaseBegan", Phase::Commit));
    node.say(998, attached(&key(ATTEMPT, 5)));
    let (of_root, of_keys, nothing) = (root(), Attachments::of(Ceremony::Identities), Brought::default());
    assert_eq!(due(&of_keys, &node, 1_000, &nothing).await, [key(ATTEMPT, 2), package.clone()]);
    assert_eq!(node.asked(), (990..=1_000).rev().collect::<Vec<_>>(), "back to its own beginning");
    assert_eq!(of_keys.keys(ATTEMPT).await, [(2, announced(ATTEMPT, 2))], "the holder's, not the dealer's");
    assert_eq!(due(&of_root, &node, 1_000, &nothing).await, [key(ATTEMPT, 5)]);
    assert_eq!(node.asked(), (993..=1_000).rev().collect::<Vec<_>>());
    assert!(of_root.keys((7, 7)).await.is_empty());
}
