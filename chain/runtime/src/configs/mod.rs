//! How each pallet is configured, by topic.
//!
//! The constants here are consensus rules. Whatever bounds the work of a block is stated with what it bounds.

pub mod consensus;
pub mod eras;
pub mod filter;
pub mod funds;
pub mod gatekeepers;
pub mod governance;
pub mod phala;
pub mod staking;
pub mod system;
