//! The corpus: nothing altered is accepted, every difference from the oracle has its reason, and WASM says the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod genuine;
mod oracle;
mod refusals;
mod wasm;

use phala_attest_corpus::{corpus, Case, Kind};

/// One byte in so many of what has no fields (certificates, documents): 1 alters every byte. `PHALA_CORPUS_STRIDE=1` takes some minutes.
fn stride() -> usize {
    std::env::var("PHALA_CORPUS_STRIDE").ok().and_then(|stride| stride.parse().ok()).unwrap_or(149)
}

fn all() -> Vec<Case> {
    Kind::ALL.into_iter().flat_map(|kind| corpus(kind, stride())).collect()
}

/// Runs `work` over `items` on every core, in their order.
fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = items.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            items.chunks(part).map(|chunk| scope.spawn(|| chunk.iter().map(&work).collect::<Vec<R>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
