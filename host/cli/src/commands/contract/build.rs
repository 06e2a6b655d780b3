//! `phala contract build`: runs cargo for `wasm32v1-none`, without network, and looks at what it made.

use super::toolchain::{Toolchain, TARGET};
use crate::{
    error::{io, CliError},
    home,
    output::Output,
};
use phala_client::{ClientError, ErrorCode, Metadata};
use phala_protocol::{limits::MAX_CODE_BYTES, CodeHash};
use serde::Deserialize;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

/// What was built.
pub struct Built {
    /// The WebAssembly.
    pub path: PathBuf,
    /// Its length.
    pub bytes: usize,
    /// What the chain calls it.
    pub code: CodeHash,
    /// What it says about itself.
    pub metadata: Metadata,
}

/// Runs `phala contract build`.
pub async fn run(folder: &Path, output: Output) -> Result<(), CliError> {
    let folder = home::absolute(folder)?;
    let built = build(&folder, &Toolchain::find().await?).await?;
    let json = json!({"wasm": built.path, "bytes": built.bytes, "code": built.code.to_string()});
    output.data(&json, || {
        crate::output::note(&format!(
            "{} {}: {} methods, {} bytes, code {}",
            built.metadata.name,
            built.metadata.version,
            built.metadata.messages.len(),
            built.bytes,
            built.code
        ));
        built.path.display().to_string()
    });
    Ok(())
}

/// Builds the contract in `folder`. The WebAssembly is `target/NAME.wasm` in it.
pub async fn build(folder: &Path, toolchain: &Toolchain) -> Result<Built, CliError> {
    let library = library(folder, toolchain).await?;
    let target = folder.join("target");
    let status = toolchain
        .cargo()
        .args(["build", "--release", "--offline", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        // Data is ours; cargo has none.
        .stdout(Stdio::null())
        .status()
        .await
        .map_err(|error| CliError::environment(format!("cannot start cargo: {error}")))?;
    if !status.success() {
        return Err(CliError::invalid(format!("the contract in {} does not build", folder.display())).with_hint(
            "cargo says why above; a dependency has to be there before: run `cargo fetch` once with network",
        ));
    }
    let made = target.join(TARGET).join("release").join(format!("{library}.wasm"));
    let wasm = fs::read(&made).map_err(io("read", &made))?;
    if wasm.len() > MAX_CODE_BYTES as usize {
        return Err(CliError::new(
            ErrorCode::OverLimit,
            format!("the contract has {} bytes; the chain takes at most {MAX_CODE_BYTES}", wasm.len()),
        )
        .with_hint("leave out dependencies, or split it into contracts that call each other"));
    }
    let metadata = Metadata::from_wasm(&wasm).map_err(ClientError::from)?;
    let path = target.join(format!("{library}.wasm"));
    fs::write(&path, &wasm).map_err(io("write", &path))?;
    Ok(Built { path, bytes: wasm.len(), code: CodeHash::of(&wasm), metadata })
}

/// The name of the library that cargo makes in `folder`.
async fn library(folder: &Path, toolchain: &Toolchain) -> Result<String, CliError> {
    #[derive(Deserialize)]
    struct Cargo {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        manifest_path: PathBuf,
        targets: Vec<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        crate_types: Vec<String>,
    }
    let manifest = folder.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(CliError::new(ErrorCode::NotFound, format!("there is no contract in {}", folder.display()))
            .with_hint("`phala contract new NAME` makes one"));
    }
    let output = toolchain
        .cargo()
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| CliError::environment(format!("cannot start cargo: {error}")))?;
    let unread = || {
        CliError::invalid(format!("cargo cannot read {}", manifest.display()))
            .with_hint("cargo says why above; `phala contract new NAME` makes one that it reads")
    };
    if !output.status.success() {
        return Err(unread());
    }
    let cargo: Cargo = serde_json::from_slice(&output.stdout).map_err(|_| unread())?;
    // Links on the way to the folder are resolved by cargo and not by us.
    let real = fs::canonicalize(&manifest).map_err(io("find", &manifest))?;
    let package = cargo
        .packages
        .into_iter()
        .find(|package| fs::canonicalize(&package.manifest_path).is_ok_and(|path| path == real));
    let targets = package.into_iter().flat_map(|package| package.targets);
    let library = targets.into_iter().find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
    library.map(|library| library.name.replace('-', "_")).ok_or_else(|| {
        CliError::invalid(format!("{} makes no WebAssembly", manifest.display()))
            .with_hint("a contract's crate-type has `cdylib`")
    })
}
