//! The compiler for contracts, found by the rules of `scripts/toolchain`: rustup's stable where it has `wasm32v1-none`, else Debian's
//! with the target's libraries in its sysroot. Nothing is installed here.

use crate::error::CliError;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// What contracts are compiled for.
pub const TARGET: &str = "wasm32v1-none";
/// How a missing toolchain is mended.
pub const FIX: &str =
    "`rustup target add wasm32v1-none`, or scripts/toolchain in a checkout of Phala, which uses Debian's compiler";

/// A compiler that has the target.
pub struct Toolchain {
    cargo: PathBuf,
    rustup: bool,
    path: Option<OsString>,
    sysroot: PathBuf,
}

impl Toolchain {
    /// Looks for one.
    pub async fn find() -> Result<Self, CliError> {
        if let Some(sysroot) = sysroot("rustup", &["run", "stable", "rustc", "--print", "sysroot"]).await {
            return Ok(Self { cargo: "cargo".into(), rustup: true, path: None, sysroot });
        }
        if let Some(sysroot) = sysroot("/usr/bin/rustc", &["--print", "sysroot"]).await {
            // rustc calls the linker of its WASM targets `rust-lld`; scripts/toolchain makes the link to Debian's.
            let cache = std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(std::env::home_dir()?.join(".cache")))
                .map(|cache| cache.join("phala/bin"));
            let before = cache.into_iter().chain(["/usr/bin".into()]);
            let now = std::env::var_os("PATH").unwrap_or_default();
            let path = std::env::join_paths(before.chain(std::env::split_paths(&now))).ok();
            return Ok(Self { cargo: "/usr/bin/cargo".into(), rustup: false, path, sysroot });
        }
        Err(CliError::environment("there is no Rust compiler with the target wasm32v1-none").with_hint(FIX))
    }

    /// Its cargo, to be given arguments.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        // A wrapper or target folder of another build would be used for the contract's too.
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
            command.env_remove(name);
        }
        if self.rustup {
            command.env("RUSTUP_TOOLCHAIN", "stable").env_remove("CARGO").env_remove("RUSTC");
        }
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!("{} in {}", if self.rustup { "rustup's stable" } else { "Debian's" }, self.sysroot.display())
    }
}

/// The sysroot of a compiler, if it runs and has the target.
async fn sysroot(program: &str, args: &[&str]) -> Option<PathBuf> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().await.ok()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    (output.status.success() && has_target(&sysroot)).then_some(sysroot)
}

fn has_target(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let entries = std::fs::read_dir(libraries).into_iter().flatten();
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}
