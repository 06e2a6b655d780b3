//! `phala dev`: a whole network on this machine, in the foreground. INSECURE: its TEEs are simulated and its keys are published.
//!
//! | module | what |
//! |---|---|
//! | [`folder`] | who holds the network's folder, what it was made with |
//! | [`plan`], [`ports`] | which processes, which flags, which ports |
//! | [`process`], [`supervisor`] | starting, watching and ending processes |
//! | [`chain`], [`genesis_cache`], [`bootstrap`], [`ceremony`] | the steps from nothing to a usable network |
//! | [`network_file`] | what is left for the other commands to read |
//!
//! Guarantees: Ctrl-C and SIGTERM, at any moment, end every process that was started and exit with 0; what was reached is kept, so that
//! starting again goes on; one line on standard output under `--json`, and only once the network can be used.

mod bootstrap;
mod ceremony;
mod chain;
pub mod folder;
mod genesis_cache;
pub mod network_file;
mod plan;
mod ports;
pub mod process;
mod progress;
mod supervisor;

pub use chain::output_of;

use crate::{
    args::DevArgs,
    error::CliError,
    home, network,
    output::{assurance_line, note, Output},
    roots,
};
use bootstrap::Up;
use folder::{Folder, Settings};
use network_file::{Machine, NetworkFile};
use phala_protocol::{attestation::Assurance, chain_state::RootRecord, WorkerId};
use plan::{Plan, Programs};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use supervisor::Supervisor;
use tokio::signal::unix::{signal, Signal, SignalKind};

/// How long to wait before a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

const INSECURE: &str =
    "INSECURE: a development network. Its TEEs are simulated, its keys are published, its chain has a sudo key:
INSECURE: anybody can read and forge everything in it. Put no secret into it.";

/// Where the network lives.
pub fn base_path(named: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    match named {
        Some(path) => home::absolute(path),
        None => Ok(home::folder()?.join("dev")),
    }
}

