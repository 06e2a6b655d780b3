//! Follows a GRANDPA chain from inside a TEE: finality, authority changes, ancestry and storage proofs become
//! `Verified*` values.
//!
//! **The host is the attacker** and controls every byte that enters except the pinned genesis hash, the entropy and a
//! [`Checkpoint`] (which the caller keeps sealed). It may forge, cut, reorder, repeat or withhold; it can only ever
//! stop the client, never lead it to a header that more than two thirds of the chain's own authorities did not sign.
//!
//! Guarantees:
//! - [`LightClient::head`] was finalised by the authority set that the chain, from the pinned genesis on, handed over
//!   to, provided that fewer than a third of each of those sets signed two conflicting blocks.
//! - A [`VerifiedHeader`] is such a head or an ancestor of one; there is no other constructor.
//! - A storage answer is the value, or the proven absence, of exactly the key that was asked, in exactly that header's
//!   state.
//! - Nothing that arrives panics, allocates without a bound, or changes the client unless all of it was accepted.
//!
//! Does not do: I/O, clocks, randomness, logs; judge whether a head is *fresh* (a host can withhold blocks: the caller
//! compares heights that clients and gatekeepers ask for); execute blocks (authorities that collude can finalise an
//! invalid state).
//!
//! # Upon smoldot
//!
//! Justifications, headers and trie nodes are parsed and checked by `smoldot` (`finality::verify`, `header`,
//! `trie::proof_decode`), of which only these sans-IO parts run. What it leaves to its caller, and where that is done
//! here:
//! - it verifies a justification but compares neither its target with a header nor the set with a chain:
//!   [`LightClient::advance`];
//! - it ignores weights and merges duplicate authorities: [`AuthoritySet`] admits weights of 1 and distinct keys only;
//! - it knows no policy for changes: forced, delayed and repeated ones are refused, a set's last header must hand over;
//! - its batch verification draws coefficients from a seed, and a predictable seed lets invalid signatures cancel out:
//!   ours is a hash over the caller's entropy *and* the whole justification, so it is unknown while the signatures are
//!   being made;
//! - it walks a storage proof as a tree, so nodes that refer to one another several times cost exponentially:
//!   [`verify_storage`] bounds the nodes and the expanded size first.
//!
//! # Deviations from a full node
//!
//! Both are stricter, and tests compare all other verdicts with those of Parity's crates:
//! - A justification in which one voter appears twice is refused, whereas a node counts an equivocator as voting for
//!   everything. A server that holds such a justification drops the vote that does not descend from the target, or the
//!   voter if enough others remain.
//! - A vote that names a block at a wrong height is refused, whereas a node drops it earlier, when it arrives as a
//!   message.
#![forbid(unsafe_code)]

mod anchor;
mod authorities;
mod client;
mod header;
mod justification;
pub mod limits;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use anchor::{verify_anchor, AnchorError};
pub use authorities::{AuthoritiesError, AuthorityKey, AuthoritySet};
pub use client::{Advance, Checkpoint, CheckpointError, FinalityError, LightClient};
pub use header::{verify_ancestors, AncestryError, HeaderError, VerifiedHeader};
pub use justification::JustificationError;
pub use phala_protocol::finality::{FinalityFragment, FinalityProof, GenesisAnchor};
pub use storage::{encode_proof, verify_storage, verify_storage_value, ProofError, VerifiedStorage};
