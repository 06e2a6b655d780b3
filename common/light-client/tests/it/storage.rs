//! Storage proofs: the value, a proven absence, or an error.

use crate::{advance, client, ENTROPY};
use codec::{Compact, Encode};
use phala_light_client::{
    encode_proof,
    limits::MAX_PROOF_NODES,
    testing::{oracle, TestChain, TestRandom},
    verify_storage, verify_storage_value, FinalityFragment, FinalityProof, ProofError, VerifiedHeader,
};
use phala_protocol::{hash::blake2_256, limits::MAX_STORAGE_PROOF_BYTES, Hash};
use sp_core::H256;

/// Random keys with values around every boundary of the layout.
fn state(seed: u64, entries: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = TestRandom::new(seed);
    let sizes = [0, 1, 30, 31, 32, 33, 34, 64, 1000];
    (0..entries)
        .map(|index| {
            let key = random.bytes()[..8 + random.below(24)].to_vec();
            let value = random.bytes().iter().copied().cycle().take(sizes[index % sizes.len()]).collect();
            (key, value)
        })
        .collect()
}

/// A chain with that state and the verified header of its block 1.
fn chain_with(storage: Vec<(Vec<u8>, Vec<u8>)>) -> (TestChain, VerifiedHeader) {
    let mut chain = TestChain::new(51, 1, storage);
    chain.build_block([]);
    let mut client = client(&chain);
    let proof = chain.proof(0, 1);
    let head = advance(&mut client, &proof).unwrap().head;
    (chain, head)
}

/// A header that the chain's authorities finalised over any state root whatever.
fn header_over(root: Hash) -> VerifiedHeader {
    let mut chain = TestChain::new(52, 1, []);
    let mut header = chain.fork(0, 1);
    header.state_root = H256(root);
    let votes = vec![chain.vote(0, &header)];
    let justification = chain.justification_of(&header, &votes, 0, vec![]);
    let fragment = FinalityFragment { header: header.encode(), justification: justification.encode() };
    let proof = FinalityProof { fragments: vec![fragment], complete: true };
    client(&chain).advance(&proof.encode(), &ENTROPY).unwrap().head
}

#[test]
fn reads_every_value_alone_and_all_together() {
    let storage = state(1, 90);
    let (chain, head) = chain_with(storage.clone());
    for (key, value) in &storage {
        let proof = encode_proof(&chain.read_proof(1, &[key]));
        assert_eq!(verify_storage_value(&head, &proof, key).unwrap().as_ref(), Some(value));
    }
    let keys: Vec<&[u8]> = storage.iter().map(|(key, _)| &key[..]).collect();
    let proof = encode_proof(&chain.read_proof(1, &keys));
    let verified = verify_storage(&head, &proof).unwrap();
    for (key, value) in &storage {
        assert_eq!(verified.get(key).unwrap(), Some(&value[..]));
    }
}

#[test]
fn shows_under_a_prefix_what_the_proof_holds_of_it_and_nothing_of_another_state() {
    let sizes = [0, 1, 31, 32, 33, 64, 1000];
    let entry = |prefix: &[u8], index: u8| {
        ([prefix, &[index; 20]].concat(), vec![index; sizes[usize::from(index) % sizes.len()]])
    };
    let mut storage = state(3, 40);
    let under: Vec<_> = (0..30).map(|index| entry(b"prefix/", index)).collect();
    storage.extend(under.clone());
    storage.extend((0..5).map(|index| entry(b"prefix", index)));
    let (chain, head) = chain_with(storage.clone());
    let shown = |keys: &[&[u8]]| {
        let proof = encode_proof(&chain.read_proof(1, keys));
        let verified = verify_storage(&head, &proof).unwrap();
        let shown = verified.shown_under(b"prefix/");
        shown.into_iter().map(|(key, value)| (key, value.to_vec())).collect::<Vec<_>>()
    };
    let keys: Vec<&[u8]> = storage.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(shown(&keys), under, "all, in the order of their keys");
    let some: Vec<&[u8]> = under.iter().step_by(7).map(|(key, _)| &key[..]).collect();
    let part = shown(&some);
    assert!(part.len() < under.len() && part.iter().all(|found| under.contains(found)));
    assert!(under.iter().step_by(7).all(|wanted| part.contains(wanted)));
    assert!(shown(&[&b"other"[..]]).is_empty(), "a proof of something else");
}

#[test]
fn proves_absence() {
    let storage = state(2, 90);
    let (chain, head) = chain_with(storage.clone());
    let mut absent: Vec<Vec<u8>> = storage.iter().map(|(key, _)| key[..key.len() - 1].to_vec()).collect();
    absent.extend(storage.iter().map(|(key, _)| [&key[..], &[0]].concat()));
    absent.push(vec![]);
    absent.push(vec![0xff; 40]);
    for key in &absent {
        assert_eq!(chain.value(1, key), None);
        let proof = encode_proof(&chain.read_proof(1, &[key]));
        assert_eq!(verify_storage_value(&head, &proof, key), Ok(None));
    }
}

