//! Arguments of the binary. The operator controls all of them; none is secret, and none is believed beyond what the chain confirms.

use crate::failure::StartFailure;
use clap::{Args, Parser, Subcommand, ValueEnum};
use codec::DecodeAll;
use phala_protocol::{attestation::Role, finality::GenesisAnchor, limits, AccountId, Hash};
use std::{
    ffi::OsString,
    io::Read,
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
    /// Run with the arguments that follow, and those that a file adds: for a measured command line that an operator completes
    RunFrom(RunFromArguments),
    /// Print the measurement that this machine's evidence claims, and end
    Measurement(MachineArguments),
    /// Print evidence about this machine in hexadecimal, over report data of zeros, and end
    Evidence(MachineArguments),
}

#[derive(Args)]
pub(crate) struct RunFromArguments {
    /// File with one `--name=value` a line, in the operator's hands; `#` begins a comment
    pub file: PathBuf,
    /// Arguments of `run` that are fixed: the file cannot give one of them again
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub fixed: Vec<OsString>,
}

impl RunFromArguments {
    /// The whole of it, as if it had been given to `run`.
    pub(crate) fn complete(self) -> Result<RunArguments, StartFailure> {
        let failed = |source| StartFailure::Arguments { path: self.file.clone(), source };
        let mut text = String::new();
        std::fs::File::open(&self.file)
            .and_then(|file| file.take(MAX_ARGUMENTS_BYTES.saturating_add(1)).read_to_string(&mut text))
            .map_err(failed)?;
        // A line that is cut could still be one, and say something else.
        if text.len() as u64 > MAX_ARGUMENTS_BYTES {
            return Err(StartFailure::ArgumentsLength { path: self.file, limit: MAX_ARGUMENTS_BYTES });
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut words: Vec<OsString> = vec!["phala-worker".into(), "run".into()];
        words.extend(self.fixed);
        for line in lines {
            // Nothing but an option with its value: no word that would end them, and none that takes the next line.
            if !line.starts_with("--") || !line.contains('=') {
                return Err(StartFailure::ArgumentsLine { path: self.file, line: line.chars().take(80).collect() });
            }
            words.push(line.into());
        }
        match Arguments::try_parse_from(words)?.command {
            Command::Run(arguments) => Ok(arguments),
            _ => Err(StartFailure::ArgumentsLine { path: self.file, line: String::new() }),
        }
    }
}

/// Bytes of the longest file of arguments.
const MAX_ARGUMENTS_BYTES: u64 = 16 * 1024;

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
    /// Make no seat alone, as a gatekeeper of a development network without a root otherwise does: several gatekeepers make a root together
    #[arg(long)]
    pub without_lone_root: bool,
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
    /// Lay the engine for contracts out as in an SGX enclave wherever this runs: for tests of that. Contracts do the same, and take longer
    #[arg(long)]
    pub compact_engine: bool,
    #[command(flatten)]
    pub machine: MachineArguments,
}

#[derive(Args)]
pub(crate) struct MachineArguments {
    /// Which TEE this process is in; `auto` takes the one that the machine presents, and ends if there is none or more than one
    #[arg(long, value_enum, default_value_t = TeeArgument::Auto)]
    pub tee: TeeArgument,
    /// Report directory of configfs-tsm, instead of the machine's own: a simulator's, for one
    #[arg(long, value_name = "DIR", conflicts_with = "tee")]
    pub tsm: Option<PathBuf>,
    /// File with a sealing key, instead of the one that the TEE serves. Whoever reads the file opens what is sealed: taken on development
    /// networks only
    #[arg(long, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TeeArgument {
    /// The one that is there
    Auto,
    /// An SGX enclave under Gramine
    Sgx,
    /// A TDX virtual machine under Linux
    Tdx,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const FIXED: [&str; 4] = ["--tee=sgx", "--data=/data", "--anchor=/config/anchor.scale", "--role=worker"];

