//! Identities of contracts: what the chain keeps of the two keys that they all follow from, and how a set of gatekeepers makes these keys
//! or takes them over from the set before.
//!
//! The network has one key for Ed25519 and one for sr25519. A contract's key is such a key and a public offset
//! ([`derivation_offset`]), which every holder adds to its share by itself: however many contracts there are, two keys change hands. That an
//! offset is public costs nothing, because nobody has the key that it is added to.
//!
//! One attempt is a ceremony as that of the root ([`crate::ceremony`]), with its phases, its sealed deliveries, its disputes, and the same
//! reasons why nothing leaks. It differs in who speaks. *Dealers* deal one polynomial for each of the two keys, and *holders* get shares
//! of them:
//!
//! - Keys are made once, by the seats of a root, when governance says so. They are dealers and holders. Each dealer chooses
//!   the constant terms, proves that it knows them, and the keys are the sums (Pedersen, EUROCRYPT 1991; Komlo and Goldberg, 2020).
//! - Keys are handed over to each later set. Dealers are those who hold them, and their constant terms are their shares (Desmedt and
//!   Jajodia 1997; Wong, Wang and Wing 2002), which everyone compares with the public shares of the record. So the keys stay.
//!
//! In both, the dealers of lowest indices among those that committed deal, as many as it takes: the threshold of those who hold the keys, or of
//! the seats that make them. One of them is honest while fewer than a threshold are not, and its polynomials are
//! random beside their constant term: so whoever breaks too few of one set and too few of another has nothing.
//!
//! 1. `Commit`: dealers put hashes of their packages on chain. With fewer than it takes, the phase begins again as another attempt.
//! 2. `Share`: each dealer that deals sends each holder its shares and its package, sealed. A holder that has all confirms the hash of the
//!    [`IdentityRecord`] that follows from the packages; one that lacks a dealer's complains.
//! 3. `Deliver`, 4. `Settle`: as in the ceremony of the root. A dealer answers in public at most [`crate::ceremony::tolerated`] disputes of
//!    an attempt, and the chain takes no more of them, however many polynomials' values that would be.
//!
//! When all holders that take part confirmed one hash, anyone shows the chain the record with that hash. With it the new set holds the keys,
//! and not before: until then the holders before keep their shares, use them, and deal in as many attempts as it takes. Otherwise
//! whoever is at fault, dealer or holder, is left out of the next attempt, whose polynomials are fresh. Each attempt
//! leaves out somebody, or takes back those that were absent, [`MOST_READMISSIONS`] times: then the ceremony is given up, and the keys stay
//! where they are until another one.
//!
//! What is sealed in a parcel is two scalars, of Ed25519 and of sr25519, then the package: for each of the two keys the commitments,
//! and of keys that are made a proof of possession each.
//!
//! | file | what |
//! |---|---|
//! | `key.rs` | the record of identities, and a contract's offset |
//! | `message.rs` | what dealers and holders sign |
//! | `record.rs` | what the chain keeps of a ceremony |
//! | `rules.rs` | who speaks, and which record the ceremony ends with |
//! | `signing.rs` | what holders say when they sign as a contract, and the signature |
//! | `verdict.rs` | what a phase's end leads to, and who is at fault |
//!
//! Guarantees: what is here are functions of their arguments alone, the same wherever a record is judged. Everything is an
//! allegation until the finalised chain or the holder's own check confirms it.

mod key;
mod message;
mod record;
mod rules;
pub mod signing;
mod verdict;

pub use key::{derivation_offset, IdentityHolder, IdentityPoints, IdentityRecord, Scheme};
pub use message::{dealing_hash, IdentityStatement, SignedIdentityStatement};
pub use record::{DealerRecord, HolderRecord, IdentityCeremonyRecord};
pub use rules::{show, take, NotShown};
pub use verdict::{agreed, end_phase, faults, is_complete, Faults, IdentityEnded, IdentityNext};

/// Times that a ceremony takes back those that were absent, dealers or holders, because too few were left or an attempt left out nobody. Then
/// it is given up.
pub const MOST_READMISSIONS: u16 = 5;
