//! Ceremonies of identities and signing sessions in a hostile network, after a root is recorded: INSECURE, never shipped.
//!
//! ```text
//! follow(ran) --> the seats of the root make the keys --> another set takes them over --> another one ...
//!                 Chain (the rules of phala_protocol::identities, which the pallet applies), a Machine for each member that there is
//!                 (the real Dealer, Holder and Custody), a network that drops, delays, reorders and repeats, and liars
//!             --> after each record, now and then, a signing session of those who hold the keys
//! ```
//! For the first attempts of each set the network is a storm, as in ceremonies of roots: machines crash and start from what they sealed, sometimes long
//! ago; of one set in three the network is cut in two; governance cancels, and another set is elected; hosts of former holders put old shares back. Then it is calm, and the liars are not. Of
//! those who deal and those who receive as many lie as may; in some ceremonies more do, fewer than a threshold of either.
//!
//! | file | what |
//! |---|---|
//! | `chain.rs` | the chain's part |
//! | `machine.rs` | a gatekeeper: custody, dealer, holder, disk |
//! | `lies.rs` | what a liar says and sends |
//! | `life.rs` | the network, block by block; `life/cut.rs` where it is cut in two, `life/judge.rs` what is looked at |
//! | `checks.rs` | what must hold after each block, by name |
//! | `signing.rs` | signing sessions, and which nonces were used for what |
//!
//! Guarantees: equal seeds end equally, in the same trace hash. Does not: simulate finality, proofs or forks of the chain on which the ceremonies
//! are, registrations that lapse meanwhile, or what the pallet adds to the rules: evidence, punishments, fees.

pub mod chain;
pub mod checks;
pub mod lies;
mod life;
mod machine;
pub mod signing;

use crate::{
    invariants::Violation,
    members::Members,
    random::Random,
    world::{Counts, Ran},
};
use phala_protocol::{identities::IdentityRecord, Hash, WorkerId};

/// After one of so many roots identities are made.
pub const ONE_OF: u32 = 3;
/// Tells the stream of chance apart from that of the root's ceremony.
const SALT: u64 = 0x6964_656e_7469_7479;

/// How the life of a network's identities went.
pub struct Lived {
    /// Hash over everything that happened.
    pub trace: Hash,
    /// The last record, if the keys were made.
    pub record: Option<IdentityRecord>,
    /// INSECURE: the shares of it.
    pub sharing: Option<checks::Sharing>,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened how often.
    pub counts: Counts,
}

/// What comes after a root: its seats make identities, and others take them over, if there is a root and chance will.
pub fn follow(members: &Members, seed: u64, ran: &Ran) -> Option<Lived> {
    let root = ran.root.as_ref()?;
    (Random::new(seed ^ SALT).below(ONE_OF) == 0).then(|| live(members, seed, &root.seats))
}

/// The gatekeepers `first` make identities, and others take them over.
pub fn live(members: &Members, seed: u64, first: &[WorkerId]) -> Lived {
    life::live(members, Random::new(seed ^ SALT).number(), first)
}
