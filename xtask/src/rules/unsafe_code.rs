//! `#![forbid(unsafe_code)]` stands in every crate root but those named here, each with its reason.

use super::Finding;
use crate::workspace::Workspace;

/// Roots without the line. Workspace lints still deny unsafe code there, so each block carries its own `expect`.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("chain/node/src/main.rs", "what the node says when a mapped file fails it is said by a signal's handler"),
    (
        "chain/runtime/src/lib.rs",
        "the macro that exports the runtime's API writes its WASM entry points as unsafe functions",
    ),
    ("contracts/sdk/src/lib.rs", "a contract's host calls are foreign functions on its linear memory"),
    ("testing/attest-corpus/module/src/lib.rs", "a module without a system exports functions and brings its allocator"),
];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for root in workspace.members().flat_map(|krate| &krate.roots) {
        let text = workspace.files.get(root).map(String::as_str).unwrap_or_default();
        let forbids = text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
        let excepted = EXCEPTIONS.iter().any(|(path, _)| path == root);
        if !forbids && !excepted {
            findings.push(Finding::new(root, "lacks #![forbid(unsafe_code)]"));
        }
    }
    for (path, _) in EXCEPTIONS {
        let needless = workspace.files.get(path).is_some_and(|text| text.contains("#![forbid(unsafe_code)]"));
        if needless {
            findings.push(Finding::new(path, "forbids unsafe code: remove it from the exceptions"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn accepts_a_root_that_forbids() {
        assert_eq!(check(&fixture::tree(vec![fixture::krate("tee/core")])), []);
    }

    #[test]
    fn refuses_a_root_that_does_not_even_in_a_comment() {
        let mut tree = fixture::tree(vec![fixture::krate("tee/core")]);
        tree.files.insert("tee/core/src/lib.rs".into(), "//! Has no #![forbid(unsafe_code)]\n".into());
        assert_eq!(check(&tree).len(), 1);
    }

    #[test]
    fn refuses_an_exception_that_is_not_needed() {
        assert_eq!(check(&fixture::tree(vec![fixture::krate("contracts/sdk")])).len(), 1);
    }
}
