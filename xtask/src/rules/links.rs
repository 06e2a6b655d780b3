//! Relative links in markdown lead to a tracked file or folder.

use super::{line_of, Finding};
use crate::workspace::Workspace;

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in workspace.files.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (offset, target) in links(text) {
            let target = target.split('#').next().unwrap_or(target);
            let elsewhere = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !elsewhere && !exists(workspace, path, target) {
                findings.push(Finding::new(
                    format!("{path}:{}", line_of(text, offset)),
                    format!("links to {target}, which is not there"),
                ));
            }
        }
    }
    findings
}

/// Every `](target)` with its place.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices("](").filter_map(|(offset, mark)| {
        let rest = text.get(offset + mark.len()..)?;
        Some((offset, rest.split_once(')')?.0))
    })
}

fn exists(workspace: &Workspace, from: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return false;
                }
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let folder = format!("{path}/");
    path.is_empty()
        || workspace.files.contains_key(&path)
        || workspace.files.keys().any(|file| file.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(path: &str, text: &str) -> Vec<Finding> {
        let mut tree = fixture::tree(vec![fixture::krate("tee/core")]);
        tree.files.insert(path.into(), text.into());
        check(&tree)
    }

    #[test]
    fn accepts_files_folders_parents_and_other_sites() {
        assert_eq!(
            findings("README.md", "[a](tee/core) [b](tee/core/src/lib.rs#x) [c](#here) [d](https://example.org)"),
            []
        );
        assert_eq!(findings("tee/README.md", "[a](../tee/core/) [b](core/src/lib.rs)"), []);
    }

    #[test]
    fn refuses_a_link_to_nothing_and_one_out_of_the_repository() {
        assert_eq!(findings("README.md", "[a](tee/gone)").len(), 1);
        assert_eq!(findings("README.md", "[a](../other)").len(), 1);
    }
}
