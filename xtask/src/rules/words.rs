//! No tracked file names the machine it was written on: such a path works nowhere else.

use super::{line_of, Finding};
use crate::workspace::Workspace;

/// Split, or this file would find itself.
const BANNED: [(&str, &str); 6] = [
    (concat!("/ro", "ot/"), "a home folder"),
    (concat!("/wo", "rk/"), "a folder of one machine"),
    (concat!("/ho", "me/"), "a home folder"),
    (concat!("index.", "crates.io"), "a registry's host: cargo knows it"),
    (concat!("static.", "crates.io"), "a registry's host: cargo knows it"),
    (concat!(".cargo/", "registry"), "cargo's cache"),
];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &workspace.files {
        for (word, reason) in BANNED {
            let hit = text.match_indices(word).find(|(offset, _)| starts_a_path(text, *offset, word));
            if let Some((offset, _)) = hit {
                findings
                    .push(Finding::new(format!("{path}:{}", line_of(text, offset)), format!("says {word}, {reason}")));
            }
        }
    }
    findings
}

/// `state/root/x` holds a banned word and is no path of a machine.
fn starts_a_path(text: &str, offset: usize, word: &str) -> bool {
    let before = text.get(..offset).and_then(|text| text.chars().next_back());
    !word.starts_with('/') || !before.is_some_and(|before| before.is_alphanumeric() || "._-})/".contains(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(text: &str) -> Vec<Finding> {
        let mut tree = fixture::tree(Vec::new());
        tree.files.insert("docs/guide.md".into(), text.into());
        check(&tree)
    }

    #[test]
    fn refuses_every_banned_word() {
        for (word, _) in BANNED {
            let found = findings(&format!("first line\nsee {word}x"));
            assert_eq!(found.len(), 1, "{word}");
            assert_eq!(found[0].place, "docs/guide.md:2");
        }
    }

    #[test]
    fn accepts_a_path_inside_the_repository() {
        assert_eq!(findings(&format!("state{}x and ./a{}", BANNED[0].0, BANNED[1].0)), []);
    }
}
