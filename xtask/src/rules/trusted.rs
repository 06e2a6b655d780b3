//! `tee/TCB.txt` against what cargo would link: adding a crate to the trusted binary is a change somebody reads.

use super::Finding;
use crate::trusted::{render, FILE};
use crate::workspace::Workspace;

/// Never in the trusted binary, whichever crate asks for it.
const BANNED: [(&str, &str); 6] = [
    ("frame-", "the TEE links no FRAME"),
    ("pallet-", "the TEE links no pallet"),
    ("sc-", "the TEE links no node"),
    ("phala-insecure-", "the measured binary contains no simulator"),
    ("openssl", "C code that parses what arrives"),
    ("native-tls", "C code that parses what arrives"),
];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in &workspace.trusted.linked {
        for (prefix, reason) in BANNED {
            if name.starts_with(prefix) {
                findings.push(Finding::new("phala-worker", format!("links {name}: {reason}")));
            }
        }
    }
    let written = workspace.files.get(FILE).map(String::as_str).unwrap_or_default();
    let computed = render(&workspace.trusted);
    if written != computed {
        let has = |text: &str, line: &str| text.lines().any(|other| other == line);
        let mut changes: Vec<String> = Vec::new();
        changes.extend(computed.lines().filter(|line| !has(written, line)).map(|line| format!("+ {line}")));
        changes.extend(written.lines().filter(|line| !has(&computed, line)).map(|line| format!("- {line}")));
        let problem = format!(
            "differs from cargo's answer; read the difference, then `cargo xtask check --bless`: {}",
            changes.join(", ")
        );
        findings.push(Finding::new(FILE, problem));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{fixture, TrustedBinary};

    fn tree(linked: &[&str], written: Option<&[&str]>) -> Workspace {
        let list = |names: &[&str]| TrustedBinary {
            linked: names.iter().map(|name| (*name).to_owned()).collect(),
            building: Vec::new(),
        };
        let mut tree = fixture::tree(Vec::new());
        tree.trusted = list(linked);
        if let Some(names) = written {
            tree.files.insert(FILE.into(), render(&list(names)));
        }
        tree
    }

    #[test]
    fn accepts_the_list_as_written() {
        assert_eq!(check(&tree(&["blake2 0.10.6"], Some(&["blake2 0.10.6"]))), []);
    }

    #[test]
    fn reports_a_crate_that_came_in_and_one_that_left() {
        let findings = check(&tree(&["blake2 0.10.6", "extra 1.0.0"], Some(&["blake2 0.10.6", "gone 1.0.0"])));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].problem.contains("+ extra 1.0.0") && findings[0].problem.contains("- gone 1.0.0"));
    }

    #[test]
    fn reports_a_missing_list() {
        assert_eq!(check(&tree(&["blake2 0.10.6"], None)).len(), 1);
    }

    #[test]
    fn refuses_frame_even_when_the_list_names_it() {
        let names = ["frame-support 49.0.1"];
        assert_eq!(check(&tree(&names, Some(&names))).len(), 1);
    }
}
