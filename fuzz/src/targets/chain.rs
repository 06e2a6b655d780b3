//! The light client: finality, storage, ancestry, the anchor and checkpoints, on chains that Parity's crates made.
//!
//! Holds: whatever is accepted is a fact of the chain that made the samples, a refusal leaves the client as it was, and what is
//! accepted is accepted by Parity's own verdict (`phala_light_client::testing::oracle`).

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{Decode, DecodeAll, Encode};
use phala_light_client::{
    encode_proof,
    testing::{oracle, Header, TestChain},
    verify_ancestors, verify_anchor, verify_storage, verify_storage_value, Checkpoint, FinalityError, FinalityProof,
    GenesisAnchor, LightClient,
};
use std::sync::LazyLock;

const ENTROPY: [u8; 32] = [42; 32];
/// Keys of the chains' state, and two that it has not.
const KEYS: [&[u8]; 8] = [b"a", b"abc", b"abd", b"b", b"long", b"nothing", b"ab", b""];

/// A chain with what its light client knows at genesis and at its end.
struct World {
    chain: TestChain,
    genesis: LightClient,
    head: LightClient,
    proofs: Vec<FinalityProof>,
}

impl World {
    /// Two hand-overs, a little state, and proofs of one, two and three fragments, one with votes for different blocks.
    fn new(seed: u64, authorities: usize) -> Self {
        let values = [(&b"a"[..], 40), (b"abc", 3), (b"abd", 33), (b"b", 0), (b"long", 200)];
        let storage = values.map(|(key, length)| (key.to_vec(), vec![7; length]));
        let mut chain = TestChain::new(seed, authorities, storage);
        chain.build_blocks(2);
        chain.build_set_change(authorities);
        chain.build_block([(b"abc".to_vec(), Some(vec![8; 50])), (b"b".to_vec(), None)]);
        chain.build_set_change(authorities + 1);
        chain.build_blocks(2);
        let mut proofs = vec![chain.proof(0, 1), chain.proof(0, 2), chain.proof(0, 3), chain.proof(0, chain.best())];
        let (one, two) = (chain.header(1).clone(), chain.header(2).clone());
        let votes: Vec<_> =
            (0..authorities).map(|index| chain.vote(index, if index == 0 { &one } else { &two })).collect();
        let mut linked = chain.proof(0, 1);
        linked.fragments[0].justification = chain.justification_of(&one, &votes, 0, vec![two]).encode();
        proofs.push(linked);
        let genesis = verify_anchor(&chain.genesis_hash(), &chain.anchor()).unwrap();
        let mut head = genesis.clone();
        head.advance(&proofs[3].encode(), &ENTROPY).unwrap();
        Self { chain, genesis, head, proofs }
    }
}

thread_local! {
    // A chain shares its blocks by reference counting: one a thread.
    static WORLDS: [World; 2] = [World::new(71, 1), World::new(72, 4)];
}

/// The world that the first byte names, and the other bytes.
fn with_world<T>(bytes: &[u8], work: impl FnOnce(&World, &[u8]) -> T) -> T {
    let (which, rest) = bytes.split_first().unwrap_or((&0, &[]));
    WORLDS.with(|worlds| work(&worlds[usize::from(*which) % worlds.len()], rest))
}

/// A sample of each world, with the byte that names it.
fn of_each(make: impl Fn(&World) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    WORLDS.with(|worlds| {
        let samples = worlds.iter().enumerate().flat_map(|(index, world)| {
            make(world).into_iter().map(move |sample| [&[index as u8], &sample[..]].concat())
        });
        samples.collect()
    })
}

/// Moves a client along.
pub static FINALITY: Target = Target {
    name: "finality",
    covers: &[],
    samples: LazyLock::new(|| of_each(|world| world.proofs.iter().map(Encode::encode).collect())),
    check: |bytes| with_world(bytes, finality),
    iterations: 800,
};

fn finality(world: &World, bytes: &[u8]) -> Verdict {
    let mut client = world.genesis.clone();
    let (result, peak) = measured(|| client.advance(bytes, &ENTROPY));
    assert_bounded(peak, bytes.len(), 80);
    match result {
        Ok(advance) => {
            let number = client.head().number();
            assert!(number > 0 && advance.head == *client.head());
            assert_eq!(*client.head().hash(), world.chain.header(number).hash().0, "a head that the chain never had");
            assert_eq!(client.authorities().id(), advance.set_changes);
            let proof = FinalityProof::decode_bounded(bytes).unwrap();
            for (set, fragment) in proof.fragments.iter().enumerate() {
                let header = Header::decode_all(&mut &fragment.header[..]).unwrap();
                let authorities = world.chain.authorities(set as u64);
                let theirs =
                    oracle::accepts_justification(&fragment.justification, &header, set as u64, &authorities, true);
                assert!(theirs, "accepted what a node refuses");
            }
            Verdict::accepted(proof.fragments.len())
        }
        Err(error) => {
            assert_eq!(client, world.genesis, "a refused proof left a trace");
            if let FinalityError::Justification { number, set_id, reason } = error {
                let proof = FinalityProof::decode_bounded(bytes).unwrap();
                let headers = proof.fragments.iter().filter_map(|fragment| {
                    let header = Header::decode_all(&mut &fragment.header[..]).ok()?;
                    (header.number == number).then_some((header, fragment))
                });
                if let Some((header, fragment)) = headers.into_iter().next() {
                    let authorities = world.chain.authorities(set_id);
                    let theirs =
                        oracle::accepts_justification(&fragment.justification, &header, set_id, &authorities, true);
                    assert!(!theirs, "refused what a node accepts: {reason}");
                }
                return Verdict::refused(reason).of("justification");
            }
            Verdict::refused(error)
        }
    }
}