/// Runs until it is told to end.
pub async fn run(args: &DevArgs, output: Output) -> Result<(), CliError> {
    let mut ending = Ending::new()?;
    let folder = Folder::take(&base_path(args.base_path.as_ref())?)?;
    let left = process::end_left_over(&folder.path().join(supervisor::PIDS)).await?;
    if !left.is_empty() {
        note(&format!("note: ended what a `phala dev` that was killed left running: {}", left.join(", ")));
    }
    let mut settings = settings(&folder, args)?;
    // All that a user can have got wrong is found before anything of the network that is here is forgotten.
    let mut plan = Plan::new(folder.path(), Programs::find()?, &settings, args)?;
    if args.fresh {
        folder.wipe()?;
    }
    INSECURE.lines().for_each(note);
    note(&format!("network in {}", folder.path().display()));
    folder.keep(&settings)?;
    plan.programs.keep_worker(folder.path())?;
    let mut supervisor = Supervisor::new(folder.path());
    let brought = tokio::select! {
        up = bootstrap::bring_up(&folder, &mut settings, &plan, &mut supervisor) => Some(up),
        () = ending.asked() => None,
    };
    let result = match brought {
        Some(Ok(up)) => serve(up, folder.path(), &supervisor, &mut ending, output).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    note("stopping");
    supervisor.stop().await;
    forget_pids(folder.path());
    note("stopped");
    result
}

/// Authorities whose gatekeepers make a root together.
const SEATS: u32 = 4;

/// What the network was or is to be made with.
fn settings(folder: &Folder, args: &DevArgs) -> Result<Settings, CliError> {
    let known = if args.fresh { None } else { folder.settings()? };
    let Some(mut known) = known else {
        let authorities = args.authorities.unwrap_or(1);
        let made = Settings {
            authorities,
            workers: args.workers.unwrap_or(2),
            // As many authorities as make a root together do.
            gatekeepers: args.gatekeepers.unwrap_or(if authorities < SEATS { 1 } else { SEATS }),
            session_blocks: args.session_blocks,
            block_milliseconds: args.block_milliseconds,
            token: None,
        };
        if made.gatekeepers > made.authorities {
            return Err(CliError::invalid(format!(
                "{} gatekeepers need as many authorities: each has its seat by one's stake",
                made.gatekeepers
            ))
            .with_hint(format!("--authorities {}", made.gatekeepers)));
        }
        return Ok(made);
    };
    let made_with = |what: String| {
        Err(CliError::invalid(format!("this network was made with {what}"))
            .with_hint("--fresh forgets it and makes another; --base-path makes one beside it"))
    };
    if args.authorities.is_some_and(|wanted| wanted != known.authorities) {
        return made_with(format!("{} authorities", known.authorities));
    }
    if args.gatekeepers.is_some_and(|wanted| wanted != known.gatekeepers) {
        return made_with(bootstrap::count(known.gatekeepers as usize, "gatekeeper"));
    }
    if args.session_blocks.is_some() && args.session_blocks != known.session_blocks {
        let blocks = known.session_blocks.map_or("the usual number of".to_owned(), |blocks| blocks.to_string());
        return made_with(format!("sessions of {blocks} blocks"));
    }
    if args.block_milliseconds.is_some() && args.block_milliseconds != known.block_milliseconds {
        let pause = known.block_milliseconds.map_or("the usual time".to_owned(), |pause| format!("{pause} ms"));
        return made_with(format!("{pause} between two blocks"));
    }
    known.workers = args.workers.unwrap_or(known.workers);
    Ok(known)
}

/// Says what there is, and keeps saying it in the network file until it is time to end.
async fn serve(
    Up { mut file, root }: Up,
    folder: &Path,
    supervisor: &Supervisor,
    ending: &mut Ending,
    output: Output,
) -> Result<(), CliError> {
    let mut changes = supervisor.changes();
    file.pids = pids(supervisor);
    file.write(folder)?;
    home::remember(folder)?;
    announce(&file, &root, output);
    let mut failing = false;
    loop {
        tokio::select! {
            () = ending.asked() => return Ok(()),
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(AGAIN), if failing => {}
        }
        file.pids = pids(supervisor);
        // A full disk is no reason to end a network that runs: its processes are kept running, and the files follow.
        let written = file.write(folder).and_then(|()| supervisor.write_list());
        if let (Err(error), false) = (&written, failing) {
            note(&format!("note: {}; trying again every {} s", error.message, AGAIN.as_secs()));
        }
        failing = written.is_err();
    }
}

fn pids(supervisor: &Supervisor) -> std::collections::BTreeMap<String, u32> {
    let mut pids = supervisor.pids();
    pids.insert("dev".to_owned(), std::process::id());
    pids
}

/// A stopped network has no processes.
fn forget_pids(folder: &Path) {
    if let Ok(mut file) = NetworkFile::read(folder) {
        file.pids.clear();
        if let Err(error) = file.write(folder) {
            note(&format!("note: {}", error.message));
        }
    }
}

fn announce(file: &NetworkFile, root: &RootRecord, output: Output) {
    let workers: Vec<&str> = file.workers.iter().map(|worker| worker.http.as_str()).collect();
    let seat = |gatekeeper: &Machine| {
        let identity = network::hash(&gatekeeper.identity).map(WorkerId);
        (1u32..).zip(&root.seats).find(|(_, seat)| Some(**seat) == identity).map(|(index, _)| index)
    };
    let gatekeepers: Vec<_> = file
        .gatekeepers
        .iter()
        .map(|gatekeeper| {
            serde_json::json!({
                "name": gatekeeper.name,
                "http": gatekeeper.http,
                "identity": gatekeeper.identity,
                "operator": gatekeeper.account,
                "seat": seat(gatekeeper),
            })
        })
        .collect();
    let json = serde_json::json!({
        "ready": true,
        "node_ws": file.node_ws,
        "workers": workers,
        "gatekeepers": gatekeepers,
        "root": roots::json(root),
        "contracts": file.contracts,
        "accounts": file.accounts,
    });
    output.data(&json, || {
        let phala = home::called();
        let mut lines = vec![
            String::new(),
            "INSECURE development network is ready.".to_owned(),
            assurance_line(Assurance::Simulated).to_owned(),
            format!("  chain     {}", file.node_wss.join(" ")),
        ];
        for gatekeeper in &file.gatekeepers {
            let seat = seat(gatekeeper).map_or_else(|| "no seat".to_owned(), |seat| format!("seat {seat}"));
            lines.push(format!("  {}  {}  {seat}", gatekeeper.name, gatekeeper.http));
        }
        lines.push(format!("  root      {}", roots::line(root)));
        for worker in &file.workers {
            lines
                .push(format!("  {}  {}  cluster {} (one replica: no vote)", worker.name, worker.http, worker.cluster));
        }
        for (name, id) in &file.contracts {
            lines.push(format!("  {name}     {id}"));
        }
        lines.push(format!("  accounts  {} (funded, INSECURE: their keys are published)", file.accounts.join(" ")));
        lines.push(format!("  folder    {}", file.base_path.display()));
        lines.push(String::new());
        lines.push("Try, in another terminal:".to_owned());
        for line in [
            "status",
            "contract query token balance --from alice",
            "contract call token transfer bob 100 --from alice --wait --receipt receipt.json",
            "contract query token balance --from bob",
            "verify receipt.json --allow-simulated",
        ] {
            lines.push(format!("  {phala} {line}"));
        }
        lines.push(String::new());
        lines.push("Ctrl-C stops it; starting it again goes on from here; --fresh forgets it.".to_owned());
        lines.join("\n")
    });
}

/// The signals that ask us to end.
struct Ending {
    signals: [Signal; 3],
}

impl Ending {
    fn new() -> Result<Self, CliError> {
        let listen =
            |kind| signal(kind).map_err(|error| CliError::environment(format!("cannot listen to signals: {error}")));
        let signals =
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { signals })
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const ARGS: DevArgs = DevArgs::NONE;

    #[test]
    fn starting_again_needs_no_flags_and_refuses_what_the_genesis_decided_otherwise() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::take(temporary.path()).unwrap();
        let made = DevArgs {
            authorities: Some(4),
            workers: Some(3),
            gatekeepers: Some(4),
            session_blocks: Some(12),
            block_milliseconds: Some(500),
            ..ARGS
        };
        folder.keep(&settings(&folder, &made).unwrap()).unwrap();
        for flags in [&ARGS, &made] {
            let again = settings(&folder, flags).unwrap();
            assert_eq!((again.authorities, again.workers, again.session_blocks), (4, 3, Some(12)));
            assert_eq!((again.block_milliseconds, again.gatekeepers), (Some(500), 4));
        }
        for (other, named) in [
            (DevArgs { authorities: Some(1), ..ARGS }, "4 authorities"),
            (DevArgs { gatekeepers: Some(1), ..ARGS }, "4 gatekeepers"),
            (DevArgs { session_blocks: Some(10), ..ARGS }, "sessions of 12 blocks"),
            (DevArgs { block_milliseconds: Some(600), ..ARGS }, "500 ms between two blocks"),
        ] {
            let error = settings(&folder, &other).unwrap_err();
            assert!(error.message.contains(named) && error.hint.unwrap().contains("--fresh"));
            let fresh = settings(&folder, &DevArgs { fresh: true, ..other.clone() }).unwrap();
            assert_eq!(
                (fresh.authorities, fresh.session_blocks),
                (other.authorities.unwrap_or(1), other.session_blocks)
            );
        }
        assert_eq!(settings(&folder, &DevArgs { workers: Some(5), ..ARGS }).unwrap().workers, 5);
    }

    #[test]
    fn a_ceremony_needs_an_authority_for_each_gatekeeper() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::take(temporary.path()).unwrap();
        let error = settings(&folder, &DevArgs { gatekeepers: Some(4), ..ARGS }).unwrap_err();
        assert_eq!((error.code.as_str(), error.hint.as_deref()), ("invalid", Some("--authorities 4")));
        // Four authorities have four gatekeepers, unless one is asked for.
        for (gatekeepers, expected) in [(Some(4), 4), (None, 4), (Some(1), 1)] {
            let many = DevArgs { gatekeepers, authorities: Some(4), ..ARGS };
            assert_eq!(settings(&folder, &many).unwrap().gatekeepers, expected);
        }
        assert_eq!(settings(&folder, &ARGS).unwrap().gatekeepers, 1);
    }

    #[test]
    fn a_stopped_network_names_no_processes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = NetworkFile::new(folder.path(), &network_file::tests::pin());
        file.pids.insert("node-0".to_owned(), 1);
        file.write(folder.path()).unwrap();
        forget_pids(folder.path());
        assert!(NetworkFile::read(folder.path()).unwrap().pids.is_empty());
    }
}
