//! The attestation verifier as a WASM module: bytes of a case in, text of the verdict out.
//!
//! Built for `wasm32v1-none`, which is the runtime's target, with the workspace's lock file: the verifier's own code, its
//! cryptography and its parsers are those of the runtime's blob and of a browser's. Natively it is a library with the same
//! [`judge`], so that a comparison compares compilers and word sizes and nothing else. Its input is the corpus's; nothing ships it.
//!
//! The module's interface: `reserve(length)` gives the address of that many bytes for the case; `run()` judges them and gives
//! the length of the text, which `text()` gives the address of. Memory is never given back: one instance judges one case.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{format, string::String};
use codec::{Decode, Encode};
use phala_attest::{
    decode_collateral, decode_evidence, verify_collateral, verify_evidence, AcceptedStatuses, DevelopmentGenesis,
    KindFault, Policy, PolicyTerms, TrustAnchor, VerifiedReport,
};

#[cfg(target_arch = "wasm32")]
mod guest;

/// INSECURE: the genesis that this module marks as a development one.
const GENESIS: [u8; 32] = [7; 32];

/// What a verdict is a function of.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Input {
    /// INSECURE: the development root instead of Intel's.
    pub development: bool,
    /// Statuses that pass.
    pub accepted: AcceptedStatuses,
    /// Unix seconds.
    pub now: u64,
    /// SCALE of [`phala_attest::Evidence`].
    pub evidence: alloc::vec::Vec<u8>,
    /// SCALE of [`phala_attest::Collateral`].
    pub collateral: alloc::vec::Vec<u8>,
}

/// The verdict on a case, or the reason of the refusal in words.
pub fn verdict(input: &Input) -> Result<VerifiedReport, String> {
    let anchor = if input.development {
        let token = DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]);
        TrustAnchor::InsecureDevelopment(token.ok_or_else(|| String::from("no development genesis"))?)
    } else {
        TrustAnchor::Intel
    };
    let evidence = decode_evidence(&input.evidence).map_err(|fault| format!("Evidence({})", unread(fault)))?;
    let collateral = decode_collateral(&input.collateral).map_err(|fault| format!("Collateral({})", unread(fault)))?;
    let collateral =
        verify_collateral(&collateral, &anchor, input.now).map_err(|refusal| format!("Collateral({refusal:?})"))?;
    let terms = PolicyTerms { accepted: input.accepted, minimum_tcb_evaluation_number: 0 };
    verify_evidence(&evidence, &collateral, &Policy { anchor, terms }, input.now)
        .map_err(|refusal| format!("Evidence({refusal:?})"))
}

/// Why bytes were not read, in the words of a refusal.
fn unread(fault: KindFault) -> String {
    match fault {
        KindFault::UnsupportedEvidence(kind) | KindFault::UnsupportedCollateral(kind) => {
            format!("UnsupportedKind({kind})")
        }
        KindFault::Malformed => String::from("Shape"),
    }
}

/// [`verdict`] as text, with everything that a report says.
pub fn judge(case: &[u8]) -> String {
    match whole::<Input>(case) {
        Some(input) => format!("{:?}", verdict(&input)),
        None => String::from("not a case"),
    }
}

fn whole<T: Decode>(mut bytes: &[u8]) -> Option<T> {
    T::decode(&mut bytes).ok().filter(|_| bytes.is_empty())
}
