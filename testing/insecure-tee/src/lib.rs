//! Simulates a TDX machine: INSECURE, never shipped.
//!
//! Everything here is signed with keys that anyone can derive from published sentences. Evidence made by it proves that
//! somebody ran this program, and nothing about memory secrecy, code integrity, sealing or the platform. It exists so that
//! a network without TEE hardware runs the *same* code as one with it: the formats are genuine, `phala-attest` verifies
//! them by the same path as hardware's, and only the root differs. A verifier refuses that root unless its genesis is
//! marked a development one, and marks every verdict under it as simulated.
//!
//! It is a separate process, so that no simulator is inside the measured binary; see [`serve`] for how the two talk.
//! Nothing that ships may depend on this crate.

#![forbid(unsafe_code)]

mod documents;
mod extension;
mod machine;
mod pki;
mod quote;
pub mod serve;

pub use documents::{qe_identity_json, sgx_qe_identity_json, sgx_tcb_info_json, tcb_info_json, Window};
pub use extension::Processor;
pub use machine::{rtmr3_of, InsecureMachine, QuoteFields, QuoteSigner};
pub use pki::{development_root_der, InsecureAuthority, InsecureSigner, InsecureVendor, PkiError, Revoked};
pub use quote::{QuoteFormat, QuoteParts};
pub use serve::{InsecureTee, ServeError};
