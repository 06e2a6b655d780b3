//! A build of the workspace's binaries and one of its tests resolve the same features, so that they share artifacts.
//!
//! Where they differ, cargo compiles the crate and everything above it twice; below `serde_json` stands the whole node.

use super::Finding;
use crate::workspace::Workspace;

const FILE: &str = "testing/features/Cargo.toml";

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let resolved = &workspace.features;
    let different = resolved.binaries.difference(&resolved.tests);
    let describe = |line: &String| {
        let name = line.split(" [").next().unwrap_or(line);
        let start = format!("{name} [");
        let tests: Vec<&str> = resolved.tests.iter().filter_map(|other| other.strip_prefix(&start)).collect();
        Finding::new(
            FILE,
            format!("{line} for binaries, but [{} for tests: name what is missing", tests.join(" and [")),
        )
    };
    different.map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    fn findings(binaries: &[&str], tests: &[&str]) -> Vec<Finding> {
        let mut tree = fixture::tree(Vec::new());
        tree.features.binaries = binaries.iter().map(|line| (*line).to_owned()).collect();
        tree.features.tests = tests.iter().map(|line| (*line).to_owned()).collect();
        check(&tree)
    }

    #[test]
    fn accepts_a_crate_that_only_tests_use() {
        assert_eq!(findings(&["a v1 [std]"], &["a v1 [std]", "proptest v1 [std]"]), []);
    }

    #[test]
    fn refuses_a_crate_with_other_features_for_tests() {
        let found = findings(&["a v1 [std]"], &["a v1 [order,std]"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].problem.contains("a v1 [std] for binaries, but [order,std] for tests"));
    }
}
