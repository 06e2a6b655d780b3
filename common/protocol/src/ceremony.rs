//! How a set of gatekeepers makes the keys of an era, its root and its beacon's: what the chain keeps of a ceremony, what its seats sign, how their sealed
//! messages travel, and the rules by which the chain referees.
//!
//! One attempt is a joint Feldman key generation (Pedersen, EUROCRYPT 1991; with proofs of possession as in FROST, section 5 of
//! Komlo and Goldberg, 2020) with the chain as its broadcast channel:
//!
//! 1. `Commit`: each seat puts the hash of its package (commitment and proof) on chain. Bytes of packages are sent, sealed, only
//!    when all hashes stand: nobody chooses a polynomial after having seen another's.
//! 2. `Share`: each dealer sends each seat its share, sealed. A seat that has a valid share of every dealer confirms; one that lacks
//!    a dealer's complains.
//! 3. `Deliver`: an accused dealer puts package and share on chain, sealed to the accuser. Whoever takes it confirms; one to whom it
//!    does not open, or gives no valid share, disputes it.
//! 4. `Settle`: a dealer whose delivery is disputed publishes the one share in question, and its package; seats that take it confirm,
//!    and all reject a dealer whose answer does not fit its package, or whose package is none.
//!
//! Each dealer deals two polynomials, one for the root and one for the beacon: a package is the two packages one after the other, what is
//! sealed as a share is two scalars, and what is wrong with one of them is wrong with the dealer. Both keys are made when every seat that
//! takes part confirmed the same share list and the same beacon record. Otherwise whoever did not deliver, answer or confirm,
//! or was rejected by a threshold is left out of the next attempt, whose polynomials are fresh; whoever could not confirm because a
//! dealer that is left out owes it a share is not. The threshold counts all elected seats, not those that take part. Attempts of one
//! era are numbered on when a ceremony was cancelled, so that the first of a ceremony need not be 0.
//!
//! Within [`LAST_CALL_BLOCKS`] of the end of `Share` a seat complains of what is still missing. Deliveries and answers are taken before
//! the last call of their phase only, so that whoever finds one wrong can still say so. What stands on chain beside a statement
//! ([`Attachment`]) is proved by a hash in the record: a seat takes it from whoever has it, and every node has its blocks.
//!
//! Why nothing leaks. A parcel that was lost is nobody's fault, and its recipient complains; were shares published for that, whoever
//! could drop parcels would have the root. What an honest dealer delivers on chain opens for the accuser, under the key that the
//! accuser named, and is what it owes. So no honest seat disputes it - one whose host keeps the chain from it says nothing - and an
//! answer in public is of a pair of which one lies: the accuser, who knew the share, or the dealer. So `t-1` seats that lie, with
//! all that was ever published, know `t-1` points of an honest dealer's polynomial of degree `t-1`, whatever was dropped.
//!
//! Commitments of the root are not public (a later quantum adversary would invert them), but for those of dealers whom a lying seat disputes: it
//! has them, and could publish them itself. Public shares follow from the packages of all dealers only.
//!
//! | file | what |
//! |---|---|
//! | `record.rs` | what the chain keeps |
//! | `message.rs` | what seats sign, and what they send each other |
//! | `receiving.rs` | the keys that they receive under, each for one attempt |
//! | `said.rs` | what is said, in this ceremony and in that of identities |
//! | `taking.rs`, `complaints.rs` | which statements are taken, in both, and what they are worth |
//! | `rules.rs` | who speaks in this one |
//! | `verdict.rs` | what a phase's end leads to, who is at fault, and why a ceremony ends |
//!
//! Guarantees: the rules are functions of the record alone, the same wherever a record is judged. Everything here
//! is an allegation until the finalised chain or the seat's own check confirms it.

pub(crate) mod complaints;
mod message;
mod receiving;
mod record;
mod rules;
mod said;
pub(crate) mod taking;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;

pub use message::{
    delivery_hash, package_hash, Attachment, Introduction, Parcel, ParcelHeader, ParcelKind, SignedStatement,
    Statement, MAX_ATTACHMENT_BYTES,
};
pub use receiving::{AnnouncedKey, CeremonyAttempt, CeremonyKind};
pub use record::{CeremonyRecord, Complaint, Confirmed, Fault, Phase, SeatRecord};
pub use rules::take;
pub use said::Said;
pub use taking::{Circumstances, Refused};
pub use verdict::{agreed, end_phase, faults, is_complete, Ended, Next, Reason};

use crate::ids::BlockNumber;

/// Seats of one root at most.
pub const MAX_SEATS: usize = 100;

/// Shares that open a root of `seats` elected seats: `floor(2n/3) + 1`, GRANDPA's own threshold.
pub const fn threshold_of(seats: usize) -> usize {
    seats * 2 / 3 + 1
}

/// Seats of `seats` that may fail or lie without stopping a ceremony: `n - t`.
pub const fn tolerated(seats: usize) -> usize {
    seats.saturating_sub(threshold_of(seats))
}

/// The last blocks of a phase. Before them a seat waits for what is on its way; in them it says what is missing. One minute:
/// enough for a statement to be made at a finalised head that is some blocks behind, and to be included.
pub const LAST_CALL_BLOCKS: BlockNumber = 10;

/// Blocks that the phases in which something may be missing, all but `Commit`, take at least: as many before their last call as in it.
/// With fewer nothing would be delivered or answered, and an attempt with a complaint would never make a root.
pub const LEAST_PHASE_BLOCKS: BlockNumber = 2 * LAST_CALL_BLOCKS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_is_more_than_two_thirds_of_the_seats() {
        for seats in 1..=MAX_SEATS {
            let threshold = threshold_of(seats);
            assert!(3 * threshold > 2 * seats && 3 * (threshold - 1) <= 2 * seats);
            assert_eq!(tolerated(seats) + threshold, seats);
        }
    }
}
