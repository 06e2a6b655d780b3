//! Bytes that nobody meant: cut, flipped, inflated, random. Each is refused or means what the honest bytes mean; none
//! panics.

use crate::{client, ENTROPY};
use codec::{Compact, Decode, Encode};
use phala_light_client::{
    encode_proof,
    testing::{TestChain, TestRandom},
    verify_ancestors, verify_anchor, verify_storage_value, Checkpoint, FinalityProof, GenesisAnchor, LightClient,
};

/// A chain with one authority, one hand-over and a little state: small proofs that have every part.
fn small_chain() -> (TestChain, LightClient, Vec<u8>) {
    let storage = [(b"a".to_vec(), vec![1; 40]), (b"abc".to_vec(), vec![2; 3]), (b"b".to_vec(), vec![])];
    let mut chain = TestChain::new(71, 1, storage);
    chain.build_set_change(1);
    chain.build_blocks(2);
    let proof = chain.proof(0, 2);
    let bytes = proof.encode();
    let mut advanced = client(&chain);
    advanced.advance(&bytes, &ENTROPY).unwrap();
    (chain, advanced, bytes)
}

/// A proof in which a vote is linked by a header.
fn linked_proof() -> (TestChain, LightClient, Vec<u8>) {
    let mut chain = TestChain::new(72, 2, []);
    chain.build_blocks(2);
    let (one, two) = (chain.header(1).clone(), chain.header(2).clone());
    let votes = vec![chain.vote(0, &one), chain.vote(1, &two)];
    let mut proof = chain.proof(0, 1);
    proof.fragments[0].justification = chain.justification_of(&one, &votes, 0, vec![two]).encode();
    let bytes = proof.encode();
    let mut advanced = client(&chain);
    advanced.advance(&bytes, &ENTROPY).unwrap();
    (chain, advanced, bytes)
}

#[test]
fn refuses_finality_proof_cut_anywhere() {
    for (chain, _, bytes) in [small_chain(), linked_proof()] {
        for end in 0..bytes.len() {
            let mut client = client(&chain);
            assert!(client.advance(&bytes[..end], &ENTROPY).is_err(), "cut at {end}");
            assert_eq!(client.head().number(), 0);
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(client(&chain).advance(&longer, &ENTROPY).is_err());
    }
}

#[test]
fn refuses_parts_cut_anywhere() {
    // Cut inside the headers and justifications too, with the lengths around them right.
    for (chain, _, bytes) in [small_chain(), linked_proof()] {
        let honest = FinalityProof::decode(&mut &bytes[..]).unwrap();
        for (index, fragment) in honest.fragments.iter().enumerate() {
            for end in 0..fragment.header.len() {
                let mut proof = honest.clone();
                proof.fragments[index].header.truncate(end);
                assert!(client(&chain).advance(&proof.encode(), &ENTROPY).is_err());
            }
            for end in 0..fragment.justification.len() {
                let mut proof = honest.clone();
                proof.fragments[index].justification.truncate(end);
                assert!(client(&chain).advance(&proof.encode(), &ENTROPY).is_err());
            }
            for part in 0..2 {
                let mut proof = honest.clone();
                let fragment = &mut proof.fragments[index];
                [&mut fragment.header, &mut fragment.justification][part].push(0);
                assert!(client(&chain).advance(&proof.encode(), &ENTROPY).is_err());
            }
        }
    }
}

#[test]
fn refuses_finality_proof_with_any_bit_flipped_or_means_the_same() {
    for (chain, advanced, bytes) in [small_chain(), linked_proof()] {
        let mut same = 0;
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let mut client = client(&chain);
                if client.advance(&flipped, &ENTROPY).is_ok() {
                    assert_eq!(client, advanced, "bit {bit} of byte {position}");
                    same += 1;
                } else {
                    assert_eq!(client.head().number(), 0);
                }
            }
        }
        // Only the flag that tells whether there is more says nothing about the chain.
        assert_eq!(same, 1);
    }
}

#[test]
fn refuses_storage_proof_cut_anywhere_and_flips_never_lie() {
    let (chain, advanced, _) = small_chain();
    let keys: [&[u8]; 4] = [b"a", b"abc", b"b", b"nothing"];
    let bytes = encode_proof(&chain.read_proof(2, &keys));
    let head = advanced.head();
    for key in keys {
        assert_eq!(verify_storage_value(head, &bytes, key).unwrap().as_ref(), chain.value(2, key));
        for end in 0..bytes.len() {
            assert!(verify_storage_value(head, &bytes[..end], key).is_err());
        }
    }
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            for key in keys {
                if let Ok(value) = verify_storage_value(head, &flipped, key) {
                    assert_eq!(value.as_ref(), chain.value(2, key));
                }
            }
        }
    }
}

