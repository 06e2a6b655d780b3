//! Every numbered promise of SPECIFICATION.md names tests that exist, or says that nothing proves it yet.
//!
//! A promise is a list item that starts with `- **P<number>**` and ends before the next one, a heading or an empty
//! line. Its tests are the code spans with `::` in them: `crate::test_name` or `some/path::test_name`. The rule reads
//! that the function exists and is marked as a test; whether it proves the promise is for the reader.

use super::{line_of, Finding};
use crate::workspace::Workspace;

const FILE: &str = "SPECIFICATION.md";
const OPEN: &str = "[not yet]";

/// How many promises there are, and how far they are proved.
pub struct Count {
    pub all: usize,
    pub tested: usize,
    pub open: usize,
}

struct Promise<'a> {
    line: usize,
    number: Option<usize>,
    text: &'a str,
}

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let Some(text) = workspace.files.get(FILE) else { return vec![Finding::new(FILE, "is missing")] };
    let mut findings = Vec::new();
    for (index, promise) in promises(text).iter().enumerate() {
        let place = format!("{FILE}:{}", promise.line);
        if promise.number != Some(index + 1) {
            findings.push(Finding::new(
                &place,
                format!("expected P{} here: promises are numbered without gaps", index + 1),
            ));
        }
        let tests = tests(promise.text);
        if tests.is_empty() && !promise.text.contains(OPEN) {
            findings.push(Finding::new(&place, format!("names no test and does not say {OPEN}")));
        }
        let missing = tests.into_iter().filter(|test| !exists(workspace, test));
        findings
            .extend(missing.map(|test| Finding::new(&place, format!("names `{test}`, which is no test in the tree"))));
    }
    findings
}

/// Counts the promises for the summary.
pub fn count(workspace: &Workspace) -> Count {
    let all = promises(workspace.files.get(FILE).map(String::as_str).unwrap_or_default());
    let tested = all.iter().filter(|promise| !tests(promise.text).is_empty()).count();
    let open = all.iter().filter(|promise| promise.text.contains(OPEN)).count();
    Count { all: all.len(), tested, open }
}

fn promises(text: &str) -> Vec<Promise<'_>> {
    let starts: Vec<usize> =
        text.match_indices("- **P").map(|(offset, _)| offset).filter(|offset| starts_line(text, *offset)).collect();
    let found = starts.iter().filter_map(|start| {
        let rest = text.get(*start..)?;
        let ends = ["\n\n", "\n#", "\n- "].iter().filter_map(|end| rest.find(end)).min();
        let body = rest.get(..ends.unwrap_or(rest.len()))?;
        let number = body.trim_start_matches("- **P").split("**").next().and_then(|digits| digits.parse().ok());
        Some(Promise { line: line_of(text, *start), number, text: body })
    });
    found.collect()
}

fn starts_line(text: &str, offset: usize) -> bool {
    offset == 0 || text.get(..offset).is_some_and(|before| before.ends_with('\n'))
}

/// The code spans that name a test.
fn tests(promise: &str) -> Vec<&str> {
    promise.split('`').skip(1).step_by(2).filter(|span| span.contains("::")).collect()
}

fn exists(workspace: &Workspace, test: &str) -> bool {
    let Some((place, name)) = test.rsplit_once("::") else { return false };
    let Some(place) = place.split("::").next() else { return false };
    let named = workspace.crates.iter().find(|krate| krate.name == place || krate.name.replace('-', "_") == place);
    let place = named.map_or(place, |krate| krate.folder.as_str());
    let folder = format!("{place}/");
    let mut sources = workspace.rust_files().filter(|(path, _)| *path == place || path.starts_with(&folder));
    sources.any(|(_, text)| has_test(text, name))
}

/// A function of this name with a test attribute directly above it, among other attributes and comments.
fn has_test(text: &str, name: &str) -> bool {
    let start = format!("fn {name}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let defines = |line: &&str| line.strip_prefix("async ").unwrap_or(line).starts_with(&start);
    let above = |index: usize| {
        lines.iter().take(index).rev().take_while(|line| line.starts_with('#') || line.starts_with("//"))
    };
    let is_test = |line: &str| line.starts_with("#[test]") || (line.starts_with("#[") && line.contains("::test"));
    lines.iter().enumerate().any(|(index, line)| defines(line) && above(index).any(|line| is_test(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(specification: &str) -> Vec<Finding> {
        let mut tree = fixture::tree(vec![fixture::krate("tee/core")]);
        let source = "//! T.\n#[test]\n#[allow(x, reason = \"y\")]\nfn refuses_it() {}\n#[tokio::test]\nasync fn waits() {}\nfn helper() {}\n";
        tree.files.insert("tee/core/src/tests.rs".into(), source.into());
        tree.files.insert(FILE.into(), specification.into());
        check(&tree)
    }

    #[test]
    fn accepts_tests_by_crate_and_by_path_and_open_promises() {
        let text = "# S\n\n- **P1** It refuses. `phala-core::refuses_it`\n- **P2** It waits, on\n  two lines. `tee/core::waits` `phala_core::tests::refuses_it`\n- **P3** Later. [not yet]\n";
        assert_eq!(findings(text), []);
    }

    #[test]
    fn refuses_a_test_that_does_not_exist() {
        assert_eq!(findings("- **P1** It refuses. `phala-core::gone`\n").len(), 1);
        assert_eq!(findings("- **P1** It refuses. `phala-other::refuses_it`\n").len(), 1);
    }

    #[test]
    fn refuses_a_function_that_is_no_test() {
        assert_eq!(findings("- **P1** It refuses. `phala-core::helper`\n").len(), 1);
    }

    #[test]
    fn refuses_a_promise_with_neither() {
        assert_eq!(findings("- **P1** Trust us.\n\n[not yet]\n").len(), 1);
    }

    #[test]
    fn refuses_a_gap_and_a_number_used_twice() {
        assert_eq!(findings("- **P1** A. [not yet]\n- **P3** B. [not yet]\n").len(), 1);
        assert_eq!(findings("- **P1** A. [not yet]\n- **P1** B. [not yet]\n").len(), 1);
    }

    #[test]
    fn refuses_a_missing_specification() {
        assert_eq!(check(&fixture::tree(Vec::new())).len(), 1);
    }

    #[test]
    fn counts_promises() {
        let mut tree = fixture::tree(Vec::new());
        tree.files.insert(FILE.into(), "- **P1** A. `a::b`\n- **P2** B. [not yet]\n".into());
        let Count { all, tested, open } = count(&tree);
        assert_eq!((all, tested, open), (2, 1, 1));
    }
}
