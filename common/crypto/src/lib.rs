//! The cryptography of the network, wrapped once: every zone calls these functions and no library behind them.
//!
//! Guarantees: no ambient randomness, clock or I/O (entropy is always an argument); no function panics on bytes that
//! arrive; secrets live in [`Secret`], which cannot be printed, copied, compared or encoded, and is wiped when dropped;
//! every use of a hash, signature, key derivation or AEAD is bound to one label of [`phala_protocol::domain`].
//!
//! Does not do: key storage, key policy, nonces' uniqueness (callers choose AEAD nonces), or any decision on who may hold
//! a key. Its inputs are controlled by whoever sits across a wall; only `verify_*` and `open_*` turn them into facts.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`secret`] | the container of secrets | |
//! | [`signature`] | sr25519 of accounts, Ed25519 of workers and sessions | schnorrkel; RFC 8032 with ZIP-215 |
//! | [`xwing`] | hybrid KEM, X25519 and ML-KEM-768 | draft-connolly-cfrg-xwing-kem, FIPS 203, RFC 7748 |
//! | [`hpke`] | key schedule over that KEM, one message | RFC 9180, draft-ietf-hpke-pq |
//! | [`envelope`] | sealed commands | [`phala_protocol::envelope`] |
//! | [`session`] | commands of an open session | [`phala_protocol::envelope`] |
//! | [`kdf`] | key derivation and keyed commitments | RFC 5869, RFC 2104 |
//! | [`entropy`] | the caller's 32 bytes as a stream, for libraries that want one | SHAKE256, FIPS 202 |
//! | [`aead`] | AES-256-GCM and AES-256-GCM-SIV | NIST SP 800-38D, RFC 8452 |
//! | [`prf`] | verifiable threshold PRF over Ristretto | RFC 9496, RFC 9380, Chaum-Pedersen 1992 |
//! | [`beacon`] | threshold VRF with public shares, of the same partials | SCRAPE 2017 for the check of shares |
//! | [`egress`] | signatures of contracts under what they send | [`phala_protocol::identities`] |
//! | [`merkle`] | commitments to lists | shape of RFC 6962 |
//! | [`transcript`] | what was seen of a key ceremony, checked | [`phala_protocol::ceremony`] |
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod aead;
pub mod beacon;
pub mod egress;
pub mod entropy;
pub mod envelope;
pub mod hpke;
pub mod kdf;
pub mod merkle;
pub mod prf;
pub mod secret;
pub mod session;
pub mod signature;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transcript;
pub mod xwing;

pub use secret::Secret;
