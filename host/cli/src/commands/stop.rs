//! `phala stop`: ends the `phala dev` that holds a network's folder, and waits until it has ended its processes.

use crate::{
    args::{Global, StopArgs},
    dev::{folder::Folder, process},
    error::CliError,
    home, network,
    output::Output,
};
use phala_client::ErrorCode;
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// Five groups of processes, each with twenty seconds to end.
const PATIENCE: Duration = Duration::from_secs(110);

/// Runs `phala stop`.
pub async fn run(global: &Global, args: &StopArgs, output: Output) -> Result<(), CliError> {
    let folder = match &args.base_path {
        Some(path) => home::absolute(path)?,
        None => network::folder(global)?,
    };
    // The lock says who runs: an id in a file alone could be anybody's by now.
    let Some(pid) = Folder::holder(&folder)? else {
        return Err(CliError::new(ErrorCode::NotFound, format!("no `phala dev` runs in {}", folder.display()))
            .with_hint("it has ended already, or runs in another folder: name that with --base-path"));
    };
    process::signal(pid, Signal::TERM);
    let started = Instant::now();
    while Folder::holder(&folder)?.is_some() {
        if started.elapsed() > PATIENCE {
            return Err(CliError::new(ErrorCode::Timeout, format!("process {pid} does not end"))
                .with_hint("`phala logs` may show why"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    output.data(&json!({"stopped": pid}), || format!("stopped the network in {}", folder.display()));
    Ok(())
}
