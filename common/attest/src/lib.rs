//! Verifies attestation evidence: the one verifier of chain, worker, command line and browser.
//!
//! A verdict is a function of four things, all of them arguments: the evidence's bytes, the vendor's collateral, the
//! policy, and the time. There is no clock, no network and no stored state in this crate, so the runtime's WASM, the
//! trusted binary and a user's machine give the same verdict on the same inputs.
//!
//! ```text
//! Collateral  --verify_collateral(anchor, now)-->  VerifiedCollateral     (once per platform model and month)
//! Evidence    --verify_evidence(collateral, policy, now)-->  VerifiedReport   (once per machine)
//! Verdict     --holds(policy, now)-->  the same VerifiedReport, at another time and under other terms, without a signature
//! ```
//!
//! What holding a [`VerifiedReport`] proves, for Intel SGX and TDX: the vendor's root certified, through certificates that are
//! neither expired nor revoked, the processor whose quoting enclave signed this report; that enclave (and the TDX module)
//! are the vendor's; the platform's security version is one the policy accepts; the enclave or virtual machine is not
//! debuggable, the latter not migratable and bound to no service machine; and `measurement` and `report_data` are what the
//! hardware reported.
//! With [`Assurance::Simulated`] it proves none of this: somebody ran a program with a published key.
//!
//! Who controls the inputs: evidence and collateral come from the attacker. `decode_*` bounds them and judges nothing;
//! `verify_*` judges, and is the only constructor of `Verified*` values. A `VerifiedCollateral` that is *decoded* is as
//! trustworthy as the place it was kept in: the chain's own state, or a storage proof against it.
//!
//! What it does not do: fetch collateral, decide which measurements may join, or compare `report_data` with anything.
//! Supported evidence: SGX quote version 3, TDX quote versions 4 and 5. Everything else is refused by name: of a quote by
//! [`DecodeError`], and of another kind of evidence or collateral, before anything in it is read, by [`KindFault`].

#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod anchor;
mod ban;
mod certificate;
mod collateral;
mod confidence;
mod dcap;
mod event_log;
mod evidence;
mod json;
mod kind;
mod list;
mod pck;
mod pem;
mod policy;
mod quote;
mod report;
mod revocation;
mod sgx;
mod tcb;
mod tdx;
mod time;
mod verdict;

pub use anchor::{
    is_development_root, Assurance, DevelopmentGenesis, Root, TrustAnchor, INSECURE_DEVELOPMENT_ROOT_DER,
    INTEL_ROOT_DER,
};
pub use ban::{Appraisal, Ban, Bans, Origin, Subject, MOST_BANS};
pub use certificate::CertificateFault;
pub use collateral::{verify_collateral, Collateral, CollateralRefusal, DocumentFault, SignerRole, VerifiedCollateral};
pub use confidence::{
    confidence, confidence_of, AdvisoryPolicy, ConfidenceLevel, ConfidenceRefusal, POLICY_ADVISORIES,
};
pub use event_log::{
    decode_event_log, verify_event_log, Event, EventLogFault, VerifiedEventLog, EVENT_LIMIT, EVENT_LOG_LIMIT,
};
pub use evidence::{
    claimed_fmspc, claimed_measurement, claimed_model, claimed_processor, verify_evidence, ClaimedProcessor, DebugFlag,
    Evidence, PlatformModel, Refusal, Vendor, VerifiedReport,
};
pub use kind::{decode_collateral, decode_evidence, CollateralKind, KindFault};
pub use list::{List, TooLong};
pub use pck::PckFault;
pub use pem::PemFault;
pub use policy::{AcceptedStatuses, Policy, PolicyTerms};
pub use quote::{canonical_quote, decode_quote, DecodeError, Quote, QUOTE_LIMIT};
pub use report::{EnclaveReport, Report, TdReport, TdReport15, TdReport15Extended};
pub use revocation::RevocationFault;
pub use sgx::{check_enclave, enclave_measurement};
pub use tcb::{Advisory, TcbStatus, MOST_ADVISORIES};
pub use tdx::measurement;
pub use time::parse_rfc3339_utc;
pub use verdict::Verdict;
