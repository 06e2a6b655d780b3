//! What the rules look at: the crates as cargo sees them, and the text of every tracked file.
//!
//! Loaded once and then plain data, so that each rule is a pure function that a test can call on a made-up tree.
//! The text is that of the working tree (tracked, or new and not ignored), not of the index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, TargetKind};

/// The repository at one moment.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    pub root: PathBuf,
    /// Members first, then the crates under `contracts/` that are built on their own.
    pub crates: Vec<Crate>,
    /// Path relative to the root, with `/`, to text. Files that are not UTF-8 are absent.
    pub files: BTreeMap<String, String>,
    pub trusted: TrustedBinary,
    pub features: Features,
}

/// Crates of others with the features they are compiled with, as `name version [a,b]`: what a build of the whole
/// workspace resolves.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// `cargo build --workspace`.
    pub binaries: BTreeSet<String>,
    /// `cargo test --workspace`: dev-dependencies count too.
    pub tests: BTreeSet<String>,
}

/// One crate of ours.
#[derive(Debug, Clone, Default)]
pub struct Crate {
    pub name: String,
    /// Relative to the root: `tee/core`.
    pub folder: String,
    pub description: String,
    pub dependencies: Vec<Dependency>,
    /// The root file of each library, binary and procedural macro, relative to the repository's root.
    pub roots: Vec<String>,
    /// False for a contract that has its own lock file.
    pub member: bool,
}

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub kind: Kind,
    /// The folder, when the dependency is a crate of this repository.
    pub folder: Option<String>,
}

/// When a dependency is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

/// Everything that goes into `phala-worker` for x86_64 Linux, as `name version`, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedBinary {
    /// Linked into the binary.
    pub linked: Vec<String>,
    /// Run by the compiler while it is built: procedural macros, build scripts and what they use.
    pub building: Vec<String>,
}

impl Crate {
    /// The zone: the first part of the folder.
    pub fn zone(&self) -> &str {
        zone_of(&self.folder)
    }
}

/// The first part of a folder, which names whom you must trust.
pub fn zone_of(folder: &str) -> &str {
    folder.split('/').next().unwrap_or(folder)
}

impl Workspace {
    /// Reads the repository around the current directory.
    pub fn load() -> Result<Self> {
        let metadata = read_metadata(None)?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let mut crates = describe(&metadata, &root, true);
        crates.sort_by(|left, right| left.folder.cmp(&right.folder));
        let files = tracked_files(&root)?;
        for manifest in lone_contracts(&files, &crates) {
            let found = read_metadata(Some(&root.join(&manifest)))?;
            crates.extend(describe(&found, &root, false));
        }
        let (trusted, features) = (trusted_binary(&root)?, features(&root)?);
        Ok(Self { root, crates, files, trusted, features })
    }

    /// The crates that are members of the workspace.
    pub fn members(&self) -> impl Iterator<Item = &Crate> {
        self.crates.iter().filter(|krate| krate.member)
    }

    /// Every tracked Rust file.
    pub fn rust_files(&self) -> impl Iterator<Item = (&String, &String)> {
        self.files.iter().filter(|(path, _)| path.ends_with(".rs"))
    }
}

/// What cargo says of the manifest, or of the one around the current directory.
fn read_metadata(manifest: Option<&Path>) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.no_deps();
    if let Some(manifest) = manifest {
        command.manifest_path(manifest);
    }
    command
        .exec()
        .with_context(|| format!("cargo cannot read {}", manifest.unwrap_or(Path::new("Cargo.toml")).display()))
}

fn describe(metadata: &Metadata, root: &Path, member: bool) -> Vec<Crate> {
    let relative = |path: &Path| path.strip_prefix(root).ok().map(|path| path.to_string_lossy().replace('\\', "/"));
    let found = metadata.workspace_packages().into_iter().map(|package| {
        let folder = package.manifest_path.parent().and_then(|path| relative(path.as_std_path()));
        let shipped = |kind: &TargetKind| {
            matches!(
                kind,
                TargetKind::Lib | TargetKind::Bin | TargetKind::ProcMacro | TargetKind::CDyLib | TargetKind::RLib
            )
        };
        Crate {
            name: package.name.to_string(),
            folder: folder.unwrap_or_default(),
            description: package.description.clone().unwrap_or_default(),
            dependencies: package
                .dependencies
                .iter()
                .map(|dependency| Dependency {
                    name: dependency.name.clone(),
                    kind: match dependency.kind {
                        DependencyKind::Development => Kind::Dev,
                        DependencyKind::Build => Kind::Build,
                        _ => Kind::Normal,
                    },
                    folder: dependency.path.as_ref().and_then(|path| relative(path.as_std_path())),
                })
                .collect(),
            roots: package
                .targets
                .iter()
                .filter(|target| target.kind.iter().any(shipped))
                .filter_map(|target| relative(target.src_path.as_std_path()))
                .collect(),
            member,
        }
    });
    found.collect()
}

