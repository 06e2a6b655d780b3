//! Builds contracts as their authors do.
#![allow(clippy::disallowed_methods, reason = "starts the compiler, and reads what it made")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of the contracts we ship.
pub fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts")
}

/// Where contracts are built: not in the target folder of the cargo that runs this test, which holds its lock.
pub fn target() -> PathBuf {
    let outer = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| contracts().join("../target"), PathBuf::from);
    outer.join("contracts")
}

/// The WASM of the contract in `folder`, whose crate has the name `name`. Nothing is downloaded: contracts need nothing.
pub fn build(folder: &Path, name: &str) -> Vec<u8> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--offline", "--target", "wasm32v1-none", "--target-dir"])
        .arg(target())
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success(), "{} does not build", folder.display());
    std::fs::read(target().join("wasm32v1-none/release").join(name).with_extension("wasm")).unwrap()
}
