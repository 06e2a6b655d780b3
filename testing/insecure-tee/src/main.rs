//! Simulates a TDX machine: INSECURE, never shipped.
//!
//! Serves the file protocol of `phala_insecure_tee::InsecureTee` in a directory until it is killed. Logs go to stderr;
//! `--print-development-root` and `--print-measurement` write to stdout and exit.

#![forbid(unsafe_code)]

use std::{
    io::Write,
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::Parser;
use phala_insecure_tee::{development_root_der, InsecureMachine, InsecureTee};

/// INSECURE: simulates a TDX machine for development. Its keys are public; its evidence proves nothing.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Directory to serve in, made if it does not exist; one simulator per directory
    #[arg(long, required_unless_present_any = ["print_development_root", "print_measurement"])]
    dir: Option<PathBuf>,
    /// File whose SHA-384 goes into RTMR3: the program that the simulated machine claims to run
    #[arg(long, value_name = "BINARY", required_unless_present = "print_development_root")]
    measure: Option<PathBuf>,
    /// Name of the simulated machine; its hardware id follows from it
    #[arg(long, value_name = "NAME", default_value = "insecure-machine")]
    machine: String,
    /// INSECURE: seconds that are added to the clock by which collateral is dated, to see what becomes of a network whose
    /// collateral ends
    #[arg(
        long,
        value_name = "SECONDS",
        env = "PHALA_INSECURE_CLOCK_OFFSET",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    clock_offset: i64,
    /// Writes the measurement that BINARY has on every simulated machine, in hexadecimal, and exits
    #[arg(long)]
    print_measurement: bool,
    /// Writes the DER of the development root's certificate and exits
    #[arg(long)]
    print_development_root: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.print_development_root {
        return std::io::stdout().write_all(&development_root_der()?).context("cannot write to stdout");
    }
    let binary = options.measure.context("--measure is needed")?;
    let bytes =
        std::fs::read(&binary).with_context(|| format!("cannot read {}, the file to measure", binary.display()))?;
    let offset = options.clock_offset;
    let clock = move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        now.saturating_add_signed(offset)
    };
    let machine = InsecureMachine::new(&options.machine, &bytes, clock())?;
    // Tens of megabytes, which the process would otherwise hold as long as it serves.
    drop(bytes);
    let measurement = hex::encode(machine.measurement());
    if options.print_measurement {
        println!("{measurement}");
        return Ok(());
    }
    let directory = options.dir.context("--dir is needed")?;
    let mut tee = InsecureTee::new(&directory, machine)?;
    eprintln!("INSECURE: SIMULATED TEE. ITS KEYS ARE PUBLIC, NOTHING IT SIGNS IS TRUE, NOTHING IT SEALS IS SECRET.");
    eprintln!(
        "INSECURE: machine {:?} measures {} as {measurement}, serving in {}",
        options.machine,
        binary.display(),
        directory.display()
    );
    if offset != 0 {
        eprintln!("INSECURE: collateral is dated by a clock that is moved by {offset} s");
    }
    tee.run_renewing(&AtomicBool::new(false), &clock, &mut |message| eprintln!("{message}"));
    Ok(())
}
