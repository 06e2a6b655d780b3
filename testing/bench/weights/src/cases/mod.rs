//! The cases of all pallets, and the functions that have none.

mod attestation;
mod beacon;
mod contracts;
mod egress;
mod gatekeepers;
mod heartbeats;
mod inbox;

use crate::case::Case;

/// Functions that keep an estimate, each with the reason.
pub(crate) const ESTIMATED: &[(&str, &str, &str)] = &[
    ("gatekeepers", "idle", "three reads, too little to be told from a block that begins"),
    ("gatekeepers", "report", "a slash through staking, with as many nominators as an exposure's page has"),
    ("gatekeepers", "advance", "as many such slashes as seats are convicted or fined"),
    ("gatekeepers", "silence", "a fine of a stake through staking, for each seat that is silent"),
    ("gatekeepers", "take", "runs inside of staking's election"),
    ("gatekeepers", "show", "the record of a ceremony of identities that its holders confirmed"),
    ("egress", "attach_signature", "a signature by a contract's key under identities that were made"),
    ("beacon", "idle", "one read, too little to be told from a block that begins"),
    ("heartbeats", "idle", "three reads, too little to be told from a block that begins"),
];

pub(crate) fn all() -> Vec<Case> {
    [
        attestation::cases(),
        inbox::cases(),
        contracts::cases(),
        gatekeepers::cases(),
        beacon::cases(),
        egress::cases(),
        heartbeats::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
