//! Gives users and operators the `phala` command.
//!
//! Data goes to standard output and logs to standard error; `--json` makes the data JSON. A failure has a code of the closed list in
//! SPECIFICATION.md, and the process exits with the code's class. Users control the arguments, nodes and workers what is shown of
//! them; what decides is verified by `phala-client`. Does not do: hold a network's secrets, or run inside a TEE.
#![forbid(unsafe_code)]

mod accounts;
mod args;
mod commands;
mod dev;
mod error;
mod evidence;
mod home;
mod machine;
mod network;
mod output;
mod pending;
mod roots;
mod sessions;
mod suspension;
mod values;

use clap::{error::ErrorKind, Parser};
use error::{CliError, Code};
use std::{borrow::Cow, process::ExitCode};
use tokio::{
    runtime::Runtime,
    signal::unix::{signal, SignalKind},
};

fn main() -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error, json),
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("PHALA_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual_filter(&cli.command))),
        )
        .with_writer(|| output::Log)
        .with_ansi(false)
        // On a full disk a line of the log is lost, and nothing else is: the library would complain by a print that panics.
        .log_internal_errors(false)
        .try_init();
    let output = output::Output::new(cli.global.json);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: args::Cli, output: &output::Output) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Code::Environment, format!("cannot start: {error}")))?;
    survive_file_size_limit(&runtime)
        .map_err(|error| CliError::new(Code::Environment, format!("cannot listen to signals: {error}")))?;
    let result = runtime.block_on(commands::run(cli, output));
    // A blocking task that still runs - a prompt, a slow name service - must not hold the process.
    runtime.shutdown_background();
    result
}

/// Makes a write beyond the file-size limit (`RLIMIT_FSIZE`) an error of that write. By default the kernel ends the process with this
/// signal.
fn survive_file_size_limit(runtime: &Runtime) -> std::io::Result<()> {
    let _inside = runtime.enter();
    // Linux numbers it 25 on x86, Arm and RISC-V. What handles it stays for the life of the process.
    signal(SignalKind::from_raw(25)).map(drop)
}

/// What is logged when `PHALA_LOG` does not say: a relayer's work is its log.
fn usual_filter(command: &args::Command) -> &'static str {
    match command {
        args::Command::Relayer(_) => "info",
        _ => "warn",
    }
}

/// Whether text has what [`output::printable`] escapes.
fn commands_terminal(text: &str) -> bool {
    matches!(output::printable(text), Cow::Owned(_))
}

/// Help and version are answers, the rest is a wrong command line.
fn misused(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.render().to_string();
        let said =
            text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).filter(|line| !line.is_empty());
        let message = said.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let failure = CliError::new(Code::Usage, message).with_hint("`phala --help` shows what there is");
        output::Output::new(true).error(&failure);
    } else if std::env::args_os().any(|argument| commands_terminal(&argument.to_string_lossy())) {
        output::note(error.render().to_string().trim_end());
    } else {
        let _ = error.print();
    }
    ExitCode::from(Code::Usage.exit_code())
}
