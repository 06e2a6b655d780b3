//! Distributed key generation: how the seats of an era make its two keys, a root and a beacon's, neither of which any of them ever holds.
//!
//! The protocol, the chain's part in it, and what it withstands stand in [`phala_protocol::ceremony`]. The polynomials, of which each dealer
//! deals one for each key, are those of
//! `frost-ristretto255` (`keys::dkg`: Pedersen's key generation with proofs of possession); this module adds what surrounds them -
//! which message is believed, what is said when, and what survives a restart.
//!
//! | file | what |
//! |---|---|
//! | `polynomial.rs` | one polynomial of a dealer: its bytes, and every call into frost |
//! | `package.rs` | a dealer's package and shares: two polynomials, which stand or fall together |
//! | `parcel.rs` | sealing and opening messages between seats |
//! | `ceremony.rs` | a seat's view of one attempt |
//! | `statements.rs` | what a seat says on chain, given its view |
//! | `stored.rs` | the same view as it is sealed |
//!
//! What a seat saw, for others to check, is [`phala_crypto::transcript`]: a host checks it too.
//!
//! Guarantees: sans-IO, and deterministic given seed, records, parcels and entropy. Records must come out of verified storage
//! proofs; parcels, and what stands on chain beside statements, may come from anyone: the record has the hash of each.

mod ceremony;
mod package;
mod parcel;
mod polynomial;
mod statements;
mod stored;
#[cfg(test)]
pub(crate) mod tests;

pub use ceremony::{Ceremony, CeremonyError, ParcelRefusal, Turn, View};
pub use package::{package_bytes, PackageError, SHARE_BYTES};
pub use parcel::{open_parcel, seal_parcel, verify_sender, ParcelError};
pub use phala_crypto::transcript::{
    verify_transcript, Outcome, Transcript, TranscriptError, MAX_TRANSCRIPT_RECORDS, MAX_TRANSCRIPT_STATEMENTS,
};
