//! Parts of a snapshot on their way into an empty store: altered by whoever carries them, and of any content, as if one of the epoch's replicas
//! had sealed that.
//!
//! Holds: a part that was altered after it was sealed does not open; one that opens holds what was sealed; a stream is taken as a whole
//! exactly when another reader takes it, and leaves the entries, the records and the root that this one finds, however it was cut; no
//! content is the machine's fault, and none costs memory out of proportion. INSECURE: the epoch's key is known.

use super::disk::{open, Disk};
use crate::{assert_bounded, engine::Choices, measured, Target, Verdict};
use codec::{Decode, Encode};
use phala_core::{
    testing::{open_part, seal_part, seal_plaintext, stream, Intake, PART_DATA_BYTES},
    SnapshotFault,
};
use phala_crypto::Secret;
use phala_protocol::{
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart, SNAPSHOT_PART_BYTES},
    ClusterId, CodeHash, ContractId,
};
use phala_state::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::{collections::BTreeMap, iter::repeat_n, sync::LazyLock};

const HEADER: SnapshotHeader = SnapshotHeader {
    cluster: ClusterId(1),
    era: 0,
    epoch: 2,
    boundary: Boundary { block: 7, count: 8, link: [9; 32] },
    salt: [4; 32],
};
const KEPT: (u64, u64) = (3, 9);
const EGRESS: (u64, u64) = (0, 5);

/// What an input need not spell out: so much of one byte, longer than a part, where it says.
const FILL: u8 = 9;
const FILL_BYTES: usize = 600 * 1024;
/// A place at which no stream is filled.
const NOWHERE: u32 = u32::MAX;

/// What is done to the parts of a stream, by the input's first byte; up to the first of these, nothing.
const WAYS: u8 = 16;
/// Each part is taken in two pieces.
const PIECES: u8 = 7;
/// Who seals a part says another length.
const LENGTH: u8 = 8;
/// Who seals a part flips a bit of its plaintext: of length, data or padding.
const PLAIN_BIT: u8 = 9;
/// Who carries a part flips a bit of it; and so on with those that follow.
const SEALED_BIT: u8 = 10;
const CUT: u8 = 11;
const LAST: u8 = 12;
const OTHER_HEADER: u8 = 13;
const OTHER_PLACE: u8 = 14;
// And 15: what another snapshot of the epoch has there, of the same content.

fn storage() -> Secret<[u8; 32]> {
    Secret::new([1; 32])
}

/// The stream of a small state, or of one with an entry that is longer than a part: then without that, and with its place.
fn honest(is_long: bool) -> (u32, Vec<u8>) {
    let store = open(&Disk::default()).unwrap();
    let mut batch = store.begin();
    for number in 10..22 {
        let contract = ContractId([number % 3; 32]);
        batch.set(&contract, &[number], vec![number; usize::from(number % 7) * 9]).unwrap();
    }
    if is_long {
        batch.set(&ContractId([1; 32]), b"long", vec![FILL; FILL_BYTES]).unwrap();
    }
    let code = b"the code of a contract".to_vec();
    let name = [&b"code/"[..], &CodeHash::of(&code).0].concat();
    let records = vec![(name, Some(code)), (b"outbox".to_vec(), Some(vec![1; 40]))];
    store.commit(batch, b"the cursor of the one who sends it".to_vec(), records).unwrap();
    let mut stream = stream(store.view(), KEPT, EGRESS).unwrap();
    let filled = stream.windows(FILL_BYTES).position(|window| window.iter().all(|byte| *byte == FILL));
    assert_eq!(filled.is_some(), is_long);
    let at = filled.map(|at| {
        stream.drain(at..at + FILL_BYTES);
        at as u32
    });
    (at.unwrap_or(NOWHERE), stream)
}

fn input(way: u8, place: u32, (at, stream): &(u32, Vec<u8>)) -> Vec<u8> {
    [&[way][..], &place.to_le_bytes(), &at.to_le_bytes(), stream].concat()
}