/// Values out of storage proofs.
pub static STORAGE: Target = Target {
    name: "storage",
    covers: &[
        "common/light-client/src/storage.rs::verify_storage",
        "common/light-client/src/storage.rs::verify_storage_value",
    ],
    samples: LazyLock::new(|| {
        of_each(|world| {
            let best = world.chain.best();
            let sets: [&[&[u8]]; 4] = [&KEYS, &[b"a"], &[b"nothing"], &[b"abc", b"long"]];
            sets.iter().map(|keys| encode_proof(&world.chain.read_proof(best, keys))).collect()
        })
    }),
    check: |bytes| with_world(bytes, storage),
    iterations: 3_000,
};

fn storage(world: &World, bytes: &[u8]) -> Verdict {
    let head = world.head.head();
    let (verified, peak) = measured(|| verify_storage(head, bytes).map(|_| ()));
    assert_bounded(peak, bytes.len(), 400);
    let nodes = Vec::<Vec<u8>>::decode_all(&mut &bytes[..]);
    let mut known = 0_u32;
    for key in KEYS {
        match verify_storage_value(head, bytes, key) {
            Ok(value) => {
                assert!(verified.is_ok());
                assert_eq!(value.as_ref(), world.chain.value(head.number(), key), "the host chose an answer");
                let theirs = oracle::read_proof(head.state_root(), nodes.as_ref().unwrap(), key);
                assert_eq!(theirs, Ok(value), "a node reads something else");
                known += 1;
            }
            Err(error) => assert!(verified.is_ok() || verified == Err(error)),
        }
    }
    if let Ok(storage) = verify_storage(head, bytes) {
        for (key, value) in storage.shown_under(b"") {
            let stored = world.chain.value(head.number(), &key).map(Vec::as_slice);
            assert_eq!(stored, Some(value), "the host chose an entry");
        }
    }
    match verified {
        Ok(()) => Verdict::accepted("x".repeat(known as usize)),
        Err(error) => Verdict::refused(error),
    }
}

/// The walk from a head to an ancestor.
pub static ANCESTORS: Target = Target {
    name: "ancestors",
    covers: &["common/light-client/src/header.rs::verify_ancestors"],
    samples: LazyLock::new(|| {
        of_each(|world| {
            let best = world.chain.best();
            (0..best).map(|to| world.chain.ancestry(best, to).encode()).collect()
        })
    }),
    check: |bytes| {
        with_world(bytes, |world, bytes| {
            let Ok(headers) = Vec::<Vec<u8>>::decode(&mut &bytes[..]) else { return Verdict::refused("no list") };
            let head = world.head.head();
            match verify_ancestors(head, &headers) {
                Ok(ancestor) => {
                    assert_eq!(ancestor.number() as usize + headers.len(), head.number() as usize);
                    assert_eq!(*ancestor.hash(), world.chain.header(ancestor.number()).hash().0);
                    assert_eq!(
                        ancestor.state_root(),
                        world.chain.header(ancestor.number()).state_root.as_fixed_bytes()
                    );
                    Verdict::accepted("x".repeat(headers.len()))
                }
                Err(error) => Verdict::refused(error),
            }
        })
    },
    iterations: 2_000,
};

/// What pins a chain.
pub static ANCHORS: Target = Target {
    name: "anchors",
    covers: &["common/light-client/src/anchor.rs::verify_anchor"],
    samples: LazyLock::new(|| of_each(|world| vec![world.chain.anchor().encode()])),
    check: |bytes| {
        with_world(bytes, |world, bytes| {
            let Ok(anchor) = GenesisAnchor::decode_all(&mut &bytes[..]) else { return Verdict::refused("no anchor") };
            match verify_anchor(&world.chain.genesis_hash(), &anchor) {
                Ok(client) => {
                    assert_eq!(client, world.genesis, "another beginning of the same chain");
                    Verdict::accepted("")
                }
                Err(error) => Verdict::refused(error),
            }
        })
    },
    iterations: 1_500,
};

/// What a client keeps of itself. Trusted, so the verdict is about shape and chain only.
pub static CHECKPOINTS: Target = Target {
    name: "checkpoints",
    covers: &["common/light-client/src/client.rs::decode_exact", "common/light-client/src/client.rs::restore"],
    samples: LazyLock::new(|| {
        of_each(|world| vec![world.genesis.checkpoint().encode(), world.head.checkpoint().encode()])
    }),
    check: |bytes| {
        with_world(bytes, |world, bytes| {
            let (checkpoint, peak) = measured(|| Checkpoint::decode_exact(bytes));
            assert_bounded(peak, bytes.len(), 8);
            let checkpoint = match checkpoint {
                Ok(checkpoint) => checkpoint,
                Err(error) => return Verdict::refused(error),
            };
            assert_eq!(checkpoint.encode(), bytes);
            match LightClient::restore(&world.chain.genesis_hash(), &checkpoint) {
                Ok(client) => {
                    assert_eq!(client.checkpoint(), checkpoint);
                    assert!(!client.authorities().keys().is_empty());
                    Verdict::accepted("")
                }
                Err(error) => Verdict::refused(error),
            }
        })
    },
    iterations: 3_000,
};
