//! Reads the machine: quotes, sealing, clock and entropy. The only crate of the trusted binary that may.
//!
//! Each is a trait, so that the rest of the binary names what it needs and a test supplies it, and real backends behind it.
//! [`Technology::detect`] finds which TEE the process is in, once, by what the file system presents, and never falls back.
//! Guarantees of each are at its trait; in short: **a quote** is what the machine's own driver answered to the very bytes asked, **a
//! sealed blob** opens only under the same key file and label, **entropy** comes from the processor by way of the kernel, and **the
//! clock belongs to the host**: nothing may rest on it but liveness.
//!
//! | | SGX under Gramine | TDX under Linux |
//! |---|---|---|
//! | quotes | [`Gramine`] | [`ConfigfsTsm`] |
//! | secrets over a restart | [`SealedFiles`] under `_sgx_mrenclave` | [`Readmission`]: none |
//! | entropy | `getrandom(2)`, which Gramine answers from RDRAND inside the enclave | `getrandom(2)`, which Linux seeds from RDRAND |
//! | clock | the host's | the host's |
//! | page tables of a process | the host's | its own |
//!
//! Who controls the inputs: everything under the given directories is the host's on hardware without a confidential file
//! system. A lying driver cannot forge a quote, since the verifier checks it; a lying key file makes sealing worthless,
//! which is why only a key served by the TEE itself (Gramine's) may be used for it. Whether a quote is genuine is not
//! decided here: `phala-attest` does that, at the verifier.
//!
//! Simulation is a directory like any other: there is no simulator in this crate, and no switch for one.

#![forbid(unsafe_code)]

mod bounded;
mod clock;
mod entropy;
mod frame;
mod keep;
mod quote;
mod seal;
mod technology;

pub use clock::{Clock, HostClock};
pub use entropy::{Entropy, EntropyError, KernelEntropy};
pub use frame::{frame, Frame, FrameError, QuoteKind};
pub use keep::{Keep, KeepError, Readmission, SealedFiles};
pub use quote::{ConfigfsTsm, Gramine, Provider, Quote, QuoteError, Quoted};
pub use seal::{KeyFileSeal, Seal, SealError};
pub use technology::{DetectError, Quotes, Technology};