/// What is done to the parts, a number that says where, where the stream is filled, and the stream.
pub static SNAPSHOTS: Target = Target {
    name: "snapshots",
    covers: &["tee/core/src/snapshot.rs::open_part", "tee/core/src/snapshot/inflow.rs::decode_next"],
    samples: LazyLock::new(|| {
        let (small, long) = (honest(false), honest(true));
        let empty = (NOWHERE, (1_u8, (0_u64, 0_u64), (0_u64, 0_u64), 0_u64, 0_u64).encode());
        let mut samples = vec![input(0, 0, &empty)];
        for way in [0, PIECES] {
            samples.extend([input(way, 300, &small), input(way, 70_000, &long)]);
        }
        samples.extend((LENGTH..WAYS).flat_map(|way| [input(way, 1, &small), input(way, 1_000_003, &long)]));
        samples
    }),
    check: |bytes| {
        let mut choices = Choices::new(bytes);
        let (way, place, at) = (choices.byte() % WAYS, choices.number(), choices.number() as usize);
        let mut stream = choices.take(usize::MAX).to_vec();
        if at <= stream.len() {
            stream.splice(at..at, repeat_n(FILL, FILL_BYTES));
        }
        let (parts, contents) = sealed(&stream, way, place);
        if way < SEALED_BIT {
            taken(&parts, &contents, (way == PIECES).then_some(place as usize))
        } else {
            carried(&parts[place as usize % parts.len()], way, place)
        }
    },
    iterations: 100,
};

/// The parts of a stream, and what each holds; none where it has no valid form.
fn sealed(stream: &[u8], way: u8, place: u32) -> (Vec<SnapshotPart>, Vec<Option<Vec<u8>>>) {
    let count = stream.len().div_ceil(PART_DATA_BYTES).max(1);
    let part = |index: usize| {
        let data = stream.chunks(PART_DATA_BYTES).nth(index).unwrap_or_default();
        let last = index + 1 == count;
        let is_altered = [LENGTH, PLAIN_BIT].contains(&way) && index == place as usize % count;
        if !is_altered {
            return (seal_part(&storage(), &HEADER, index as u32, last, data).unwrap(), Some(data.to_vec()));
        }
        let length = if way == LENGTH { place } else { data.len() as u32 };
        let mut plaintext = [&length.to_le_bytes()[..], data].concat();
        plaintext.resize(SNAPSHOT_PART_BYTES, 0);
        if way == PLAIN_BIT {
            plaintext[place as usize % SNAPSHOT_PART_BYTES] ^= 1 << (place % 8);
        }
        let sealed = seal_plaintext(&storage(), &HEADER, index as u32, last, &plaintext).unwrap();
        (sealed, content(&plaintext, last))
    };
    (0..count).map(part).unzip()
}

/// What a plaintext holds, as the format says it.
fn content(plaintext: &[u8], last: bool) -> Option<Vec<u8>> {
    let (length, rest) = plaintext.split_first_chunk::<4>().expect("longer than a length");
    let (data, padding) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let is_sound = padding.iter().all(|byte| *byte == 0) && (last || padding.is_empty());
    is_sound.then(|| data.to_vec())
}

/// A part that was altered on its way.
fn carried(part: &SnapshotPart, way: u8, place: u32) -> Verdict {
    let mut altered = part.clone();
    let at = place as usize % part.sealed.len();
    let header = &mut altered.header;
    match way {
        SEALED_BIT => altered.sealed[at] ^= 1 << (place % 8),
        CUT => altered.sealed.truncate(at),
        LAST => altered.last = !altered.last,
        OTHER_HEADER => match place % 6 {
            0 => header.cluster.0 ^= 1,
            1 => header.era ^= 1,
            2 => header.epoch ^= 1,
            3 => header.boundary.count ^= 1,
            4 => header.boundary.link[at % 32] ^= 1,
            _ => header.salt[at % 32] ^= 1,
        },
        OTHER_PLACE => altered.index = part.index.wrapping_add(1 + place % 7),
        // The last of the ways.
        _ => {
            let data = open_part(&storage(), part).expect("it was not altered");
            let other = SnapshotHeader { salt: [5; 32], ..HEADER };
            altered.sealed = seal_part(&storage(), &other, part.index, part.last, &data).unwrap().sealed;
        }
    }
    assert_ne!(altered, *part);
    let fault = open_part(&storage(), &altered).expect_err("an altered part opens");
    let SnapshotFault::Unauthentic(index) = fault else { panic!("{fault}") };
    assert_eq!(index, altered.index);
    Verdict::refused(fault).of(&way.to_string())
}

