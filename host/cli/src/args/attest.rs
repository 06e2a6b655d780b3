//! The arguments of `phala attest` and `phala worker check`.

use crate::evidence::{self, RootArgument};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `phala attest`.
#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Print every field of a quote, and judge none
    Show {
        /// A quote as bytes or hexadecimal, or evidence as a worker shows it
        file: PathBuf,
        /// The event log of the machine, as in /sys/firmware/acpi/tables/data/CCEL: show its events, and whether they lead to the registers
        #[arg(long, value_name = "FILE")]
        event_log: Option<PathBuf>,
    },
    /// Compute the measurement that the allow-list names, from the fields of a launch
    Measurement {
        /// What `attest show --json` prints, or an object with its names and values in hexadecimal
        file: PathBuf,
    },
    /// Compute the measurement that the allow-list names, from what an SGX enclave's signer signed: no machine with SGX is needed
    Enclave(AttestEnclaveArgs),
    /// Compute what a TDX machine measures that starts from these files, and say what of it rests on whose word
    Image(AttestImageArgs),
    /// Verify a quote by collateral at a time, and print every check with what it looked at
    Verify(AttestVerifyArgs),
    /// What Intel signs about its platforms, and evidence is verified with
    #[command(subcommand)]
    Collateral(CollateralCommand),
}

/// `phala attest enclave`.
#[derive(Clone, Debug, Args)]
pub struct AttestEnclaveArgs {
    /// The SIGSTRUCT, 1808 bytes: what gramine-sgx-sign writes with the ending .sig
    #[arg(long, value_name = "FILE")]
    pub sigstruct: PathBuf,
    /// CONFIGID, which whoever launches an enclave with KSS chooses
    #[arg(long, value_name = "HEX", value_parser = bytes::<64>, requires = "config_svn")]
    pub config_id: Option<[u8; 64]>,
    /// CONFIGSVN, chosen with it
    #[arg(long, value_name = "NUMBER", requires = "config_id")]
    pub config_svn: Option<u16>,
}

/// In which order a hypervisor adds and extends pages, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageOrderArgument {
    /// Each page is added, then extended: Linux 6.16 and newer
    Interleaved,
    /// All pages of a section are added, then all are extended: hypervisors from before
    TwoPass,
}

/// `phala attest image`.
#[derive(Clone, Debug, Args)]
pub struct AttestImageArgs {
    /// The firmware, whole: OVMF that is built for TDX
    #[arg(long, value_name = "FILE")]
    pub firmware: PathBuf,
    /// The disk that the machine starts from: for RTMR1 and RTMR2
    #[arg(long, value_name = "FILE", conflicts_with = "uki")]
    pub image: Option<PathBuf>,
    /// The unified kernel image alone: for RTMR2; RTMR1 has the disk's partition table too
    #[arg(long, value_name = "FILE")]
    pub uki: Option<PathBuf>,
    /// The machine's memory, such as 16G, as QEMU's -m has it: for the memory map in RTMR0
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
    /// In which order the hypervisor adds and extends the pages of the firmware
    #[arg(long, value_enum, default_value_t = PageOrderArgument::Interleaved)]
    pub page_order: PageOrderArgument,
    /// The event log of a machine that started so, as in /sys/firmware/acpi/tables/data/CCEL: RTMR0 is taken from it, and what is computed has to
    /// be in it
    #[arg(long, value_name = "FILE", requires = "memory", conflicts_with = "rtmr0")]
    pub event_log: Option<PathBuf>,
    /// RTMR0, on your word
    #[arg(long, value_name = "HEX", value_parser = bytes::<48>)]
    pub rtmr0: Option<[u8; 48]>,
    /// TDATTRIBUTES [default: those of deploy/tdx/run, SEPT_VE_DISABLE and no other]
    #[arg(long, value_name = "HEX", value_parser = bytes::<8>, default_value = "0000001000000000", hide_default_value = true)]
    pub td_attributes: [u8; 8],
    /// XFAM of the machine's generation of processors: `td.xfam` of `attest show`
    #[arg(long, value_name = "HEX", value_parser = bytes::<8>)]
    pub xfam: Option<[u8; 8]>,
    /// MRCONFIGID [default: zeros, as of deploy/tdx/run]
    #[arg(long, value_name = "HEX", value_parser = bytes::<48>)]
    pub mr_config_id: Option<[u8; 48]>,
}

