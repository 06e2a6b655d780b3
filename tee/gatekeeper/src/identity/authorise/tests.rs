//! Only what the head shows to have left is authorised, by proofs of a real chain.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use codec::Encode;
use phala_light_client::{encode_proof, testing::TestChain, verify_anchor, verify_storage, VerifiedHeader};
use phala_protocol::{AccountId, ClusterId};

const CLUSTER: ClusterId = ClusterId(1);

struct World {
    chain: TestChain,
    client: LightClient,
}

fn world() -> World {
    let chain = TestChain::new(90, 3, []);
    let client = verify_anchor(&chain.genesis_hash(), &chain.anchor()).unwrap();
    World { chain, client }
}

fn message(payload: &[u8]) -> EgressItem {
    let action = EgressAction::Message { destination: b"there".to_vec(), payload: payload.to_vec() };
    EgressItem { cluster: CLUSTER, sequence: 7, contract: ContractId([3; 32]), action }
}

impl World {
    /// The next block has `value` at `key`, and is final.
    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let from = self.client.head().number();
        let number = self.chain.build_block([(key, value)]);
        let proof = self.chain.proof(from, number).encode();
        self.client.advance(&proof, &[1; 32]).unwrap();
    }

    fn take(&mut self, item: &EgressItem, outcome: EgressOutcome) {
        let fate = EgressFate { id: item.id(self.client.genesis()), block: 40, outcome };
        self.write(storage::egress_fate_key(item.cluster, item.sequence), Some(fate.encode()));
    }

    fn verdict(&self, item: &EgressItem) -> Result<Hash, NotAuthorised> {
        self.verdict_by(self.client.head(), &authorising_keys(item), item)
    }

    /// By a proof of the state of `header` that covers `keys`.
    fn verdict_by(&self, header: &VerifiedHeader, keys: &[Vec<u8>], item: &EgressItem) -> Result<Hash, NotAuthorised> {
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let proof = encode_proof(&self.chain.read_proof(header.number(), &keys));
        let proved = verify_storage(header, &proof).unwrap();
        verify_authorised(&self.client, &proved, item).map(|authorised| *authorised.item())
    }
}

#[test]
fn a_message_is_authorised_once_the_head_shows_that_it_has_left() {
    let (mut world, item) = (world(), message(b"hello"));
    assert_eq!(world.verdict(&item), Err(NotAuthorised::NotTaken));
    let before = world.client.head().clone();
    world.take(&item, EgressOutcome::Left);
    let id = item.id(world.client.genesis());
    assert_eq!(world.verdict(&item), Ok(id));
    // Another item under that sequence, in whatever it differs.
    for other in [message(b"hell0"), EgressItem { contract: ContractId([4; 32]), ..message(b"hello") }] {
        assert_eq!(world.verdict(&other), Err(NotAuthorised::OtherItem));
    }
    for elsewhere in [EgressItem { sequence: 8, ..item.clone() }, EgressItem { cluster: ClusterId(2), ..item.clone() }]
    {
        assert_eq!(world.verdict(&elsewhere), Err(NotAuthorised::NotTaken));
    }
    // A proof of another block's state than the head's, even one that shows the same.
    let shown = world.client.head().clone();
    world.write(b"else".to_vec(), Some(vec![1]));
    for header in [before, shown] {
        assert_eq!(world.verdict_by(&header, &authorising_keys(&item), &item), Err(NotAuthorised::OtherState));
    }
    assert_eq!(world.verdict(&item), Ok(id));
}

#[test]
fn what_is_signed_is_of_the_authorised_item_and_of_its_contract() {
    let (mut world, item) = (world(), message(b"hello"));
    world.take(&item, EgressOutcome::Left);
    let keys = authorising_keys(&item);
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let proof = encode_proof(&world.chain.read_proof(world.client.head().number(), &keys));
    let proved = verify_storage(world.client.head(), &proof).unwrap();
    let authorised = verify_authorised(&world.client, &proved, &item).unwrap();
    let (genesis, id) = (world.chain.genesis_hash(), item.id(&world.chain.genesis_hash()));
    assert_eq!((authorised.genesis(), authorised.item()), (&genesis, &id));
    assert_eq!((*authorised.contract(), authorised.left_in()), (item.contract, 40));
    for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
        assert_eq!(authorised.payload(scheme), EgressSignature::payload(&genesis, scheme, &id));
    }
}

#[test]
fn what_failed_and_what_was_paid_is_not_signed() {
    let (mut world, item) = (world(), message(b"hello"));
    for failure in [EgressFailure::NotOfCluster, EgressFailure::Voided] {
        world.take(&item, EgressOutcome::Failed(failure));
        assert_eq!(world.verdict(&item), Err(NotAuthorised::Failed(failure)));
    }
    world.take(&item, EgressOutcome::Paid);
    assert_eq!(world.verdict(&item), Err(NotAuthorised::NoMessage));
    // A transfer, whatever the chain says of it.
    let action = EgressAction::Transfer { to: AccountId([1; 32]), amount: 1 };
    let transfer = EgressItem { action, ..message(b"") };
    for outcome in [EgressOutcome::Paid, EgressOutcome::Left] {
        world.take(&transfer, outcome);
        assert_eq!(world.verdict(&transfer), Err(NotAuthorised::NoMessage));
    }
}

#[test]
fn nothing_is_signed_of_a_disputed_cluster_nor_ever_what_governance_found_against() {
    let (mut world, item) = (world(), message(b"hello"));
    world.take(&item, EgressOutcome::Left);
    let id = item.id(world.client.genesis());
    let disputed = storage::disputed_key(CLUSTER);
    world.write(disputed.clone(), Some(50u32.encode()));
    assert_eq!(world.verdict(&item), Err(NotAuthorised::Disputed));
    // A proof that leaves the dispute out shows nothing.
    let [fate, _, voided] = authorising_keys(&item);
    let partial = world.verdict_by(world.client.head(), &[fate, voided.clone()], &item);
    assert_eq!(partial, Err(NotAuthorised::Proof(ProofError::NotCovered)));
    // Another cluster's dispute is its own.
    world.write(disputed, None);
    world.write(storage::disputed_key(ClusterId(2)), Some(50u32.encode()));
    assert_eq!(world.verdict(&item), Ok(id));
    for (until, verdict) in [(39u32, Ok(id)), (40, Err(NotAuthorised::Voided)), (60, Err(NotAuthorised::Voided))] {
        world.write(voided.clone(), Some(until.encode()));
        assert_eq!(world.verdict(&item), verdict, "{until}");
    }
}

#[test]
fn records_that_are_not_understood_authorise_nothing() {
    let (mut world, item) = (world(), message(b"hello"));
    world.take(&item, EgressOutcome::Left);
    for (key, sound) in authorising_keys(&item).into_iter().zip([true, false, false]) {
        let fate = world.chain.value(world.client.head().number(), &key).cloned();
        assert_eq!(fate.is_some(), sound);
        world.write(key.clone(), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(world.verdict(&item), Err(NotAuthorised::Record));
        world.write(key, fate);
    }
    assert!(world.verdict(&item).is_ok());
}
