//! What the crate promises, checked from outside: against other implementations, against published vectors, and against
//! golden vectors that other languages read too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

mod beacon;
mod derivations;
mod envelope;
mod golden;
mod prf;
mod signature;
mod stock_hpke;
mod xwing;

use phala_crypto::Secret;
use rand::{rngs::StdRng, RngCore, SeedableRng};

/// The same numbers every time.
fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn bytes<const N: usize>(random: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill_bytes(&mut bytes);
    bytes
}

fn secret<const N: usize>(random: &mut StdRng) -> Secret<[u8; N]> {
    Secret::new(bytes(random))
}
