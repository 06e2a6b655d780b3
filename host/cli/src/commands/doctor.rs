//! `phala doctor`: what is missing on this machine, and the fix. Changes nothing.

use super::contract::toolchain::Toolchain;
use crate::{
    error::CliError,
    home,
    output::{table, Output},
};
use serde_json::json;
use std::net::{Ipv4Addr, TcpListener};

/// One thing that was looked at.
struct Check {
    what: &'static str,
    /// What was found, or what is wrong and how to mend it.
    found: Result<String, (String, &'static str)>,
    /// Whether a development network needs it.
    needed: bool,
}

/// Runs `phala doctor`.
pub async fn run(output: Output) -> Result<(), CliError> {
    let checks = checks().await;
    let json: Vec<_> = checks
        .iter()
        .map(|check| {
            let (found, fix) = match &check.found {
                Ok(found) => (found, None),
                Err((wrong, fix)) => (wrong, Some(fix)),
            };
            json!({"check": check.what, "ok": check.found.is_ok(), "needed": check.needed, "found": found, "fix": fix})
        })
        .collect();
    let missing: Vec<&str> =
        checks.iter().filter(|check| check.needed && check.found.is_err()).map(|check| check.what).collect();
    if missing.is_empty() || !output.is_json() {
        output.data(&json!({"ok": missing.is_empty(), "checks": json}), || report(&checks));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut error = CliError::environment(format!("missing: {}", missing.join(", ")))
        .with_hint("./scripts/build installs and makes what is missing");
    error.details.insert("checks".to_owned(), json.into());
    Err(error)
}

async fn checks() -> Vec<Check> {
    const BUILD: &str = "./scripts/build in a checkout of Phala makes it and links it into ./bin";
    let mut checks = Vec::new();
    for (what, name) in [
        ("chain node", "phala-node"),
        ("worker", "phala-worker"),
        ("simulated TEE", "phala-insecure-tee"),
        ("sample token", "token.wasm"),
    ] {
        let found = home::program(name).map(|path| path.display().to_string()).map_err(|error| (error.message, BUILD));
        checks.push(Check { what, found, needed: true });
    }
    let toolchain = Toolchain::find().await.map(|toolchain| toolchain.describe());
    checks.push(Check {
        what: "contract toolchain",
        found: toolchain.map_err(|error| (error.message, super::contract::toolchain::FIX)),
        needed: false,
    });
    let writable = home::folder().and_then(|folder| {
        std::fs::create_dir_all(&folder).map_err(crate::error::io("make", &folder))?;
        let probe = folder.join(".probe");
        home::write_whole(&probe, b"")?;
        std::fs::remove_file(&probe).map_err(crate::error::io("remove", &probe))?;
        Ok(folder.display().to_string())
    });
    checks.push(Check {
        what: "home folder",
        found: writable.map_err(|error| (error.message, "make it writable, or set PHALA_HOME")),
        needed: true,
    });
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 9944));
    checks.push(Check {
        what: "default node port",
        found: port.map(|_| "9944 is free".to_owned()).map_err(|error| {
            (format!("9944 is not free ({error})"), "none needed: `phala dev` picks another and says so")
        }),
        needed: false,
    });
    checks
}

fn report(checks: &[Check]) -> String {
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let (state, text) = match &check.found {
                Ok(found) => ("ok", found.clone()),
                Err((wrong, fix)) => (if check.needed { "MISSING" } else { "note" }, format!("{wrong}; fix: {fix}")),
            };
            vec![state.to_owned(), check.what.to_owned(), text]
        })
        .collect();
    table(&["", "", ""], &rows).trim_start().to_owned()
}
