//! `phala beacon`, as clap reads it.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `phala beacon`.
#[derive(Debug, Subcommand)]
pub enum BeaconCommand {
    /// Show the newest value, checked from the genesis on, and say what is trusted
    Latest {
        /// Write down what shows it, for anybody to check offline
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Check a file that `phala beacon latest --output` wrote, offline, against a pinned genesis
    Verify(BeaconVerifyArgs),
}

/// `phala beacon verify`.
#[derive(Clone, Debug, Args)]
pub struct BeaconVerifyArgs {
    /// What shows a value
    pub file: PathBuf,
    /// Genesis hash of the chain that it has to be of [default: that of the network's file]
    #[arg(long, value_name = "0xHASH")]
    pub genesis: Option<String>,
}
