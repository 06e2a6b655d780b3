//! The measured binary: a worker or a gatekeeper, by the role that its evidence states.
//!
//! It wires the logic of `phala-core` to a machine (`phala-platform`), a disk and two listeners: one for everybody (`/v1`), one for
//! the operator's relayer. Guarantees: nothing that arrives at either ends the process; nothing secret is logged, served or written
//! unsealed. The host controls arguments, disk, clock and network; what it cannot control is in the evidence: this binary, its
//! role, its keys, the chain it follows.
//! Does not: contain a simulator. On simulated evidence it runs the same, says INSECURE at start and in every answer about itself.
#![forbid(unsafe_code)]

mod args;
mod bounds;
mod failure;
mod info;
mod limits;
mod listener;
mod machine;
mod metrics;
mod operator;
mod patient;
mod places;
mod presence;
mod public;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::{
    args::{Arguments, Command, RunArguments},
    failure::StartFailure,
    limits::Limits,
    machine::PlatformMachine,
    service::Service,
};
use clap::Parser;
use phala_core::{Settings, Tee};
use phala_protocol::attestation::Role;
use rustix::process::{Resource, Rlimit};
use std::{net::SocketAddr, process::ExitCode, sync::Arc};
use tokio::{
    net::TcpListener,
    signal::unix::{signal, SignalKind},
};
use tracing::{error, info, warn};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> ExitCode {
    start_log();
    forbid_core_dumps();
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::RunFrom(arguments) => arguments.complete().and_then(run),
        Command::Measurement(arguments) => measurement(&arguments),
        Command::Evidence(arguments) => evidence(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{}", failure::chain(&failure));
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error, which the host may have put on a full disk or closed: a line that cannot be written is lost, and nothing
/// else is. The library would otherwise complain by a print that panics where printing fails.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PHALA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// A core file would put keys and plaintext on the host's disk. The limit is 1 byte rather than 0 because the kernel takes exactly that
/// as the wish that no dump be piped to a program either (`core(5)`).
fn forbid_core_dumps() {
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    if rustix::process::setrlimit(Resource::Core, none).is_err()
        && rustix::process::getrlimit(Resource::Core).current != Some(0)
    {
        warn!("cannot forbid core dumps: a crash may write secrets to the disk");
    }
}

/// Makes a write beyond the file-size limit an error of that write. By default the kernel ends the process with this signal.
fn survive_file_size_limit() -> Result<(), StartFailure> {
    // Linux numbers it 25 on every architecture that has a TEE.
    let mut exceeded = signal(SignalKind::from_raw(25)).map_err(StartFailure::Runtime)?;
    tokio::spawn(async move {
        while exceeded.recv().await.is_some() {
            warn!("a file is at the size limit that the process was given; raise it (RLIMIT_FSIZE)");
        }
    });
    Ok(())
}

/// Prints the measurement that this machine's evidence claims.
fn measurement(arguments: &args::MachineArguments) -> Result<(), StartFailure> {
    let evidence = machine::evidence(arguments)?;
    println!("{}", phala_protocol::ids::to_hex(&machine::claimed_measurement(&evidence)?));
    Ok(())
}

/// Prints evidence about this machine.
fn evidence(arguments: &args::MachineArguments) -> Result<(), StartFailure> {
    let evidence = machine::evidence(arguments)?;
    println!("{}", phala_protocol::ids::to_hex(&codec::Encode::encode(&evidence)));
    Ok(())
}

fn run(arguments: RunArguments) -> Result<(), StartFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartFailure::Runtime)?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: RunArguments) -> Result<(), StartFailure> {
    survive_file_size_limit()?;
    let data = arguments.data.clone();
    std::fs::create_dir_all(&data).map_err(|source| StartFailure::Data { path: data.clone(), source })?;
    let machine = Arc::new(PlatformMachine::new(&arguments.machine, arguments.compact_engine, &data)?);
    let anchor = args::read_anchor(&arguments.anchor)?;
    let settings = Settings {
        genesis: arguments.genesis.0,
        role: arguments.role.into(),
        operator: arguments.operator.0,
        cluster: phala_protocol::ClusterId(arguments.cluster),
        lone_root: !arguments.without_lone_root,
    };
    let (has_named_key, survives_restart) = (machine.has_named_key(), machine.survives_restart());
    let tee = Tee::start(settings, &anchor, machine)?;
    // Before anything is served or asked for: the identity that was made just now is used by nobody.
    if has_named_key && !tee.is_development() {
        return Err(StartFailure::NamedKey);
    }
    if !survives_restart && Role::from(arguments.role) == Role::Gatekeeper {
        return Err(StartFailure::ForgetfulGatekeeper);
    }
    info!(identity = %tee.identity(), role = ?arguments.role, "started");
    if let Some(layout) = tee.layout() {
        info!(layout = layout.name(), reserved_gib = layout.reserved_gib(), "engine for contracts");
    }
    if tee.is_development() {
        warn!(
            "INSECURE: this is a development network; its evidence may be simulated, and its secrets protect nothing"
        );
    }
    let public = bind(arguments.listen).await?;
    let operator = bind(arguments.operator_listen).await?;
    let limits = Limits { burst: arguments.burst.into(), per_second: arguments.requests_per_second.into() };
    let service = Arc::new(Service::new(tee, arguments.operator.0, arguments.role.into(), limits));
    let routes = public::router(service.clone()).map_err(StartFailure::Threads)?;

    let operator_task = tokio::spawn(async move {
        listener::serve(operator, operator::router(service), listener::OPERATOR, ended()).await;
    });
    listener::serve(public, routes, listener::PUBLIC, ended()).await;
    if operator_task.await.is_err() {
        warn!("the operator's listener ended early");
    }
    info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartFailure> {
    let listener = TcpListener::bind(address).await.map_err(|source| StartFailure::Bind { address, source })?;
    // Not the one that was asked for, which may leave the port open.
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "listening");
    Ok(listener)
}

/// Ends when the process is asked to end.
async fn ended() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt => {}
        () = terminate => {}
    }
}
