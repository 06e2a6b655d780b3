//! `phala gatekeeper`, as clap reads it.

use clap::{Args, Subcommand};
use phala_attest::Subject;
use phala_protocol::limits::SUSPENSION_SIGNED_AHEAD_BLOCKS;
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
        /// In the place of the gatekeeper that the validator has: from the next election on, and not in seats that it has by then
        #[arg(long)]
        replace: bool,
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
    /// Show who holds the network's identities, from which contracts' addresses elsewhere follow, and the ceremony of them under way
    Identities,
    /// Start the ceremony in which the seats of the root that answers make the identities, or receive those that there are, by the sudo key
    /// of a development chain. Later sets receive them by themselves
    StartIdentities {
        /// INSECURE: the account with the sudo key
        #[arg(long, default_value = "alice")]
        from: String,
    },
    /// Cancel the ceremony of identities under way, by the sudo key of a development chain. Whoever holds them holds them on
    CancelIdentities {
        /// INSECURE: the account with the sudo key
        #[arg(long, default_value = "alice")]
        from: String,
    },
    /// Have your gatekeeper's TEE sign its part of a suspension; `phala brake pull` joins as many as are needed
    Suspend(SuspendArgs),
    /// Write down what a node shows of a ceremony, with proofs as far as it has them, for anybody to check
    Transcript(TranscriptArgs),
    /// Check a transcript of a ceremony offline, and print what it shows and what is proved
    VerifyTranscript(VerifyTranscriptArgs),
}

/// `phala gatekeeper suspend`.
#[derive(Clone, Debug, Args)]
pub struct SuspendArgs {
    /// Whom: vendor:intel-tdx, model:intel-tdx:FMSPC (12 digits), evaluation:intel-tdx:BELOW, or measurement:0x and 64 digits
    #[arg(value_parser = crate::suspension::subject)]
    pub subject: Subject,
    /// Last block in which the chain takes the signature, the same for all seats; how long the suspension lasts is governed
    #[arg(long, value_name = "BLOCK", required_unless_present = "for_blocks", conflicts_with = "for_blocks")]
    pub until: Option<u32>,
    /// The same, as blocks from now on; it prints the block for the other seats to name
    #[arg(long = "for", value_name = "BLOCKS", value_parser = signed_ahead)]
    pub for_blocks: Option<u32>,
    /// Your gatekeeper's operator address, or its name in network.json [default: the only one there, or http://127.0.0.1:8001]
    #[arg(long, value_name = "URL")]
    pub tee: Option<String>,
    /// Write the part to this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

fn signed_ahead(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(blocks @ 1..=SUSPENSION_SIGNED_AHEAD_BLOCKS) => Ok(blocks),
        _ => Err(format!("a number of blocks from 1 to {SUSPENSION_SIGNED_AHEAD_BLOCKS}")),
    }
}

/// `phala gatekeeper transcript`.
#[derive(Clone, Debug, Args)]
pub struct TranscriptArgs {
    /// Of a ceremony in which the network's identities were made or handed over, instead of one of the root
    #[arg(long)]
    pub identities: bool,
    /// The era whose root it made or was to make, or whose set was to receive the identities [default: that of the newest ceremony that is
    /// found]
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
    /// Accept a transcript with records that are not proved: they are a node's word
    #[arg(long)]
    pub allow_unproved: bool,
}
