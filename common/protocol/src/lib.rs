//! Every message, identifier, limit, domain label and storage key that crosses a zone of the network.
//!
//! Chain, TEE and host never import each other: they meet here. What stands in this crate is therefore a format, and
//! changing it is a hard fork; the golden vectors in `testing/vectors/protocol` are asserted by tests of every zone.
//!
//! Guarantees: decoding is bounded, never panics and never judges; hashing is domain-separated by the labels of
//! [`domain`], and injective (a label, then one SCALE value). Does not do: I/O, clocks, randomness, secrets, or any check that needs a key.
//! Its inputs are controlled by whoever is on the other side of the wall - treat every decoded value as an allegation.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod attestation;
pub mod beacon;
pub mod brake;
pub mod call;
pub mod ceremony;
pub mod chain_state;
pub mod domain;
pub mod draw;
pub mod egress;
pub mod envelope;
pub mod finality;
pub mod gas;
pub mod hash;
pub mod heartbeat;
pub mod identities;
pub mod ids;
pub mod inbox;
pub mod keys;
pub mod limits;
pub mod query;
pub mod relay;
pub mod result;
pub mod snapshot;
pub mod storage;

pub use domain::Domain;
pub use hash::{hash, hash_each, hash_value, hash_values, Hash};
pub use ids::{AccountId, ClusterId, CodeHash, ContractId, Epoch, WorkerId};
