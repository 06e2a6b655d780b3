//! Which binaries are measured, and whether they are builds whose figures say anything.
//!
//! They are those of the folder that `PHALA_BIN` names, or of `bin/`, where `scripts/build` links debug builds. A binary does not know
//! how it was made; cargo puts it into a folder with its profile's name, and that is what counts, behind every link. Guarantees: one of
//! which it cannot be told is no release build. Does not: make any, or look whether one is of this commit. Whoever runs the
//! benchmark controls the folder.

use anyhow::{ensure, Context, Result};
use std::path::{Path, PathBuf};

/// The binary called `name`, as it is found there: what belongs to it may lie beside a link to it.
///
/// # Errors
/// It is not there.
pub fn binary(name: &str) -> Result<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = std::env::var_os("PHALA_BIN").map_or_else(|| repository.join("bin"), PathBuf::from);
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is missing: run scripts/build first", path.display());
    Ok(path)
}

/// Says on standard error what each of `names` is.
///
/// # Errors
/// One is missing; or one is no release build, unless `any` will do.
pub fn check(names: &[&str], any: bool) -> Result<()> {
    let mut found = Vec::new();
    for name in names {
        let path = binary(name)?;
        // Behind every link.
        let path = std::fs::canonicalize(&path).with_context(|| format!("cannot find {}", path.display()))?;
        eprintln!("{name}: {}", described(&path));
        found.push((*name, path));
    }
    check_builds(&found, any)
}

fn check_builds(found: &[(&str, PathBuf)], any: bool) -> Result<()> {
    let others = found.iter().filter(|(_, path)| profile(path) != Some(RELEASE));
    let others: Vec<&str> = others.map(|(name, _)| *name).collect();
    ensure!(
        any || others.is_empty(),
        "not known to be release builds, so that figures of them would say nothing: {}; let PHALA_BIN name the folder of cargo's release \
         builds, or give --any-build",
        others.join(", ")
    );
    Ok(())
}

const RELEASE: &str = "release";

/// The profile that made a binary, by the folder that cargo put it into.
fn profile(path: &Path) -> Option<&'static str> {
    path.components().rev().find_map(|part| match part.as_os_str().to_str() {
        Some("debug") => Some("debug"),
        Some("release") => Some(RELEASE),
        _ => None,
    })
}

/// Where a binary is, and which profile made it.
fn described(path: &Path) -> String {
    let profile = profile(path).map(|profile| format!("{profile} build"));
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len()) / (1024 * 1024);
    format!(
        "{} ({}, {size} MiB)",
        path.display(),
        profile.as_deref().unwrap_or("of an unknown build: it is not where cargo made it")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_says_which_build_it_is_by_its_folder() {
        assert!(described(Path::new("/x/target/debug/phala")).contains("debug build"));
        assert!(described(Path::new("/x/target/release/phala")).contains("release build"));
        assert!(described(Path::new("/usr/bin/phala")).contains("unknown build"));
    }

    #[test]
    fn nothing_but_release_builds_is_measured_unless_any_will_do() {
        let found = |paths: &[&'static str]| paths.iter().map(|path| (*path, PathBuf::from(*path))).collect::<Vec<_>>();
        let release = ["/x/target/release/phala", "/debug/target/release/phala-node"];
        assert!(check_builds(&found(&release), false).is_ok());
        for other in ["/x/target/debug/phala-worker", "/release/target/debug/phala-worker", "/usr/bin/phala-worker"] {
            let mixed = found(&[release[0], other, release[1]]);
            let refused = check_builds(&mixed, false).unwrap_err().to_string();
            assert!(refused.contains(other) && !release.iter().any(|path| refused.contains(path)), "{refused}");
            assert!(check_builds(&mixed, true).is_ok());
        }
    }
}
