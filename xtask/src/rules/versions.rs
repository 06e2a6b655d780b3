//! Versions are chosen once, in `[workspace.dependencies]`; a member only says `workspace = true`.
//!
//! A crate may name itself by path: that is how its own tests switch on one of its features. The SDK is copied beside
//! every user's contract and inherits nothing; what it names must be at the workspace's version. A contract is outside
//! the workspace, as a user's is, and has its own versions.

use toml::{Table, Value};

use super::Finding;
use crate::workspace::Workspace;

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let root = match workspace.files.get("Cargo.toml").map(String::as_str).unwrap_or_default().parse::<Table>() {
        Ok(root) => root,
        Err(error) => return vec![Finding::new("Cargo.toml", error.message())],
    };
    let chosen = versions(&root);
    let mut findings = Vec::new();
    for krate in workspace.members() {
        let path = format!("{}/Cargo.toml", krate.folder);
        let Some(text) = workspace.files.get(&path) else { continue };
        let manifest = match text.parse::<Table>() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(Finding::new(path, error.message()));
                continue;
            }
        };
        for (name, value) in sections(&manifest).into_iter().flatten() {
            let copied = krate.zone() == "contracts" && chosen.contains(&(package(name, value), version(value)));
            if *name != krate.name && !inherits(value) && !copied {
                let wanted = if krate.zone() == "contracts" { "the workspace's version" } else { "`workspace = true`" };
                findings.push(Finding::new(&path, format!("'{name}' has a version of its own, not {wanted}")));
            }
        }
    }
    findings
}

/// What `[workspace.dependencies]` chooses: package and version.
fn versions(manifest: &Table) -> Vec<(&str, Option<&str>)> {
    let chosen =
        manifest.get("workspace").and_then(|workspace| workspace.get("dependencies")).and_then(Value::as_table);
    chosen.into_iter().flatten().map(|(name, value)| (package(name, value), version(value))).collect()
}

fn package<'a>(name: &'a str, value: &'a Value) -> &'a str {
    value.get("package").and_then(Value::as_str).unwrap_or(name)
}

fn version(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("version")?.as_str())
}

/// The dependency tables of a manifest, those under `[target.*]` included.
fn sections(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|targets| targets.values().filter_map(Value::as_table)));
    tables.flat_map(|table| SECTIONS.into_iter().filter_map(|section| table.get(section)?.as_table())).collect()
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(manifest: &str) -> Vec<Finding> {
        let mut tree = fixture::tree(vec![fixture::krate("tee/core")]);
        tree.files.insert("tee/core/Cargo.toml".into(), manifest.into());
        check(&tree)
    }

    #[test]
    fn accepts_what_inherits() {
        assert_eq!(
            findings("[dependencies]\na.workspace = true\nb = { workspace = true, features = [\n\"x\",\n] }\n"),
            []
        );
    }

    #[test]
    fn refuses_a_version_a_path_and_a_git_address() {
        for bad in ["a = \"1\"", "a = { path = \"../a\" }", "a = { git = \"https://example.org/a\" }"] {
            for section in ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
            {
                assert_eq!(findings(&format!("[{section}]\n{bad}\n")).len(), 1, "{section} {bad}");
            }
        }
    }

    #[test]
    fn accepts_in_the_sdk_only_the_versions_of_the_workspace() {
        let mut tree = fixture::tree(vec![fixture::krate("contracts/sdk")]);
        let chosen = "[workspace.dependencies]\nb = { package = \"a\", version = \"1.2.3\" }\n";
        tree.files.insert("Cargo.toml".into(), chosen.into());
        for (version, faults) in [("1.2.3", 0), ("1.2.4", 1)] {
            let manifest = format!("[dev-dependencies]\na = \"{version}\"\n");
            tree.files.insert("contracts/sdk/Cargo.toml".into(), manifest);
            assert_eq!(check(&tree).len(), faults, "{version}");
        }
    }

    #[test]
    fn accepts_a_crate_that_names_itself() {
        assert_eq!(findings("[dev-dependencies]\nphala-core = { path = \".\", features = [\"x\"] }\n"), []);
    }

    #[test]
    fn refuses_a_table_of_its_own() {
        assert_eq!(findings("[dependencies.a]\nversion = \"1\"\n").len(), 1);
    }

    #[test]
    fn reports_a_manifest_that_does_not_parse() {
        assert_eq!(findings("[dependencies").len(), 1);
    }
}
