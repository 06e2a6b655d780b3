//! The measured binary: a worker or a gatekeeper, by the role that its evidence states.
//!
//! It wires the logic of `phala-core` to a machine (`phala-platform`), a disk and two listeners: one for everybody (`/v1`), one for
//! the operator's relayer. Guarantees: nothing that arrives at either ends the process; nothing secret is logged, served or written
//! unsealed. The host controls arguments, disk, clock and network; what it cannot control is in the evidence: this binary, its
//! role, its keys, the chain it follows.
//! Does not: contain a simulator. On simulated evidence it runs the same, says INSECURE at start and in every answer about itself.
#![forbid(unsafe_code)]

mod args;
mod failure;
mod info;
mod limits;
mod machine;
mod metrics;
mod operator;
mod public;
mod service;

use crate::{
    args::{Arguments, Command, RunArguments},
    failure::StartFailure,
    machine::PlatformMachine,
    service::Service,
};
use clap::Parser;
use phala_core::{Settings, Tee};
use std::{net::SocketAddr, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PHALA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(arguments),
        Command::Measurement(arguments) => measurement(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{}", failure::chain(&failure));
            ExitCode::FAILURE
        }
    }
}

/// Prints the measurement that this machine's evidence claims.
fn measurement(arguments: &args::MachineArguments) -> Result<(), StartFailure> {
    let machine = PlatformMachine::new(arguments, std::path::Path::new("."))?;
    let evidence = machine.quote(&[0; 64])?;
    println!("{}", phala_protocol::ids::to_hex(&machine::claimed_measurement(&evidence)?));
    Ok(())
}

fn run(arguments: RunArguments) -> Result<(), StartFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartFailure::Runtime)?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: RunArguments) -> Result<(), StartFailure> {
    let data = arguments.data.clone();
    std::fs::create_dir_all(&data).map_err(|source| StartFailure::Data { path: data.clone(), source })?;
    let machine = Arc::new(PlatformMachine::new(&arguments.machine, &data)?);
    let anchor = args::read_anchor(&arguments.anchor)?;
    let settings = Settings {
        genesis: arguments.genesis.0,
        role: arguments.role.into(),
        operator: arguments.operator.0,
        cluster: phala_protocol::ClusterId(arguments.cluster),
    };
    let tee = Tee::start(settings, &anchor, machine)?;
    info!(identity = %tee.identity(), role = ?arguments.role, "started");
    if tee.is_development() {
        warn!(
            "INSECURE: this is a development network; its evidence may be simulated, and its secrets protect nothing"
        );
    }
    let public = bind(arguments.listen).await?;
    let operator = bind(arguments.operator_listen).await?;
    let service = Arc::new(Service::new(tee, arguments.operator.0, arguments.role.into()));

    let operator_service = service.clone();
    let operator_task = tokio::spawn(async move {
        axum::serve(operator, operator::router(operator_service)).with_graceful_shutdown(ended()).await
    });
    let router = public::router(service).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(public, router).with_graceful_shutdown(ended()).await.map_err(StartFailure::Listener)?;
    match operator_task.await {
        Ok(served) => served.map_err(StartFailure::Listener)?,
        Err(_) => warn!("the operator's listener ended early"),
    }
    info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartFailure> {
    let listener = TcpListener::bind(address).await.map_err(|source| StartFailure::Bind { address, source })?;
    info!(%address, "listening");
    Ok(listener)
}

/// Ends when the process is asked to end.
async fn ended() {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
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