/// Parts that their sealer vouches for, whatever they hold; each in two pieces, if a place says where they are cut.
fn taken(parts: &[SnapshotPart], contents: &[Option<Vec<u8>>], cut: Option<usize>) -> Verdict {
    let mut intake = Intake::new(open(&Disk::default()).unwrap());
    let whole: Option<Vec<&[u8]>> = contents.iter().map(Option::as_deref).collect();
    let read = whole.ok_or("a part").and_then(|whole| State::read(&whole.concat()));
    for (part, content) in parts.iter().zip(contents) {
        let (opened, peak) = measured(|| open_part(&storage(), part));
        assert_bounded(peak, part.sealed.len(), 3);
        let data = match (opened, content) {
            (Ok(data), Some(content)) => {
                assert!(data == *content, "a part holds what nobody sealed");
                data
            }
            (Err(SnapshotFault::Malformed), None) => return Verdict::refused("a part"),
            (opened, _) => panic!("{:?}, and it has a valid form: {}", opened.map(drop), content.is_some()),
        };
        let (first, second) = data.split_at(cut.map_or(data.len(), |at| at % (data.len() + 1)));
        let (done, peak) = measured(|| intake.decode_next(first).and_then(|()| intake.decode_next(second)));
        // An entry of a few bytes takes some hundred in a batch, and is in the journal and in a page beside that.
        let allowed = data.len() as u64 * 64 + (64 << 20);
        assert!(peak <= allowed, "{peak} bytes allocated for a part of {}", data.len());
        match done {
            Ok(()) => {}
            Err(SnapshotFault::Malformed) => {
                return Verdict::refused(read.err().expect("another reader takes what is refused")).of("refused");
            }
            Err(fault) => panic!("content of a part is the machine's fault: {fault}"),
        }
    }
    let view = intake.view();
    let far = |count: u64| "x".repeat((count + 1).ilog2() as usize);
    let come = format!("{} of {}", far(view.len()), far(view.records_len()));
    let Some(preamble) = intake.whole() else {
        let missing = read.err().expect("another reader finds it whole");
        return Verdict::refused(format_args!("{missing} {come}")).of("not whole");
    };
    let state = read.unwrap_or_else(|wrong| panic!("whole, and another reader misses {wrong}"));
    assert_eq!(preamble, state.preamble);
    state.assert_is_in(&intake);
    assert_eq!(view.meta(), Some(&b""[..]), "a cursor that a worker would go on from");
    drop(view);
    intake.finish(b"a cursor".to_vec()).expect("this disk takes a cursor");
    Verdict::accepted(format_args!("{come} {}", parts.len() > 1))
}

/// A stream, read by SCALE alone.
struct State {
    preamble: [(u64, u64); 2],
    entries: BTreeMap<([u8; 32], Vec<u8>), Vec<u8>>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl State {
    /// The state, or what of it has no valid form or is missing.
    fn read(mut stream: &[u8]) -> Result<Self, &'static str> {
        let input = &mut stream;
        let (version, kept, egress) =
            <(u8, (u64, u64), (u64, u64))>::decode(input).map_err(|_| "some of the beginning")?;
        let count = u64::decode(input).map_err(|_| "a number of entries")?;
        if version != 1 || kept.0 > kept.1 || egress.0 > egress.1 {
            return Err("a valid beginning");
        }
        let mut state = Self { preamble: [kept, egress], entries: BTreeMap::new(), records: BTreeMap::new() };
        let fits = |key: &[u8], value: &[u8]| key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES;
        for _ in 0..count {
            let (contract, key, value) =
                <([u8; 32], Vec<u8>, Vec<u8>)>::decode(input).map_err(|_| "some of an entry")?;
            if !fits(&key, &value) {
                return Err("an entry that is short enough");
            }
            state.entries.insert((contract, key), value);
        }
        let count = u64::decode(input).map_err(|_| "a number of records")?;
        for _ in 0..count {
            let (key, value) = <(Vec<u8>, Vec<u8>)>::decode(input).map_err(|_| "some of a record")?;
            if !fits(&key, &value) {
                return Err("a record that is short enough");
            }
            if key.strip_prefix(b"code/").is_some_and(|hash| *hash != CodeHash::of(&value).0) {
                return Err("code of its name");
            }
            state.records.insert(key, value);
        }
        if input.is_empty() {
            Ok(state)
        } else {
            Err("the end")
        }
    }

    /// That a store has this state and nothing else, and its root.
    fn assert_is_in(&self, intake: &Intake) {
        let view = intake.view();
        let entries = view.entries(None, usize::MAX).unwrap().into_iter();
        let entries: BTreeMap<_, _> = entries.map(|entry| ((entry.contract.0, entry.key), entry.value)).collect();
        assert!(entries == self.entries, "other entries than the stream has");
        let records: BTreeMap<_, _> = view.records().unwrap().into_iter().collect();
        assert!(records == self.records, "other records than the stream has");
        let store = open(&Disk::default()).unwrap();
        let mut batch = store.begin();
        for ((contract, key), value) in &self.entries {
            batch.set(&ContractId(*contract), key, value.clone()).unwrap();
        }
        assert_eq!(intake.root(), batch.root().unwrap(), "another root than that of the entries");
    }
}