#[test]
fn refuses_anchor_with_any_bit_flipped() {
    let (chain, ..) = small_chain();
    let pinned = chain.genesis_hash();
    let honest = chain.anchor();
    let bytes = honest.encode();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            if let Ok(anchor) = GenesisAnchor::decode(&mut &flipped[..]) {
                assert!(verify_anchor(&pinned, &anchor).is_err(), "bit {bit} of byte {position}");
            }
        }
    }
}

#[test]
fn refuses_counts_that_promise_more_than_there_is() {
    let (chain, _, bytes) = small_chain();
    let honest = FinalityProof::decode(&mut &bytes[..]).unwrap();
    let refused = |proof: &[u8]| assert!(client(&chain).advance(proof, &ENTROPY).is_err());
    for count in [1_u64 << 14, 1 << 29, 1 << 31, u64::from(u32::MAX), u64::MAX] {
        let count = Compact(count).encode();
        // Fragments; bytes of a header; votes; linking headers; digest items.
        refused(&[&count[..], &bytes[1..]].concat());
        refused(&[&bytes[..1], &count, &bytes[2..]].concat());
        let fragment = &honest.fragments[0];
        let votes_at = 8 + 32 + 4;
        let mut proof = honest.clone();
        proof.fragments[0].justification =
            [&fragment.justification[..votes_at], &count, &fragment.justification[votes_at + 1..]].concat();
        refused(&proof.encode());
        let end = fragment.justification.len() - 1;
        proof.fragments[0].justification = [&fragment.justification[..end], &count].concat();
        refused(&proof.encode());
        let digest_at = 32 + 1 + 32 + 32;
        proof.fragments[0].header = [&fragment.header[..digest_at], &count, &fragment.header[digest_at + 1..]].concat();
        refused(&proof.encode());
        // Authorities of a change inside a digest: the log's first byte, then the count.
        let header = &fragment.header;
        let log_at = header.windows(4).position(|window| window == b"FRNK").unwrap() + 4 + 2;
        proof.fragments[0].header = [&header[..=log_at], &count, &header[log_at + 2..]].concat();
        refused(&proof.encode());
    }
}

#[test]
fn survives_random_bytes_and_splices() {
    let (chain, advanced, bytes) = small_chain();
    let storage = encode_proof(&chain.read_proof(2, &[b"a", b"abc"]));
    let headers = chain.ancestry(2, 0);
    let mut random = TestRandom::new(73);
    for _ in 0..3000 {
        let noise: Vec<u8> = (0..1 + random.below(4)).flat_map(|_| random.bytes()).collect();
        let splice = |random: &mut TestRandom, honest: &[u8]| {
            let (from, length) = (random.below(honest.len()), random.below(noise.len()));
            let until = (from + random.below(40)).min(honest.len());
            [&honest[..from], &noise[..length], &honest[until..]].concat()
        };
        let mut light = client(&chain);
        if light.advance(&splice(&mut random, &bytes), &ENTROPY).is_ok() {
            assert_eq!(light, advanced);
        }
        assert!(light.advance(&noise, &ENTROPY).is_err());
        let spliced = splice(&mut random, &storage);
        if let Ok(value) = verify_storage_value(advanced.head(), &spliced, b"a") {
            assert_eq!(value.as_ref(), chain.value(2, b"a"));
        }
        assert!(verify_storage_value(advanced.head(), &noise, b"a").is_err());
        let spliced = [splice(&mut random, &headers[0]), headers[1].clone()];
        if let Ok(genesis) = verify_ancestors(advanced.head(), &spliced) {
            assert_eq!(*genesis.hash(), chain.genesis_hash());
        }
        if let Ok(anchor) = GenesisAnchor::decode(&mut &noise[..]) {
            assert!(verify_anchor(&chain.genesis_hash(), &anchor).is_err());
        }
        if let Ok(checkpoint) = Checkpoint::decode_exact(&noise) {
            assert!(LightClient::restore(&chain.genesis_hash(), &checkpoint).is_err());
        }
    }
}
