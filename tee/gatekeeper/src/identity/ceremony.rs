//! Making the network's two keys, or handing them over, with the chain as referee: what a gatekeeper says and sends as dealer and as holder.
//!
//! The protocol, the chain's part in it, and what it withstands stand in [`phala_protocol::identities`]; what is dealt and why it tells nobody
//! anything beside [`super::Generation`] and [`super::Resharing`]. A gatekeeper has a [`Dealer`], a [`Holder`], or both, for each attempt.
//!
//! ```text
//! parcel  = scalar of Ed25519 (32) | scalar of sr25519 (32) | package
//! package = commitments of Ed25519 | those of sr25519            t points of 32 bytes each, constant terms first
//!           and where keys are made, after each of the two: R (32) | z (32)
//! ```
//!
//! | file | what |
//! |---|---|
//! | `attempt.rs` | one attempt as everyone sees it, and both keys' packages in one |
//! | `dealer.rs` | who deals |
//! | `holder.rs` | who receives |
//! | `stored.rs` | both as they are sealed |
//!
//! Guarantees: sans-IO, and deterministic given seed, shares, records, parcels and entropy.
//! - Two polynomials an attempt and seed, bound to chain, attempt, holders and to what is handed over: a dealer that crashed deals the same
//!   again, and a record of other holders (a fork) gets polynomials that have nothing in common with these.
//! - A package and its shares leave only after the hashes of all that deal stand on chain, sealed to holders whose evidence was verified here,
//!   under keys that they announced for this attempt.
//! - A package is taken only under the hash that the chain holds, shares only if both fit it; whatever else arrives changes nothing. A
//!   record that contradicts an earlier one of the same attempt is refused.
//! - Shares become public only as the answer to a dispute that stands in the record, and to [`phala_protocol::ceremony::tolerated`]
//!   accusers at most, over restarts and forks.
//! - A holder confirms one record in an attempt, which any reader would take as one of two keys, and holds the shares for it.
//!
//! What a host can do to its own seat, and a fork of validators to others, is as in [`crate::dkg`]: an honest dealer or holder is at fault for
//! nothing that hosts drop between machines. Where a dealer's host puts older sealed states back between forks, for each of which `t` validators
//! must collude, the bound on its answers holds for each state: forged disputes then draw its share out, and that of a threshold of such
//! dealers is a key that does not end with its era.
//!
//! Does not do: read the chain, verify storage proofs or evidence, or drop former shares, seeds, values and the key of an attempt: see [`super::Custody`]. Peers control parcels, the host their transport;
//! the records, of ceremony and of identities, must be facts.

mod attempt;
mod dealer;
mod holder;
mod stored;
#[cfg(test)]
mod tests;

pub use dealer::Dealer;
pub use holder::{Holder, Outcome};

use super::DealerFault;
use crate::dkg::ParcelError;
use phala_protocol::{
    ceremony::{Attachment, Fault, Parcel},
    identities::{IdentityCeremonyRecord, SignedIdentityStatement},
    WorkerId,
};

/// What a gatekeeper sees at its finalised head, and what it works with.
pub type View<'a> = crate::View<'a, IdentityCeremonyRecord>;

/// What a dealer or holder says and sends after a look at the chain. Everything in it is repeated in the next turn until the record
/// shows that it arrived.
#[must_use = "a turn that is not sent stalls the attempt"]
#[derive(Default)]
pub struct Turn {
    /// `to_secret_bytes` must be on disk before anything of this turn leaves: so in each turn, until `mark_sealed` says that it is.
    pub seal_first: bool,
    /// To be submitted to the chain, with what stands beside it.
    pub statements: Vec<(SignedIdentityStatement, Option<Attachment>)>,
    /// To be carried to holders.
    pub parcels: Vec<Parcel>,
    /// Holders that must introduce themselves before anything is sealed to them.
    pub strangers: Vec<WorkerId>,
}

/// Why a gatekeeper takes no part, or does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyError {
    /// The record is not of a ceremony that can be run: other numbers of dealers or holders, or another threshold than theirs.
    #[error("record of the ceremony is not one that the rules allow")]
    Unsound,
    /// The record of identities is not the one that is handed over.
    #[error("record of identities is not the one that the ceremony hands over; read both at one head")]
    OtherFormer,
    /// This gatekeeper has no such part in it.
    #[error("this gatekeeper does not deal, or does not receive, in the ceremony")]
    NoSeat,
    /// The dealer has no shares of the keys that are handed over, or others.
    #[error("this gatekeeper has no shares of the keys that are handed over")]
    NoShares,
    /// The record is of another era or attempt than this view: begin that one.
    #[error("record is of another attempt; begin it")]
    OtherAttempt,
    /// It is left out of the attempt.
    #[error("this gatekeeper is left out of the attempt: {0:?}")]
    LeftOut(Fault),
    /// The chain holds another package or another confirmation than this one's: its seed was lost, or sealed by another machine.
    #[error("chain holds what this gatekeeper did not say; its seed is not the one that it began with")]
    Foreign,
    /// The record contradicts an earlier one of the same attempt: one of them is of a fork.
    #[error("record contradicts what was finalised before")]
    Contradiction,
    /// Fewer deal than it takes.
    #[error("fewer deal than it takes; the attempt gives no keys")]
    TooFew,
    /// It stopped on verified input.
    #[error("ceremony failed on verified input; the attempt gives this gatekeeper no shares")]
    Failed,
    /// The sealed bytes are no view of this attempt.
    #[error("sealed state of the ceremony is malformed, or of another attempt")]
    Malformed,
}

/// Why a parcel changed nothing. The fault is the sender's, or of whoever carried it; none of these is a reason to complain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParcelRefusal {
    /// It is of another kind, era or attempt, for another holder, or this gatekeeper's own.
    #[error("parcel is not of this attempt, or not for this holder")]
    WrongAddressee,
    /// The hashes do not stand yet: the sender's head is newer. It sends again.
    #[error("parcel came before all hashes of packages stand")]
    TooEarly,
    /// Its dealer does not deal.
    #[error("parcel is of a dealer that does not deal in the attempt")]
    NoDealer,
    /// Its dealer signed too many that were wrong. What it owes comes on chain, after a complaint.
    #[error("dealer sent too many parcels that were wrong; no more of them are opened")]
    TooManyWrong,
    /// It is not signed by its dealer, or does not open.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// The package is not the one whose hash the chain holds.
    #[error("package is not the one that its dealer committed to")]
    WrongHash,
    /// The dealer committed to bytes that are no package.
    #[error("dealer committed to what is no package: {0}")]
    Package(#[from] DealerFault),
    /// The shares are not this holder's on the dealer's polynomials: of one key, or of both.
    #[error("shares do not fit their dealer's package")]
    WrongShare,
}
