//! Each source file opens with what it is, stays short enough to read, and holds nothing unfinished.

use super::{line_of, Finding};
use crate::workspace::Workspace;

/// At this length a file is split, whatever it holds.
const LONGEST: usize = 1000;

/// Files that a person maintains and that must hold no note of unfinished work.
const KINDS: [&str; 6] = [".rs", ".toml", ".sh", ".ts", ".mjs", ".js"];

/// Split, or this file would find itself.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in workspace.rust_files() {
        let lines = text.lines().count();
        if lines >= LONGEST {
            findings.push(Finding::new(path, format!("has {lines} lines, split it")));
        }
        // Inner attributes may come first.
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            findings.push(Finding::new(
                path,
                "does not open with //!: what it is, what it guarantees, who controls its inputs",
            ));
        }
    }
    findings
}

pub fn check_finished(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let kept = |path: &str| {
        KINDS.iter().any(|kind| path.ends_with(kind)) || path.starts_with("scripts/") || path.starts_with(".ci/")
    };
    for (path, text) in workspace.files.iter().filter(|(path, _)| kept(path)) {
        for mark in UNFINISHED {
            if let Some(offset) = find_word(text, mark) {
                findings.push(Finding::new(format!("{path}:{}", line_of(text, offset)), format!("says {mark}")));
            }
        }
    }
    findings
}

/// The first place where `word` stands alone: not inside a longer word.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let letter = |found: Option<char>| found.is_some_and(|found| found.is_alphanumeric() || found == '_');
    let alone = |offset: &usize| {
        let (before, after) = (text.get(..*offset), text.get(offset + word.len()..));
        !letter(before.and_then(|text| text.chars().next_back()))
            && (word.ends_with('(') || !letter(after.and_then(|text| text.chars().next())))
    };
    text.match_indices(word).map(|(offset, _)| offset).find(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn with(path: &str, text: &str) -> Workspace {
        let mut tree = fixture::tree(Vec::new());
        tree.files.insert(path.into(), text.into());
        tree
    }

    #[test]
    fn accepts_a_short_file_that_says_what_it_is() {
        assert_eq!(check(&with("a/b.rs", "#![no_std]\n\n//! What it is.\nfn f() {}\n")), []);
    }

    #[test]
    fn refuses_a_file_without_its_first_words() {
        assert_eq!(check(&with("a/b.rs", "fn f() {}\n//! Too late.\n")).len(), 1);
        assert_eq!(check(&with("a/b.rs", "")).len(), 1);
    }

    #[test]
    fn refuses_a_file_of_a_thousand_lines() {
        assert_eq!(check(&with("a/b.rs", &"//! Line.\n".repeat(999))), []);
        assert_eq!(check(&with("a/b.rs", &"//! Line.\n".repeat(1000))).len(), 1);
    }

    #[test]
    fn refuses_every_mark_of_unfinished_work_and_names_the_line() {
        for mark in UNFINISHED {
            let found = check_finished(&with("a/b.rs", &format!("//! A.\n// {mark} later\n")));
            assert_eq!(found.len(), 1, "{mark}");
            assert_eq!(found[0].place, "a/b.rs:2");
        }
        assert_eq!(check_finished(&with("scripts/dev", &format!("# {}\n", UNFINISHED[0]))).len(), 1);
    }

    #[test]
    fn accepts_a_longer_word_that_holds_a_mark() {
        assert_eq!(check_finished(&with("a/b.rs", &format!("{}LIST AS{}", UNFINISHED[0], UNFINISHED[0]))), []);
    }
}
