//! `phala gatekeeper`, as clap reads it.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `phala gatekeeper`.
#[derive(Debug, Subcommand)]
pub enum GatekeeperCommand {
    /// Show the root that answers, the one that comes, the ceremony under way, and which validator has which gatekeeper
    Status,
    /// Bind a registered gatekeeper to the validator that its evidence names as operator
    RegisterSeat {
        /// The gatekeeper's identity: 0x and 64 digits
        identity: String,
        /// The validator's account, which the evidence names
        #[arg(long)]
        from: String,
    },
    /// Start the ceremony that makes the next era's root, by the sudo key of a development chain
    Start {
        /// Identities of four gatekeepers or more, each bound to a validator, in the order of their seats
        #[arg(required = true, value_name = "IDENTITY")]
        identities: Vec<String>,
        /// INSECURE: the account with the sudo key
        #[arg(long, default_value = "alice")]
        from: String,
    },
    /// Write down what a node shows of a ceremony, for anybody to check
    Transcript(TranscriptArgs),
    /// Check a transcript of a ceremony, and print what it shows
    VerifyTranscript(VerifyTranscriptArgs),
}

/// `phala gatekeeper transcript`.
#[derive(Clone, Debug, Args)]
pub struct TranscriptArgs {
    /// The era whose root it made or was to make [default: that of the newest ceremony that is found]
    #[arg(long)]
    pub era: Option<u32>,
    /// One attempt alone, and what it led to [default: all attempts of the ceremony]
    #[arg(long)]
    pub attempt: Option<u32>,
    /// The newest block to look at; ceremonies are looked for from there backwards [default: the newest finalised one]
    #[arg(long, value_name = "BLOCK")]
    pub before: Option<u32>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// `phala gatekeeper verify-transcript`.
#[derive(Clone, Debug, Args)]
pub struct VerifyTranscriptArgs {
    /// The transcript
    pub file: PathBuf,
    /// Genesis hash of the chain that it has to be of [default: that of the network's file]
    #[arg(long, value_name = "0xHASH")]
    pub genesis: Option<String>,
}
