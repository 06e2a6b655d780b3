//! Arguments of the binary. The operator controls all of them; none is secret, and none is believed beyond what the chain confirms.

use crate::failure::StartFailure;
use clap::{Args, Parser, Subcommand, ValueEnum};
use codec::DecodeAll;
use phala_protocol::{attestation::Role, finality::GenesisAnchor, limits, AccountId, Hash};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// A worker or gatekeeper of a Phala network: the measured binary.
#[derive(Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run until interrupted
    Run(RunArguments),
    /// Print the measurement that this machine's evidence claims, and end
    Measurement(MachineArguments),
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// What to do in the network; stated in the evidence
    #[arg(long, value_enum)]
    pub role: RoleArgument,
    /// Genesis hash of the chain to follow, 0x and 64 hexadecimal digits
    #[arg(long)]
    pub genesis: Bytes32<Hash>,
    /// File with the genesis header and the proof of its authorities (made when the network is created)
    #[arg(long)]
    pub anchor: PathBuf,
    /// Account of the operator, as 0x and 64 hexadecimal digits
    #[arg(long)]
    pub operator: Bytes32<AccountId>,
    /// Cluster that a worker serves once the chain assigns it
    #[arg(long, default_value_t = 0)]
    pub cluster: u32,
    /// Directory for sealed keys and encrypted state
    #[arg(long)]
    pub data: PathBuf,
    /// Address of the public listener
    #[arg(long, default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Address of the operator's listener; keep it on loopback
    #[arg(long, default_value = "127.0.0.1:8001")]
    pub operator_listen: SocketAddr,
    /// Requests a second that one address may make of the public listener for long
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_second: u32,
    /// Requests that one address may make of the public listener at once
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: u32,
    #[command(flatten)]
    pub machine: MachineArguments,
}

#[derive(Args)]
pub(crate) struct MachineArguments {
    /// Report directory of configfs-tsm
    #[arg(long, default_value = phala_platform::ConfigfsTsm::LINUX)]
    pub tsm: PathBuf,
    /// File with the key that the TEE serves for sealing
    #[arg(long, default_value = "/dev/attestation/keys/_sgx_mrenclave")]
    pub sealing_key: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleArgument {
    /// Executes a cluster's commands
    Worker,
    /// Holds a share of the network's secrets
    Gatekeeper,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Worker => Self::Worker,
            RoleArgument::Gatekeeper => Self::Gatekeeper,
        }
    }
}

/// 32 bytes in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes32<T>(pub T);

impl<T: From<[u8; 32]>> FromStr for Bytes32<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|error| format!("not 32 bytes in hexadecimal: {error}"))?;
        Ok(Self(bytes.into()))
    }
}

/// Reads the genesis anchor; what it says is verified against the pinned hash later.
pub(crate) fn read_anchor(path: &Path) -> Result<GenesisAnchor, StartFailure> {
    let failed = |source| StartFailure::Anchor { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > limits::MAX_STORAGE_PROOF_BYTES as u64 {
        return Err(StartFailure::AnchorMalformed(path.to_owned()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    GenesisAnchor::decode_all(&mut bytes.as_slice()).map_err(|_| StartFailure::AnchorMalformed(path.to_owned()))
}
