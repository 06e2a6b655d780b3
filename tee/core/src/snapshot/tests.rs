//! Parts of a snapshot: sealed, opened, altered, and against their vector.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::*;
use crate::{codes::record_key, fixture::insecure_store};
use phala_protocol::{hash::blake2_256, result::Boundary, ClusterId, CodeHash, ContractId, Hash};
use phala_state::{ClusterStore, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde_json::Value;

const KEPT: (u64, u64) = (3, 9);
const EGRESS: (u64, u64) = (0, 5);

fn header(salt: u8) -> SnapshotHeader {
    let boundary = Boundary { block: 7, count: 8, link: [9; 32] };
    SnapshotHeader { cluster: ClusterId(3), era: 1, epoch: 2, boundary, salt: [salt; 32] }
}

fn storage(byte: u8) -> Secret<[u8; 32]> {
    Secret::new([byte; 32])
}

/// Bytes that repeat in no part.
fn bytes(seed: u32, length: usize) -> Vec<u8> {
    (0..)
        .flat_map(|number: u32| blake2_256(&[seed.to_le_bytes(), number.to_le_bytes()].concat()))
        .take(length)
        .collect()
}

/// Entries of all sizes, two of them longer than a part, and records, of which one is a code.
fn filled() -> (ClusterStore, tempfile::TempDir) {
    let (store, folder) = insecure_store();
    let mut batch = store.begin();
    for number in 0..700u32 {
        let contract = ContractId([(number % 5) as u8; 32]);
        batch.set(&contract, &number.to_le_bytes(), bytes(number, (number % 300) as usize)).unwrap();
    }
    batch.set(&ContractId([1; 32]), b"long", bytes(1_000, 2 * SNAPSHOT_PART_BYTES + 77)).unwrap();
    batch.set(&ContractId([2; 32]), &[7; MAX_KEY_BYTES], bytes(1_001, SNAPSHOT_PART_BYTES)).unwrap();
    let code = bytes(1_002, 90_000);
    let mut records = vec![(record_key(&CodeHash::of(&code)), Some(code))];
    records.extend((0..400u32).map(|number| (number.to_be_bytes().to_vec(), Some(bytes(number, 200)))));
    store.commit(batch, b"the cursor of the one who sends it".to_vec(), records).unwrap();
    (store, folder)
}

fn source(store: &ClusterStore, salt: u8) -> SnapshotSource {
    SnapshotSource::new(header(salt), &storage(1), Outflow::new(store.view(), KEPT, EGRESS), 100)
}

fn all_parts(source: &SnapshotSource, id: &Hash) -> Vec<SnapshotPart> {
    let mut parts = Vec::new();
    while parts.last().is_none_or(|part: &SnapshotPart| !part.last) {
        parts.push(source.part(id, parts.len() as u32).unwrap());
    }
    parts
}

#[test]
fn a_state_of_several_parts_arrives_as_it_was() {
    let (store, _folder) = filled();
    let id = header(4).id();
    let parts = all_parts(&source(&store, 4), &id);
    assert!(parts.len() >= 4, "{}", parts.len());
    let one_length = SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES;
    assert!(parts.iter().all(|part| part.sealed.len() == one_length && part.header == header(4)));

    let (fresh, _beside) = insecure_store();
    let mut inflow = Inflow::new(fresh);
    let key = part_key(&storage(1), &header(4));
    for part in &parts {
        assert!(inflow.whole().is_none());
        inflow.decode_next(&open_part(&key, part).unwrap()).unwrap();
    }
    assert_eq!(inflow.root(), store.view().root());
    let preamble = inflow.whole().unwrap();
    assert_eq!((preamble.kept, preamble.egress), (KEPT, EGRESS));
    let taken = inflow.store.view();
    assert_eq!(taken.entries(None, usize::MAX).unwrap(), store.view().entries(None, usize::MAX).unwrap());
    assert_eq!(taken.records().unwrap(), store.view().records().unwrap());
    assert_eq!(taken.meta(), Some(&b""[..]), "no cursor before the end, and never the sender's");
}

#[test]
fn an_empty_state_is_one_part() {
    let (store, _folder) = insecure_store();
    let parts = all_parts(&source(&store, 4), &header(4).id());
    assert_eq!(parts.len(), 1);
    let (fresh, _beside) = insecure_store();
    let mut inflow = Inflow::new(fresh);
    inflow.decode_next(&open_part(&part_key(&storage(1), &header(4)), &parts[0]).unwrap()).unwrap();
    assert!(inflow.whole().is_some());
}

#[test]
fn a_part_opens_at_its_place_in_its_snapshot_under_its_epochs_key_alone() {
    let (store, _folder) = filled();
    let parts = all_parts(&source(&store, 4), &header(4).id());
    let key = part_key(&storage(1), &header(4));
    let opens = |key: &SivKey, part: &SnapshotPart| match open_part(key, part) {
        Ok(_) => true,
        Err(SnapshotFault::Unauthentic(index)) => {
            assert_eq!(index, part.index);
            false
        }
        Err(other) => panic!("{other}"),
    };
    assert!(parts.iter().all(|part| opens(&key, part)));
    assert!(!opens(&part_key(&storage(2), &header(4)), &parts[0]), "another epoch's storage key");
    assert!(!opens(&part_key(&storage(1), &header(5)), &parts[0]), "another snapshot");
    let mut swapped = parts[0].clone();
    swapped.index = 1;
    assert!(!opens(&key, &swapped));
    let mut cut = parts[1].clone();
    cut.last = true;
    assert!(!opens(&key, &cut), "made the last one, so that those after it are missing");
    for changed in [
        SnapshotHeader { cluster: ClusterId(4), ..header(4) },
        SnapshotHeader { era: 2, ..header(4) },
        SnapshotHeader { epoch: 3, ..header(4) },
        SnapshotHeader { boundary: Boundary { block: 8, ..header(4).boundary }, ..header(4) },
    ] {
        let part = SnapshotPart { header: changed, ..parts[0].clone() };
        assert!(!opens(&key, &part) && !opens(&part_key(&storage(1), &changed), &part), "{changed:?}");
    }
    for place in [0, SNAPSHOT_PART_BYTES / 2, SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES - 1] {
        let mut flipped = parts[0].clone();
        flipped.sealed[place] ^= 1;
        assert!(!opens(&key, &flipped));
    }
    for length in [0, SNAPSHOT_TAG_BYTES, SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES - 1] {
        let mut short = parts[0].clone();
        short.sealed.truncate(length);
        assert!(!opens(&key, &short));
    }
}

#[test]
fn parts_are_made_in_order_and_the_last_one_made_is_given_again() {
    let (store, _folder) = filled();
    let (source, id) = (source(&store, 4), header(4).id());
    assert!(matches!(source.part(&header(5).id(), 0), Err(SnapshotRefusal::Unknown)));
    assert!(matches!(source.part(&id, 1), Err(SnapshotRefusal::NotYet { index: 1, next: 0 })));
    let first = source.part(&id, 0).unwrap();
    assert_eq!(source.part(&id, 0).unwrap(), first);
    let second = source.part(&id, 1).unwrap();
    assert!(matches!(source.part(&id, 0), Err(SnapshotRefusal::Passed { index: 0, next: 2 })));
    assert_eq!(source.part(&id, 1).unwrap(), second);
    assert!(source.rationed(101).is_some_and(|until| until > 101) && source.rationed(1_000).is_none());
    let mut last = second;
    while !last.last {
        last = source.part(&id, last.index + 1).unwrap();
    }
    assert_eq!(source.part(&id, last.index).unwrap(), last);
    let parts = last.index + 1;
    assert!(matches!(source.part(&id, parts), Err(SnapshotRefusal::Ended { parts: all }) if all == parts));
    assert_eq!(source.rationed(101), None, "the version is let go");
}

#[test]
fn contents_that_no_replica_writes_are_refused_wherever_they_are_cut() {
    let preamble = |entries| Preamble { version: STREAM_VERSION, kept: KEPT, egress: EGRESS, entries }.encode();
    let refused = |stream: &[u8]| {
        let (fresh, _folder) = insecure_store();
        let mut inflow = Inflow::new(fresh);
        matches!(inflow.decode_next(stream), Err(SnapshotFault::Malformed))
    };
    let longer = |bytes: usize| codec::Compact(u32::try_from(bytes).unwrap() + 1).encode();
    let good =
        [preamble(1), ([1u8; 32], b"key".to_vec(), b"value".to_vec(), 1u64, b"a".to_vec(), b"b".to_vec()).encode()];
    assert!(!refused(&good.concat()));
    assert!(refused(&[good.concat(), vec![0]].concat()), "more than it says");
    assert!(refused(&[STREAM_VERSION + 1]), "another version");
    let backwards = Preamble { version: STREAM_VERSION, kept: (2, 1), egress: EGRESS, entries: 0 };
    assert!(refused(&backwards.encode()));
    assert!(refused(&[preamble(1), vec![1; 32], longer(MAX_KEY_BYTES)].concat()));
    assert!(refused(&[preamble(1), vec![1; 32], b"k".to_vec().encode(), longer(MAX_VALUE_BYTES)].concat()));
    assert!(refused(&[preamble(1), vec![1; 32], vec![0xff; 5]].concat()), "no length");
    let code = (record_key(&CodeHash::of(b"one")), b"another".to_vec());
    assert!(refused(&[preamble(0), (1u64, code).encode()].concat()), "code that is not what its name says");
    // Byte by byte the same comes of it, and nothing short of all is whole.
    let stream = good.concat();
    let (fresh, _folder) = insecure_store();
    let mut inflow = Inflow::new(fresh);
    for byte in &stream {
        assert!(inflow.whole().is_none());
        inflow.decode_next(&[*byte]).unwrap();
    }
    assert!(inflow.whole().is_some());
    assert_eq!(inflow.store.view().get(&ContractId([1; 32]), b"key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn padding_that_is_not_zero_and_a_part_in_the_middle_that_is_not_full_are_refused() {
    let key = part_key(&storage(1), &header(4));
    let seal = |plaintext: Vec<u8>, last: bool| {
        open_part(&key, &seal_plaintext(&key, &header(4), 0, last, &plaintext).unwrap())
    };
    let with = |length: u32| [length.to_le_bytes().to_vec(), vec![0; PART_DATA_BYTES]].concat();
    assert!(seal(with(5), true).is_ok_and(|data| data.len() == 5));
    assert!(matches!(seal(with(5), false), Err(SnapshotFault::Malformed)));
    assert!(matches!(seal(with(u32::MAX), true), Err(SnapshotFault::Malformed)));
    let mut dirty = with(5);
    dirty[LENGTH_BYTES + 5] = 1;
    assert!(matches!(seal(dirty, true), Err(SnapshotFault::Malformed)));
    assert!(seal_part(&key, &header(4), 0, false, &vec![0; PART_DATA_BYTES + 1]).is_err());
}

/// `testing/vectors/crypto/derivations.json`, which a second implementation computed.
#[test]
fn the_key_of_a_snapshot_follows_its_vector() {
    let file: Value =
        serde_json::from_str(include_str!("../../../../testing/vectors/crypto/derivations.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["label"] == domain::SNAPSHOT_KEY.as_str()).unwrap();
    let of = |field: &str| -> Secret<[u8; 32]> {
        Secret::from_slice(&hex::decode(case[field].as_str().unwrap()).unwrap()).unwrap()
    };
    let part = seal_part(&part_key(&of("secret"), &header(4)), &header(4), 0, true, b"data").unwrap();
    assert!(open_part(&SivKey::new(&of("output")), &part).is_ok_and(|data| *data == b"data"));
    assert!(open_part(&SivKey::new(&of("secret")), &part).is_err());
}
