//! Reads the machine: quotes, sealing, clock and entropy. The only crate of the trusted binary that may.
//!
//! Each of the four is a trait, so that the rest of the binary names what it needs and a test supplies it, and one real
//! backend. Guarantees of each are at its trait; in short: **a quote** is what the machine's own driver answered to the
//! very bytes asked, **a sealed blob** opens only under the same key file and label, **entropy** comes from the kernel,
//! and **the clock belongs to the host**: nothing may rest on it but liveness.
//!
//! Who controls the inputs: everything under the given directories is the host's on hardware without a confidential file
//! system. A lying driver cannot forge a quote, since the verifier checks it; a lying key file makes sealing worthless,
//! which is why only a key served by the TEE itself (Gramine's) may be used for it. Whether a quote is genuine is not
//! decided here: `phala-attest` does that, at the verifier.
//!
//! Simulation is a directory like any other: there is no simulator in this crate, and no switch for one.

#![forbid(unsafe_code)]

mod clock;
mod entropy;
mod quote;
mod seal;

pub use clock::{Clock, HostClock};
pub use entropy::{Entropy, EntropyError, KernelEntropy};
pub use quote::{ConfigfsTsm, Provider, Quote, QuoteError, Quoted};
pub use seal::{KeyFileSeal, Seal, SealError};
