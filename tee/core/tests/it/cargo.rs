//! Builds the sample token as its author does.
#![allow(clippy::disallowed_methods, reason = "starts the compiler, and reads what it made")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The token's WASM. Nothing is downloaded: contracts need nothing.
pub fn token() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| {
        // This file is a module of other crates too.
        let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("contracts"));
        let contracts = above.find(|contracts| contracts.join("token").is_dir()).unwrap();
        // Not the target folder of the cargo that runs this test, which holds its lock.
        let outer = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| contracts.join("../target"), PathBuf::from);
        let target = outer.join("contracts");
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--quiet", "--release", "--offline", "--target", "wasm32v1-none", "--target-dir"])
            .arg(&target)
            .current_dir(contracts.join("token"))
            .status()
            .unwrap();
        assert!(status.success(), "the token does not build");
        std::fs::read(target.join("wasm32v1-none/release/token.wasm")).unwrap()
    })
}

/// Whether any file under `folder` holds `needle`.
pub fn any_file_holds(folder: &Path, needle: &[u8]) -> bool {
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.iter().any(|file| std::fs::read(file).unwrap().windows(needle.len()).any(|window| window == needle))
}