#[test]
fn reads_below_and_above_a_hashed_value() {
    let storage = vec![
        (b"ab".to_vec(), vec![1; 100]),
        (b"abcd".to_vec(), vec![2; 100]),
        (b"abce".to_vec(), vec![3; 5]),
        (b"b".to_vec(), vec![4; 33]),
    ];
    let (chain, head) = chain_with(storage.clone());
    for (key, value) in &storage {
        let proof = encode_proof(&chain.read_proof(1, &[key]));
        assert_eq!(verify_storage_value(&head, &proof, key).unwrap().as_ref(), Some(value));
    }
    let proof = encode_proof(&chain.read_proof(1, &[b"abc"]));
    assert_eq!(verify_storage_value(&head, &proof, b"abc"), Ok(None));
    let proof = encode_proof(&chain.read_proof(1, &[b"abcde"]));
    assert_eq!(verify_storage_value(&head, &proof, b"abcde"), Ok(None));
}

#[test]
fn reads_equal_values_that_share_a_node() {
    let storage: Vec<_> = (0..20_u8).map(|byte| (vec![byte; 12], vec![9; 80])).collect();
    let (chain, head) = chain_with(storage.clone());
    let keys: Vec<&[u8]> = storage.iter().map(|(key, _)| &key[..]).collect();
    let proof = encode_proof(&chain.read_proof(1, &keys));
    let verified = verify_storage(&head, &proof).unwrap();
    assert!(storage.iter().all(|(key, value)| verified.get(key) == Ok(Some(&value[..]))));
}

#[test]
fn reads_equal_subtries_that_share_nodes() {
    // Under each of eight prefixes the same keys with the same values: the nodes below the prefixes are the same.
    let storage: Vec<_> = (0..8_u8)
        .flat_map(|prefix| (0..16_u8).map(move |byte| (vec![prefix, byte, byte, 7], vec![byte; 200])))
        .collect();
    let (chain, head) = chain_with(storage.clone());
    let keys: Vec<&[u8]> = storage.iter().map(|(key, _)| &key[..]).collect();
    let proof = encode_proof(&chain.read_proof(1, &keys));
    let verified = verify_storage(&head, &proof).unwrap();
    assert!(storage.iter().all(|(key, value)| verified.get(key) == Ok(Some(&value[..]))));
}

#[test]
fn follows_writes_and_removals() {
    let mut chain = TestChain::new(53, 1, state(3, 40));
    chain.build_block([(b"inbox".to_vec(), Some(vec![1; 50]))]);
    chain.build_block([(b"inbox".to_vec(), None)]);
    let mut client = client(&chain);
    for (number, expected) in [(1, Some(vec![1; 50])), (2, None)] {
        let proof = chain.proof(number - 1, number);
        let head = advance(&mut client, &proof).unwrap().head;
        let proof = encode_proof(&chain.read_proof(number, &[b"inbox"]));
        assert_eq!(verify_storage_value(&head, &proof, b"inbox"), Ok(expected));
    }
}

#[test]
fn refuses_proof_of_another_state() {
    let storage = state(4, 40);
    let (chain, _) = chain_with(storage.clone());
    let (_, other) = chain_with(state(5, 40));
    let proof = encode_proof(&chain.read_proof(1, &[&storage[0].0]));
    assert_eq!(verify_storage_value(&other, &proof, &storage[0].0), Err(ProofError::WrongRoot));
}

#[test]
fn refuses_proof_of_another_key() {
    let storage = state(6, 200);
    let (chain, head) = chain_with(storage.clone());
    let proof = encode_proof(&chain.read_proof(1, &[&storage[0].0]));
    let verified = verify_storage(&head, &proof).unwrap();
    let mut not_covered = 0;
    for (key, value) in &storage[1..] {
        // Small leaves stand inside the branches on the way, so a proof may honestly show a neighbour.
        match verified.get(key) {
            Ok(shown) => assert_eq!(shown, Some(&value[..])),
            Err(error) => {
                assert_eq!(error, ProofError::NotCovered);
                not_covered += 1;
            }
        }
    }
    assert!(not_covered > 150, "{not_covered} of 199 keys were not covered");
}

#[test]
fn never_takes_a_withheld_node_for_absence() {
    let storage = state(7, 120);
    let (chain, head) = chain_with(storage.clone());
    for (key, _) in &storage {
        let nodes = chain.read_proof(1, &[key]);
        for withheld in 0..nodes.len() {
            let mut nodes = nodes.clone();
            nodes.remove(withheld);
            assert!(verify_storage_value(&head, &encode_proof(&nodes), key).is_err());
        }
    }
}

#[test]
fn refuses_tampered_values() {
    let storage = state(8, 60);
    let (chain, head) = chain_with(storage.clone());
    for (key, value) in storage.iter().filter(|(_, value)| value.len() >= 30) {
        let mut nodes = chain.read_proof(1, &[key]);
        let node = nodes.iter_mut().find(|node| node.windows(value.len()).any(|window| window == &value[..])).unwrap();
        let start = node.windows(value.len()).position(|window| window == &value[..]).unwrap();
        node[start] ^= 1;
        assert!(verify_storage_value(&head, &encode_proof(&nodes), key).is_err());
    }
}

