//! The cases of all pallets, and the functions that have none.

mod attestation;
mod beacon;
mod contracts;
mod egress;
mod fines;
mod gatekeepers;
mod heartbeats;
mod inbox;
mod slashes;

use crate::case::Case;

/// Functions that keep an estimate, each with the reason.
pub(crate) const ESTIMATED: &[(&str, &str, &str)] = &[
    ("gatekeepers", "idle", "three reads, too little to be told from a block that begins"),
    ("gatekeepers", "advance", "ends each phase of two ceremonies, of which each does something else"),
    ("gatekeepers", "take", "runs inside of staking's election"),
    ("beacon", "idle", "one read, too little to be told from a block that begins"),
    ("heartbeats", "idle", "three reads, too little to be told from a block that begins"),
];

pub(crate) fn all() -> Vec<Case> {
    [
        attestation::cases(),
        inbox::cases(),
        contracts::cases(),
        gatekeepers::cases(),
        fines::cases(),
        slashes::cases(),
        beacon::cases(),
        egress::cases(),
        heartbeats::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
