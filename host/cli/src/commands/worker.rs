//! `phala worker`: checks a machine, runs a worker by hand, shows what it says of itself beside what the chain proves, and registers it.

use super::{check, roles::become_program};
use crate::{
    accounts,
    args::{Global, WorkerCommand, WorkerRunArgs},
    error::{io, CliError},
    home, network,
    output::{assurance, assurance_line, table, Output},
};
use codec::{DecodeAll, Encode};
use phala_client::{
    chain::ChainCall,
    worker::{WorkerEndpoint, WorkerInfo},
    ClientError, ErrorCode, Until,
};
use phala_protocol::{
    attestation::{Assurance, Registration, Role},
    chain_state::WorkerRecord,
    ids::to_hex,
    storage, WorkerId,
};
use serde_json::json;
use std::ffi::OsString;

/// Runs `phala worker`.
pub async fn run(global: &Global, command: WorkerCommand, output: Output) -> Result<(), CliError> {
    match command {
        WorkerCommand::Check(args) => check::run(global, &args, output).await,
        WorkerCommand::Run(args) => run_worker(global, args).await,
        WorkerCommand::Status { url } => status(global, &url, output).await,
        WorkerCommand::Register { url, from } => register(global, &url, &from, output).await,
    }
}

/// Becomes the worker, with the network's genesis and anchor.
async fn run_worker(global: &Global, args: WorkerRunArgs) -> Result<(), CliError> {
    let operator = accounts::find(&args.operator)?;
    let pin = match network::select(global)? {
        network::Selected::File(file) => file.pin()?,
        network::Selected::Url(_) => network::connect(global).await?.network.pin().clone(),
    };
    std::fs::create_dir_all(&args.data).map_err(io("make", &args.data))?;
    let anchor = args.data.join("anchor.scale");
    home::write_whole(&anchor, &pin.anchor.encode())?;
    become_program("phala-worker", |command| {
        command
            .args(["run", "--genesis", &to_hex(&pin.genesis), "--operator", &operator.to_string()])
            .arg("--anchor")
            .arg(&anchor)
            .args(flags(&args))
    })
}

/// The worker's flags for what its operator chose; what was not named is left to the worker to find.
fn flags(args: &WorkerRunArgs) -> Vec<OsString> {
    let cluster = args.cluster.to_string();
    let texts = [
        ("--role", &args.role),
        ("--cluster", &cluster),
        ("--listen", &args.listen),
        ("--operator-listen", &args.operator_listen),
    ];
    let paths =
        [("--data", Some(&args.data)), ("--tsm", args.tsm.as_ref()), ("--sealing-key", args.sealing_key.as_ref())];
    let texts = texts.into_iter().map(|(flag, text)| (flag, OsString::from(text)));
    let paths = paths.into_iter().filter_map(|(flag, path)| Some((flag, OsString::from(path?))));
    texts.chain(paths).flat_map(|(flag, value)| [OsString::from(flag), value]).collect()
}

/// What to do about an endpoint that does not answer as a worker.
const NO_WORKER: &str =
    "check that the address is a worker's, and that worker and this program are of the same release";

fn identity(info: &WorkerInfo) -> Result<WorkerId, CliError> {
    network::hash(&info.identity).map(WorkerId).ok_or_else(|| {
        CliError::new(ErrorCode::Unverified, "the worker says something malformed about its identity")
            .with_hint(NO_WORKER)
    })
}

