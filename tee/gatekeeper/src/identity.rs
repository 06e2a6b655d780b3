//! Stable identities of contracts: threshold keys that outlive eras, and never enter a worker.
//!
//! An address on another chain must stay the same when machines and gatekeepers change. A key that workers were given would be known for
//! ever to each machine that once served the contract; so gatekeepers hold it in shares, hand it from set to set, and sign.
//!
//! | file | what |
//! |---|---|
//! | `group.rs` | the two groups in which such keys live |
//! | `sharing.rs` | a shared key: its public record, and one holder's share |
//! | `reshare.rs` | handing a key to another set with another threshold |
//! | `sign.rs` | signing with it: FROST |
//! | `sr25519.rs` | FROST with schnorrkel's challenge |
//!
//! What a stable key costs: unlike an era's root it does not end. Whoever gathers a threshold of shares of *any one* set, then or later,
//! signs as the contract for ever; resharing makes shares of two sets useless together, and relies on old holders to drop theirs.
//!
//! Guarantees: sans-IO, deterministic given entropy; each misbehaviour that can be shown names its holder. Peers and hosts control
//! every message; only `verify_*` make facts of them.
//!
//! `[not yet]`: generating such a key without a dealer; and anything that says what may be signed - see [`Authorised`].

mod group;
mod reshare;
mod sharing;
mod sign;
mod sr25519;
#[cfg(test)]
mod tests;

pub use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint};
pub use group::{Group, Scheme};
pub use reshare::{
    Accepted, DealerFault, Dealing, Package, ReshareError, Resharing, Session, SubShare, VerifiedPackage,
    VerifiedSubShare,
};
pub use sharing::{open_share, verify_key_record, IdentityShare, KeyRecord, RecordError, ShareError};
pub use sign::{aggregate, Authorised, NonceCommitments, Nonces, PartialSignature, SignError, Signer, Signs};
pub use sr25519::Schnorrkel;