/// A number of bytes as QEMU's `-m` has it.
fn memory(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['G', 'g']) {
        Some(number) => (number, 1 << 30),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1 << 20),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| (1..1 << 46).contains(bytes))
        .ok_or_else(|| "no size of memory such as 16G or 2048M".to_owned())
}

/// Exactly so many bytes in hexadecimal.
fn bytes<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], String> {
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|error| format!("not {LENGTH} bytes in hexadecimal: {error}"))?;
    Ok(bytes)
}

/// `phala attest verify`.
#[derive(Clone, Debug, Args)]
pub struct AttestVerifyArgs {
    /// A quote as bytes or hexadecimal, or evidence as a worker shows it
    pub file: PathBuf,
    /// Collateral: SCALE as a relayer takes it, or JSON
    #[arg(long, value_name = "FILE")]
    pub collateral: PathBuf,
    /// At which time: `now`, Unix seconds, or such as 2025-06-20T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = evidence::time)]
    pub at: u64,
    /// Which root has to have certified the machine
    #[arg(long, value_enum, default_value_t = RootArgument::Intel)]
    pub root: RootArgument,
    /// A status that passes beside UpToDate, as Intel names it, such as SWHardeningNeeded; can be repeated
    #[arg(long, value_name = "STATUS")]
    pub accept: Vec<String>,
    /// The event log of the machine, as in /sys/firmware/acpi/tables/data/CCEL: its events have to lead to the registers
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    /// Exit with 0 also when the evidence is simulated, which proves nothing
    #[arg(long)]
    pub allow_simulated: bool,
}

/// `phala attest collateral`.
#[derive(Debug, Subcommand)]
pub enum CollateralCommand {
    /// Fetch collateral from a service that answers as Intel's PCCS does, check it, and write it to a file
    Fetch(CollateralFetchArgs),
    /// Check collateral, and submit it to the chain, if it is newer than what is there
    Import {
        /// SCALE as a relayer takes it, or JSON
        file: PathBuf,
        /// Who submits and pays
        #[arg(long)]
        from: String,
    },
}

/// `phala attest collateral fetch`.
#[derive(Clone, Debug, Args)]
pub struct CollateralFetchArgs {
    /// The service: Intel's, which is https://api.trustedservices.intel.com, or a PCCS such as https://127.0.0.1:8081. All it gives is
    /// signed by Intel and verified here, so it is not trusted, and http:// will do
    #[arg(long, value_name = "URL")]
    pub pccs: String,
    /// PEM of the only certificate authorities that may vouch for an https:// service, such as that of a PCCS with a private certificate
    /// [default: those that the operating system trusts]
    #[arg(long, value_name = "FILE")]
    pub ca_certificate: Option<PathBuf>,
    /// The platform's model, 12 hexadecimal digits: `pck.fmspc` of `attest show`
    #[arg(long, value_name = "HEX", value_parser = fmspc)]
    pub fmspc: String,
    /// The authority that certifies the processor: `platform` for servers with several sockets
    #[arg(long, value_parser = ["platform", "processor"])]
    pub ca: String,
    /// The technology
    #[arg(long, default_value = "tdx", value_parser = ["tdx", "sgx"])]
    pub tee: String,
    /// Write SCALE, as a relayer takes it, here
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

fn fmspc(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| text.to_ascii_uppercase()).ok_or_else(|| "not 12 hexadecimal digits".to_owned())
}

/// `phala worker check`.
#[derive(Clone, Debug, Args)]
pub struct WorkerCheckArgs {
    /// The root of the file system to look at
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Collateral for this machine's model: also says how Intel judges its security versions, and which confidence level follows: by
    /// the rules of the network that --network or PHALA_NETWORK names, or by those that a network begins with
    #[arg(long, value_name = "FILE")]
    pub collateral: Option<PathBuf>,
    /// A quote that this machine made, instead of asking it for one
    #[arg(long, value_name = "FILE", requires = "collateral")]
    pub quote: Option<PathBuf>,
    /// Judge the quote at this time: `now`, Unix seconds, or such as 2025-06-20T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = evidence::time)]
    pub at: u64,
}