/// Manifests under `contracts/` that no workspace member owns.
fn lone_contracts(files: &BTreeMap<String, String>, members: &[Crate]) -> Vec<String> {
    let manifests = files.keys().filter(|path| path.starts_with("contracts/") && path.ends_with("/Cargo.toml"));
    let lone = manifests.filter(|path| !members.iter().any(|member| **path == format!("{}/Cargo.toml", member.folder)));
    lone.cloned().collect()
}

fn tracked_files(root: &Path) -> Result<BTreeMap<String, String>> {
    // The checkout may belong to another user than the one who tests it (a container, a mount): it is only read.
    let trust = format!("safe.directory={}", root.display());
    let output = Command::new("git")
        .current_dir(root)
        .args(["-c", &trust, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("git is needed to list the tracked files")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let mut files = BTreeMap::new();
    for name in String::from_utf8(output.stdout)?.split('\0').filter(|name| !name.is_empty()) {
        // A name git knows and the disk does not is a deletion that is not committed yet; a folder is a link.
        let Ok(bytes) = std::fs::read(root.join(name)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.insert(name.to_owned(), text);
        }
    }
    Ok(files)
}

/// Asks cargo what it would compile. `cargo metadata` unifies the features of all members and lists too much;
/// `cargo tree -p` resolves features as `cargo build -p phala-worker` does.
fn trusted_binary(root: &Path) -> Result<TrustedBinary> {
    let names = |edges| -> Result<Vec<String>> {
        let lines = tree(root, &["-p", "phala-worker", "-e", edges, "--format", "{p}"])?;
        let mut names: Vec<String> = lines.lines().filter_map(name_and_version).collect();
        names.sort();
        names.dedup();
        Ok(names)
    };
    let linked = names("normal,no-proc-macro")?;
    let mut building = names("normal,build")?;
    building.retain(|name| linked.binary_search(name).is_err());
    Ok(TrustedBinary { linked, building })
}

fn features(root: &Path) -> Result<Features> {
    let resolved = |edges| -> Result<BTreeSet<String>> {
        let lines = tree(root, &["--workspace", "-e", edges, "--format", "{p} [{f}]"])?;
        // A crate of ours carries its path, and may have a feature for its own tests.
        let theirs = lines.lines().filter(|line| !line.contains("(/") && !line.is_empty());
        Ok(theirs.map(|line| line.trim_end_matches(" (*)").to_owned()).collect())
    };
    Ok(Features { binaries: resolved("normal,build")?, tests: resolved("normal,build,dev")? })
}

fn tree(root: &Path, words: &[&str]) -> Result<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["tree", "--prefix", "none", "--target", "x86_64-unknown-linux-gnu"])
        .args(words)
        .output()
        .context("cannot start cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// `serde v1.0.228 (proc-macro) (*)` to `serde 1.0.228`.
fn name_and_version(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    Some(format!("{name} {}", version.trim_start_matches('v')))
}

#[cfg(test)]
pub mod fixture {
    //! Made-up trees for the rules' tests.
    use super::*;

    /// A member at `folder`, named as the convention asks, with one library root that passes every rule.
    pub fn krate(folder: &str) -> Crate {
        let last = folder.rsplit('/').next().unwrap_or(folder);
        let prefix = if folder.starts_with("chain/pallets/") { "phala-pallet-" } else { "phala-" };
        Crate {
            name: format!("{prefix}{last}"),
            folder: folder.to_owned(),
            description: "Does one thing".to_owned(),
            dependencies: Vec::new(),
            roots: vec![format!("{folder}/src/lib.rs")],
            member: true,
        }
    }

    /// A tree of these crates, each with its root file.
    pub fn tree(crates: Vec<Crate>) -> Workspace {
        let roots = crates.iter().flat_map(|krate| krate.roots.iter().cloned());
        let good = "//! A crate.\n#![forbid(unsafe_code)]\n";
        let files = roots.map(|path| (path, good.to_owned())).collect();
        Workspace { crates, files, ..Workspace::default() }
    }

    /// A dependency on the crate of ours at `folder`.
    pub fn ours(folder: &str, kind: Kind) -> Dependency {
        Dependency { name: krate(folder).name, kind, folder: Some(folder.to_owned()) }
    }

    /// A dependency on a crate of somebody else.
    pub fn theirs(name: &str, kind: Kind) -> Dependency {
        Dependency { name: name.to_owned(), kind, folder: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_cargo_tree() {
        assert_eq!(name_and_version("serde_derive v1.0.228 (proc-macro) (*)").as_deref(), Some("serde_derive 1.0.228"));
        assert_eq!(name_and_version(""), None);
    }

    #[test]
    fn finds_contracts_that_are_no_members() {
        let files = ["contracts/sdk/Cargo.toml", "contracts/token/Cargo.toml", "tee/core/Cargo.toml"];
        let files = files.iter().map(|path| ((*path).to_owned(), String::new())).collect();
        let lone = lone_contracts(&files, &[fixture::krate("contracts/sdk")]);
        assert_eq!(lone, ["contracts/token/Cargo.toml"]);
    }
}
