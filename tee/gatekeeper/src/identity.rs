//! Stable identities of contracts: threshold keys that outlive eras, and never enter a worker.
//!
//! An address on another chain must stay the same when machines and gatekeepers change. A key that workers were given would be known for
//! ever to each machine that once served the contract; so gatekeepers hold it in shares, hand it from set to set, and sign.
//!
//! | file | what |
//! |---|---|
//! | `group.rs` | the two groups in which such keys live |
//! | `sharing.rs` | a shared key: its public record, and one holder's share |
//! | `pair.rs` | the network's two keys together |
//! | `derive.rs` | a contract's key, of the network's |
//! | `dealing.rs` | what dealers send and holders check |
//! | `generate.rs` | making a key without a dealer who knows it |
//! | `reshare.rs` | handing a key to another set with another threshold |
//! | `ceremony.rs` | both by a set of gatekeepers, with the chain as referee |
//! | `custody.rs` | which shares a gatekeeper keeps, and when it drops them |
//! | `sign.rs` | signing with it: FROST |
//! | `sr25519.rs` | FROST with schnorrkel's challenge |
//! | `authorise.rs` | what may be signed as a contract |
//! | `session.rs` | who signs together, and who spoils it |
//!
//! What a stable key costs: unlike an era's root it does not end. Whoever gathers a threshold of shares of *any one* set, then or later,
//! signs as the contract for ever; resharing makes shares of two sets useless together, and relies on old holders to drop theirs.
//!
//! Guarantees: sans-IO, deterministic given entropy; each misbehaviour that can be shown names its holder. Peers and hosts control
//! every message; only `verify_*` make facts of them. The process that takes part, keeps shares and signs is `phala-core`'s
//! (`tee/core/src/gate/{identities,custodian,signing}.rs`).

mod authorise;
pub mod ceremony;
mod custody;
mod dealing;
mod derive;
mod generate;
mod group;
mod pair;
mod reshare;
mod session;
mod sharing;
mod sign;
mod sr25519;
#[cfg(test)]
mod tests;

pub use authorise::{authorising_keys, verify_authorised, Authorised, NotAuthorised};
pub use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint};
pub use custody::{Change, Custody, CustodyError, Held};
pub use dealing::{
    Accepted, DealerFault, Dealing, Package, ReshareError, Session, SubShare, VerifiedPackage, VerifiedSubShare,
};
pub use derive::DeriveError;
pub use generate::{Generation, Possession};
pub use group::{Group, Scheme};
pub use pair::{verify_identities, IdentityKeys, IdentityShares, IDENTITY_SHARE_BYTES};
pub use phala_protocol::identities::signing::{NonceCommitments, PartialSignature};
pub use reshare::Resharing;
pub use session::{BeginError, Sessions, SigningFault, Spoiled, MOST_SESSIONS};
pub use sharing::{open_share, verify_key_record, IdentityShare, KeyRecord, RecordError, ShareError};
pub use sign::{aggregate, Nonces, SignError, Signer, Signs};
pub use sr25519::Schnorrkel;