async fn status(global: &Global, url: &str, output: Output) -> Result<(), CliError> {
    let info = WorkerEndpoint::new(url)?.info().await?;
    let connected = network::connect(global).await?;
    let identity = identity(&info)?;
    let (key, time) = (storage::worker_key(&identity), storage::TIMESTAMP_NOW.to_vec());
    let proved = connected.network.read(&[key.clone(), time.clone()]).await?;
    let record: Option<WorkerRecord> = proved.get(&key)?;
    let now = proved.get::<u64>(&time)?.unwrap_or_default() / 1000;
    let state = match &record {
        None => "not registered".to_owned(),
        Some(record) if record.valid_until <= now => "registration has lapsed: it must attest again".to_owned(),
        Some(record) => format!("registered for another {} s", record.valid_until - now),
    };
    let insecure =
        record.as_ref().is_some_and(|record| record.assurance == Assurance::Simulated) || connected.insecure();
    let behind = proved.height().saturating_sub(info.height);
    let clusters: Vec<u32> = info.clusters.iter().map(|cluster| cluster.cluster).collect();
    let json = json!({
        "url": url,
        "insecure": insecure,
        "assurance": record.as_ref().map(|record| assurance(record.assurance)),
        "identity": identity.to_string(),
        "role": info.role,
        "state": state,
        "registered": record.as_ref().is_some_and(|record| record.valid_until > now),
        "operator": record.as_ref().map(|record| accounts::address(&record.operator)),
        "measurement": record.as_ref().map(|record| to_hex(&record.measurement)),
        "height": info.height,
        "behind": behind,
        "clusters": clusters,
    });
    output.data(&json, || {
        let mut rows = vec![
            vec!["identity".to_owned(), identity.to_string()],
            vec!["says its role is".to_owned(), info.role.clone()],
            vec!["on the chain".to_owned(), state.clone()],
            vec!["height".to_owned(), format!("{} ({behind} behind)", info.height)],
            vec!["serves clusters".to_owned(), format!("{clusters:?}")],
        ];
        if let Some(record) = &record {
            rows.push(vec!["operator".to_owned(), accounts::address(&record.operator)]);
            rows.push(vec!["measurement".to_owned(), to_hex(&record.measurement)]);
        }
        let vouched = if insecure { Assurance::Simulated } else { Assurance::Hardware };
        let said = if record.is_some() || insecure {
            assurance_line(vouched)
        } else {
            "assurance: none, it is not registered"
        };
        format!("{}\n{said}", table(&["", ""], &rows).trim_start())
    });
    Ok(())
}

async fn register(global: &Global, url: &str, from: &str, output: Output) -> Result<(), CliError> {
    let info = WorkerEndpoint::new(url)?.info().await?;
    let bytes = |text: &Option<String>| hex::decode(text.as_deref()?.strip_prefix("0x")?).ok();
    let (Some(registration), Some(evidence)) = (bytes(&info.registration), bytes(&info.evidence)) else {
        return Err(CliError::new(ErrorCode::NotFound, "the worker shows no evidence yet")
            .with_hint("it makes evidence once its relayer has brought it to the chain's head"));
    };
    let registration = Registration::decode_all(&mut &registration[..]).map_err(|_| {
        CliError::new(ErrorCode::Unverified, "the worker's registration is malformed").with_hint(NO_WORKER)
    })?;
    let connected = network::connect(global).await?;
    let account = accounts::signer(global, &connected.network, from).await?;
    if registration.operator != account.id() {
        return Err(CliError::new(
            ErrorCode::Unauthorised,
            format!("the evidence names the operator {}", accounts::address(&registration.operator)),
        )
        .with_hint("register it as that account, or start the worker with your own as --operator"));
    }
    let call = ChainCall::register(&registration, &evidence);
    let done = connected.network.chain().submit(&account, &call, Until::Finalised).await.map_err(ClientError::from)?;
    let role = match registration.role {
        Role::Worker => "worker",
        Role::Gatekeeper => "gatekeeper",
    };
    output.data(&json!({"identity": registration.identity.to_string(), "role": role, "block": done.block}), || {
        format!("registered the {role} {} in block {}", registration.identity, done.block)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn a_sealing_key_is_passed_on_only_if_it_was_named() {
        let flags = |more: &[&str]| {
            let line = ["phala", "worker", "run", "--operator", "bob", "--data", "d", "--cluster", "1"];
            let cli = Cli::try_parse_from(line.iter().chain(more)).unwrap();
            let Command::Worker(WorkerCommand::Run(args)) = cli.command else { panic!() };
            flags(&args).into_iter().map(|flag| flag.into_string().unwrap()).collect::<Vec<_>>()
        };
        let usual = flags(&[]);
        assert!(!usual.contains(&"--sealing-key".to_owned()), "{usual:?}");
        for pair in [["--role", "worker"], ["--cluster", "1"], ["--data", "d"], ["--listen", "127.0.0.1:8100"]] {
            assert!(usual.windows(2).any(|window| window == pair), "{pair:?} in {usual:?}");
        }
        assert_eq!(flags(&["--sealing-key", "k"])[usual.len()..], ["--sealing-key", "k"]);
    }
}
