//! NEVER SHIPPED: a chain in memory that produces what a light client is shown, made by Parity's own crates.
//!
//! Headers, `Grandpa::Authorities`, scheduled changes, justifications with real Ed25519 signatures, state version 1
//! tries and read proofs are those of a polkadot-sdk node; only blocks are not executed. Everything follows from the
//! seed. It also holds the [`oracle`], the verdict of Parity's code on the same bytes. Its inputs are tests; it panics
//! when a test asks for the impossible.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a builder for tests"
)]

mod chain;
pub mod oracle;

pub use chain::{Header, Justification, TestChain, Vote};

use phala_protocol::hash::blake2_256;

/// Deterministic randomness for tests: a BLAKE2b counter, not for keys of anything real.
#[derive(Clone, Debug)]
pub struct TestRandom {
    seed: u64,
    counter: u64,
}

impl TestRandom {
    /// A stream that depends on nothing but `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        let mut input = [0; 16];
        input[..8].copy_from_slice(&self.seed.to_le_bytes());
        input[8..].copy_from_slice(&self.counter.to_le_bytes());
        blake2_256(&input)
    }

    /// A number below `bound`, which is not 0. The bias of the remainder does not matter here.
    pub fn below(&mut self, bound: usize) -> usize {
        let mut number = [0; 8];
        number.copy_from_slice(&self.bytes()[..8]);
        (u64::from_le_bytes(number) % bound as u64) as usize
    }
}
