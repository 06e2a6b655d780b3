//! Prints what a boundary of 100 writes costs at several sizes of state, on a file in the folder given (or a temporary one).
//!
//! `cargo run --release -p phala-state --example state_cost [FOLDER] [SIZE...]`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "measures time, and deletes the files it made")]

use phala_crypto::Secret;
use phala_protocol::ContractId;
use phala_state::{ClusterStore, Entropy, EntropyError, Options, StorageKey};
use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

const WRITES: u64 = 100;
const ROUNDS: u64 = 60;

struct Urandom(Mutex<File>);

impl Entropy for Urandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        self.0.lock().map_err(|_| EntropyError)?.read_exact(buffer).map_err(|_| EntropyError)
    }
}

fn open(path: &PathBuf) -> ClusterStore {
    let key = StorageKey::derive(1, &Secret::new([7; 32]), b"measurement");
    let entropy = Box::new(Urandom(Mutex::new(File::open("/dev/urandom").unwrap())));
    ClusterStore::open(path, key, entropy, Options::default()).unwrap()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).unwrap().as_secs_f64() * 1e6
}

/// A pseudorandom entry among `size`.
fn pick(state: &mut u64, size: u64) -> [u8; 8] {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    ((*state >> 20) % size).to_le_bytes()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let temporary = tempfile::tempdir().unwrap();
    let folder = arguments.next().map_or(temporary.path().to_path_buf(), PathBuf::from);
    let mut sizes: Vec<u64> = arguments.map(|size| size.parse().expect("a size is a number")).collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 100_000, 1_000_000];
    }
    let contract = ContractId([1; 32]);
    let value = vec![0x5a; 64];
    println!("{WRITES} writes of 64 bytes a boundary, median of {ROUNDS}; times in microseconds");
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "entries", "root", "commit", "total", "us/write", "get", "get cold", "open ms", "file MB"
    );
    let mut base = None;
    for size in sizes {
        let path = folder.join(format!("state-{size}.redb"));
        let _ = std::fs::remove_file(&path);
        let store = open(&path);
        let mut next = 0;
        while next < size {
            let end = size.min(next + 10_000);
            let mut batch = store.begin();
            for number in next..end {
                batch.set(&contract, &number.to_le_bytes(), value.clone()).unwrap();
            }
            store.commit(batch, Vec::new(), Vec::new()).unwrap();
            next = end;
        }
        drop(store);
        let started = Instant::now();
        let store = open(&path);
        let opening = started.elapsed();

        let mut state = 1;
        let started = Instant::now();
        for _ in 0..200 {
            assert!(store.view().get(&contract, &pick(&mut state, size)).unwrap().is_some());
        }
        let cold = started.elapsed().as_secs_f64() * 1e6 / 200.0;
        let (mut roots, mut commits, mut totals) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let mut batch = store.begin();
            for _ in 0..WRITES {
                batch.set(&contract, &pick(&mut state, size), [round.to_le_bytes(); 8].concat()).unwrap();
            }
            let started = Instant::now();
            batch.root().unwrap();
            roots.push(started.elapsed());
            let middle = Instant::now();
            store.commit(batch, round.to_le_bytes().to_vec(), vec![(b"result".to_vec(), Some(vec![1; 256]))]).unwrap();
            commits.push(middle.elapsed());
            totals.push(started.elapsed());
        }
        let started = Instant::now();
        for _ in 0..5_000 {
            assert!(store.view().get(&contract, &pick(&mut state, size)).unwrap().is_some());
        }
        let warm = started.elapsed().as_secs_f64() * 1e6 / 5_000.0;
        let total = median(totals);
        let bytes = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
        println!(
            "{size:>9} {:>9.0} {:>9.0} {total:>9.0} {:>9.1} {warm:>9.1} {cold:>9.1} {:>9.1} {bytes:>9.1}   x{:.2}",
            median(roots),
            median(commits),
            total / WRITES as f64,
            opening.as_secs_f64() * 1e3,
            total / *base.get_or_insert(total),
        );
        drop(store);
        let _ = std::fs::remove_file(&path);
    }
}