    fn complete(text: &str) -> Result<RunArguments, StartFailure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arguments");
        std::fs::write(&file, text).unwrap();
        let mut words = vec!["phala-worker", "run-from", file.to_str().unwrap()];
        words.extend(FIXED);
        match Arguments::try_parse_from(words).unwrap().command {
            Command::RunFrom(arguments) => arguments.complete(),
            _ => panic!(),
        }
    }

    fn own() -> String {
        format!(
            "# of this operator\n--genesis=0x{}\n\n  --operator=0x{}\n--cluster=3\n",
            "01".repeat(32),
            "02".repeat(32)
        )
    }

    #[test]
    fn a_file_completes_what_is_fixed() {
        let arguments = complete(&own()).unwrap();
        assert_eq!((arguments.genesis.0, arguments.operator.0 .0, arguments.cluster), ([1; 32], [2; 32], 3));
        assert_eq!((arguments.machine.tee, arguments.data), (TeeArgument::Sgx, PathBuf::from("/data")));
    }

    #[test]
    fn a_file_changes_nothing_that_is_fixed_and_holds_options_only() {
        for line in ["--tee=tdx", "--data=/tmp", "--role=gatekeeper", "--tsm=/tmp", "--no-such=1"] {
            assert!(matches!(complete(&(own() + line)), Err(StartFailure::Usage(_))), "{line}");
        }
        for line in ["--", "--cluster", "measurement", "=x", "-h", "--help", "--data /tmp"] {
            assert!(matches!(complete(&(own() + line)), Err(StartFailure::ArgumentsLine { .. })), "{line}");
        }
        assert!(matches!(complete(""), Err(StartFailure::Usage(_))), "what is needed is still needed");
        assert!(matches!(complete("--help=x"), Err(StartFailure::Usage(_))));
    }

    /// The words of a recipe's command line are read by the program that they start, and fix which machine it believes in.
    #[test]
    fn command_lines_of_the_recipes_fix_the_machine_and_nothing_of_the_operators() {
        let enclave = |manifest: &'static str| -> Vec<&'static str> {
            let (_, array) = manifest.split_once("loader.argv = [").unwrap();
            array.split(']').next().unwrap().split('"').skip(1).step_by(2).collect()
        };
        let worker = enclave(include_str!("../../../deploy/sgx/phala-worker.manifest.template"));
        let gatekeeper = enclave(include_str!("../../../deploy/sgx/phala-gatekeeper.manifest.template"));
        let unit = include_str!("../../../deploy/tdx/mkosi.extra/usr/lib/systemd/system/phala-worker.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let machine: Vec<&str> = line.split_whitespace().collect();
        for (words, tee, role) in [
            (worker, TeeArgument::Sgx, Role::Worker),
            (gatekeeper, TeeArgument::Sgx, Role::Gatekeeper),
            (machine, TeeArgument::Tdx, Role::Worker),
        ] {
            let Command::RunFrom(mut arguments) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
            let folder = tempfile::tempdir().unwrap();
            arguments.file = folder.path().join("worker.args");
            std::fs::write(&arguments.file, own() + "--listen=0.0.0.0:8000\n--operator-listen=0.0.0.0:8001").unwrap();
            let run = arguments.complete().unwrap();
            assert_eq!((run.machine.tee, Role::from(run.role), run.data), (tee, role, PathBuf::from("/data")));
            assert!(run.machine.tsm.is_none() && run.machine.sealing_key.is_none());
        }
    }

    #[test]
    fn a_file_that_is_absent_too_long_or_no_text_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arguments");
        let from = || RunFromArguments { file: file.clone(), fixed: Vec::new() };
        assert!(matches!(from().complete(), Err(StartFailure::Arguments { .. })));
        std::fs::write(&file, [0xff; 4]).unwrap();
        assert!(matches!(from().complete(), Err(StartFailure::Arguments { .. })));
        std::fs::write(&file, own() + &"#".repeat(16 * 1024)).unwrap();
        assert!(matches!(from().complete(), Err(StartFailure::ArgumentsLength { .. })));
    }
}
