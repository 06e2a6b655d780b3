//! The gatekeeper: holds one share of an era's root and evaluates the threshold PRF for workers that may have a key; and one share of the
//! era's beacon key, which it evaluates for periods.
//!
//! Guarantees: an evaluation of the root leaves only sealed to the encryption key that the asking worker's *evidence* binds - verified here, in
//! this binary, never "because the chain says registered" - and only for a cluster that the finalised chain assigned to it and for
//! an epoch that the record of that cluster allows. The PRF's input is built here from checked fields; the asker chooses none of
//! its bytes. Refusals are typed and say whose fault. A [`Verifier`] spares the signatures of bytes that it verified before, and no
//! judgement about them.
//!
//! Inputs: inquiries come from anyone; [`Facts`] must come out of verified storage proofs against one finalised header; entropy
//! must be fresh. Sans-IO. Root and beacon key are made by all seats together ([`dkg`]); one of a single seat exists in development networks
//! alone, and [`Seat::lone`] demands the proof that this is one. Does not: hand over from one era's root to the next, or carry
//! messages.
#![forbid(unsafe_code)]

mod beacon;
pub mod dkg;
mod grant;
pub mod identity;
mod peer;
mod policy;
mod received;
mod receiving;
mod recent;
mod seat;
mod sightings;
#[cfg(test)]
mod tests;
mod verifier;
mod view;

pub use beacon::BeaconSeat;
pub use grant::{open_grant, GrantError, Grants, OpenedGrant};
pub use peer::{verify_introduction, VerifiedPeer};
pub use phala_protocol::limits::MEASUREMENT_DELAY_BLOCKS;
pub use policy::{check_age, verify_request, Facts, Refusal, SignedInquiry};
pub use receiving::ReceivingKey;
pub use seat::{Seat, SeatError};
pub use sightings::{Sightings, MOST_GAP_BLOCKS, MOST_SIGHTINGS};
pub use verifier::{Verifications, Verifier, MOST_COLLATERALS, MOST_VERDICTS, MOST_VERDICT_BYTES};
pub use view::View;
