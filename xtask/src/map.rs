//! The map: every crate with its one sentence, by zone, written into the README between two marks.

use anyhow::{Context, Result};

use crate::workspace::Workspace;

pub const FILE: &str = "README.md";
const BEGIN: &str = "<!-- map: written by `cargo xtask check --bless` -->\n";
const END: &str = "<!-- end of map -->\n";

/// The zones in the order a reader needs them, and whom each one asks you to trust.
const ZONES: [(&str, &str); 8] = [
    ("common", "compiled into every zone: no I/O, no clock, no secrets kept"),
    ("chain", "public and replicated: trust the consensus, it sees only ciphertext"),
    ("tee", "inside the measured binary: the host is the attacker"),
    ("host", "untrusted by the TEE: may lie, may crash, holds its owner's keys only"),
    ("contracts", "confidential contracts, and the SDK to write your own"),
    ("testing", "never shipped"),
    ("fuzz", "never shipped: hostile bytes for every decoder"),
    ("xtask", "the workspace's own tool"),
];

/// The map as markdown, without the marks.
pub fn render(workspace: &Workspace) -> String {
    let mut text = String::new();
    for (zone, trust) in ZONES {
        let crates: Vec<_> = workspace.crates.iter().filter(|krate| krate.zone() == zone).collect();
        if crates.is_empty() {
            continue;
        }
        text.push_str(&format!("\n**{zone}/** - {trust}\n\n"));
        for krate in crates {
            text.push_str(&format!("- [`{0}`]({0}) {1}\n", krate.folder, krate.description));
        }
    }
    text.push('\n');
    text
}

/// The part of a README between the marks, or nothing when it has none.
pub fn written(readme: &str) -> Option<&str> {
    let (_, rest) = readme.split_once(BEGIN)?;
    Some(rest.split_once(END)?.0)
}

/// Rewrites the README's map.
pub fn bless(workspace: &Workspace) -> Result<()> {
    let readme = workspace.files.get(FILE).context("there is no README.md")?;
    let old = written(readme).context("README.md has no map marks")?;
    let marked = |map: &str| format!("{BEGIN}{map}{END}");
    std::fs::write(workspace.root.join(FILE), readme.replace(&marked(old), &marked(&render(workspace))))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn lists_crates_by_zone_in_reading_order() {
        let text = render(&fixture::tree(vec![fixture::krate("tee/core"), fixture::krate("common/protocol")]));
        let (common, tee) = (text.find("common/protocol").unwrap(), text.find("tee/core").unwrap());
        assert!(common < tee);
        assert!(text.contains("- [`tee/core`](tee/core) Does one thing\n"));
        assert!(!text.contains("**host/**"));
    }

    #[test]
    fn reads_between_the_marks_only() {
        assert_eq!(written(&format!("before\n{BEGIN}the map\n{END}after")), Some("the map\n"));
        assert_eq!(written("no marks"), None);
    }
}
