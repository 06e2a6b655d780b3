//! The contract that does everything wrong, and sends messages out of its cluster, built as a user builds one.

use crate::binary;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Its source.
const SOURCE: &str = include_str!("../contracts/probe.rs.in");

/// Builds it in `folder` and returns its WebAssembly.
///
/// # Panics
/// When it does not build.
pub fn build(folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let made = Command::new(binary("phala")).args(["contract", "new", "probe"]).current_dir(folder).output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "{made:?}");
    let project = folder.join("probe");
    std::fs::write(project.join("src/lib.rs"), SOURCE).expect("its source");
    let built = Command::new(binary("phala"))
        .args(["--json", "contract", "build"])
        .current_dir(&project)
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .expect("phala runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let built: Value = serde_json::from_slice(&built.stdout).expect("its answer is JSON");
    built["wasm"].as_str().map(PathBuf::from).expect("the path of what it built")
}
