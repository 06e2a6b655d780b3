//! `phala brake`, as clap reads it.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `phala brake`.
#[derive(Debug, Subcommand)]
pub enum BrakeCommand {
    /// Show who is suspended or revoked, whether the brake may hold now, and whose hands are on it
    Status,
    /// Join gatekeepers' parts of a suspension into one call and submit it
    Pull(BrakePullArgs),
    /// Vote for a committee that may suspend, as a validator whose gatekeeper has a seat of the root that answers
    Elect {
        /// Its three to seven members: names, addresses, or 0x and 64 digits; none votes for having no committee
        #[arg(value_name = "MEMBER")]
        members: Vec<String>,
        /// The validator
        #[arg(long)]
        from: String,
    },
}

/// `phala brake pull`.
#[derive(Clone, Debug, Args)]
pub struct BrakePullArgs {
    /// What `phala gatekeeper suspend --out` wrote, of as many seats as can withhold a key: n-t+1
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Who submits it and pays the fee: anyone may
    #[arg(long)]
    pub from: String,
}