#[test]
fn refuses_strays_and_repeats() {
    let storage = state(9, 60);
    let (chain, head) = chain_with(storage.clone());
    let nodes = chain.read_proof(1, &[&storage[5].0]);
    let mut stray = nodes.clone();
    stray.push(vec![3; 70]);
    assert_eq!(verify_storage(&head, &encode_proof(&stray)).err(), Some(ProofError::UnusedNode));
    let mut other_trie = nodes.clone();
    other_trie.extend(chain_with(state(10, 60)).0.read_proof(1, &[b"x"]));
    assert_eq!(verify_storage(&head, &encode_proof(&other_trie)).err(), Some(ProofError::UnusedNode));
    let mut repeated = nodes.clone();
    repeated.push(nodes[0].clone());
    assert_eq!(verify_storage(&head, &encode_proof(&repeated)).err(), Some(ProofError::DuplicateNode));
}

#[test]
fn refuses_what_is_over_a_limit() {
    let (_, head) = chain_with(state(11, 10));
    let long = vec![0; MAX_STORAGE_PROOF_BYTES + 1];
    assert_eq!(verify_storage(&head, &long).err(), Some(ProofError::TooLong(long.len())));
    let many: Vec<Vec<u8>> = (0..=MAX_PROOF_NODES as u32).map(|number| number.encode()).collect();
    assert_eq!(verify_storage(&head, &encode_proof(&many)).err(), Some(ProofError::TooManyNodes(many.len())));
    for count in [1_u64, 1 << 20, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(verify_storage(&head, &Compact(count).encode()).err(), Some(ProofError::Malformed));
    }
    assert_eq!(verify_storage(&head, &[]).err(), Some(ProofError::Malformed));
    assert_eq!(verify_storage(&head, &encode_proof(&[])).err(), Some(ProofError::WrongRoot));
    assert_eq!(verify_storage(&head, &encode_proof(&[vec![]])).err(), Some(ProofError::WrongRoot));
}

#[test]
fn refuses_nodes_that_refer_to_one_another_exponentially() {
    // A leaf of more than 31 bytes, then branches each of whose 16 children is the node before it.
    let mut below = [&[0x40 | 1, 0x01][..], &Compact(40_u32).encode(), &[5; 40]].concat();
    let mut nodes = vec![below.clone()];
    for _ in 0..12 {
        let child = [&Compact(32_u32).encode()[..], &blake2_256(&below)].concat();
        below = [&[0x80, 0xff, 0xff][..], &child.repeat(16)].concat();
        nodes.push(below.clone());
    }
    let head = header_over(blake2_256(&below));
    assert_eq!(verify_storage(&head, &encode_proof(&nodes)).err(), Some(ProofError::TooEntangled));
    // Two levels of the same are 256 leaves, and readable: the bound is on the cost, not on sharing.
    let top = blake2_256(&nodes[2]);
    let proof = encode_proof(&nodes[..3]);
    let head = header_over(top);
    // Two nibbles choose the path, the leaf's partial key is the nibble 1: no whole number of bytes, so nothing is
    // there.
    assert_eq!(verify_storage_value(&head, &proof, &[0x00]), Ok(None));
}

#[test]
fn any_answer_is_the_truth_and_what_parity_reads() {
    let storage = state(12, 80);
    let (chain, head) = chain_with(storage.clone());
    let mut random = TestRandom::new(12);
    let (mut answers, mut refusals) = (0, 0);
    for _ in 0..600 {
        let key = &storage[random.below(storage.len())].0;
        let asked = &storage[random.below(storage.len())].0;
        let mut nodes = chain.read_proof(1, &[key]);
        match random.below(6) {
            0 => {}
            1 => {
                nodes.remove(random.below(nodes.len()));
            }
            2 => nodes.extend(chain.read_proof(1, &[asked])),
            3 => {
                let (node, bit) = (random.below(nodes.len()), random.below(8));
                let byte = random.below(nodes[node].len());
                nodes[node][byte] ^= 1 << bit;
            }
            4 => {
                let more = chain.read_proof(1, &[asked]);
                nodes.extend(more.into_iter().filter(|node| !nodes.contains(node)).collect::<Vec<_>>());
            }
            _ => {
                let (one, other) = (random.below(nodes.len()), random.below(nodes.len()));
                nodes.swap(one, other);
            }
        }
        for key in [key, asked] {
            match verify_storage_value(&head, &encode_proof(&nodes), key) {
                Ok(value) => {
                    answers += 1;
                    assert_eq!(value.as_ref(), chain.value(1, key));
                    assert_eq!(oracle::read_proof(head.state_root(), &nodes, key), Ok(value));
                }
                Err(_) => refusals += 1,
            }
        }
    }
    assert!(answers > 300 && refusals > 300, "{answers} answers, {refusals} refusals");
}
