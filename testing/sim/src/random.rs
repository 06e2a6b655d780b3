//! The one source of chance: a stream that follows from a seed.
//!
//! Guarantees: the same seed gives the same stream on every machine. INSECURE: everybody can know it.

use phala_light_client::testing::TestRandom;
use phala_state::{Entropy, EntropyError};
use std::sync::{
    atomic::{AtomicBool, Ordering},
    Arc, Mutex, PoisonError,
};

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(TestRandom);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(TestRandom::new(seed))
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        self.0.below(bound as usize) as u32
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let bytes = self.0.bytes();
            chunk.iter_mut().zip(bytes).for_each(|(target, byte)| *target = byte);
        }
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// INSECURE: the "entropy" of one simulated machine, shared by its TEE and its store. It can dry up.
#[derive(Clone)]
pub struct Seeded {
    stream: Arc<Mutex<Random>>,
    dry: Arc<AtomicBool>,
}

impl Seeded {
    /// The entropy of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { stream: Arc::new(Mutex::new(Random::new(seed))), dry: Arc::default() }
    }

    /// Whether there is none now.
    pub fn set_dry(&self, dry: bool) {
        self.dry.store(dry, Ordering::Relaxed);
    }
}

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        if self.dry.load(Ordering::Relaxed) {
            return Err(EntropyError);
        }
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).fill(buffer);
        Ok(())
    }
}
