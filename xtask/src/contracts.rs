//! Builds the contracts that are no members, as a user's own contract is built, and runs their tests.
//!
//! They have their own lock files and are compiled for `wasm32v1-none`, so they share nothing with the workspace's
//! build but the SDK's source. Their tests run on this machine, natively.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{ensure, Context, Result};

use crate::workspace::Workspace;

const TARGET: &str = "wasm32v1-none";

/// What the chain stores at most, in bytes.
const LARGEST: u64 = 512 * 1024;

/// Builds and tests each contract in turn; the first failure ends it with an error.
pub fn build_and_test(workspace: &Workspace) -> Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.root.join("target"), PathBuf::from)
        .join("contracts");
    for contract in workspace.crates.iter().filter(|krate| !krate.member) {
        let folder = workspace.root.join(&contract.folder);
        cargo(&folder, &target, "build", &["--release", "--target", TARGET])?;
        let module = target.join(TARGET).join("release").join(format!("{}.wasm", contract.name.replace('-', "_")));
        let bytes = std::fs::metadata(&module)
            .with_context(|| format!("{} is not a cdylib: {}", contract.name, module.display()))?
            .len();
        ensure!(bytes <= LARGEST, "{} is {bytes} bytes, the chain takes at most {LARGEST}", contract.name);
        println!("{}: {bytes} bytes", contract.name);
        cargo(&folder, &target, "clippy", &["--all-targets", "--", "-D", "warnings"])?;
        cargo(&folder, &target, "test", &[])?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo(folder: &Path, target: &Path, command: &str, words: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).arg(command).arg("--target-dir").arg(target);
    if folder.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    let status = cargo.args(words).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {command} failed in {}", folder.display());
    Ok(())
}
