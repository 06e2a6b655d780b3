//! A crate's description is one sentence that starts with a verb: what it does, for the map.

use super::Finding;
use crate::workspace::Workspace;

/// Longer than this is two jobs.
const LONGEST: usize = 140;

/// First words that end in `s` like a verb and are none.
const NO_VERBS: [&str; 6] = ["This", "Its", "Tools", "Types", "Utilities", "Helpers"];

pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let wrong = workspace
        .crates
        .iter()
        .filter_map(|krate| problem(&krate.description).map(|problem| Finding::new(&krate.name, problem)));
    wrong.collect()
}

fn problem(description: &str) -> Option<String> {
    let first = description.split_whitespace().next().unwrap_or_default();
    if first.is_empty() {
        return Some("has no description".into());
    }
    if description.len() > LONGEST {
        return Some(format!("description is longer than {LONGEST} characters"));
    }
    if description.contains(". ") || description.ends_with('.') {
        return Some("description is more than one sentence, or ends with a full stop".into());
    }
    // Third person singular, as in "Verifies attestation evidence".
    let verb = first.starts_with(char::is_uppercase) && first.ends_with('s') && !NO_VERBS.contains(&first);
    (!verb).then(|| format!("description starts with '{first}', not with a verb like 'Verifies'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[test]
    fn accepts_one_sentence_with_a_verb() {
        assert_eq!(problem("Verifies finality, authority changes and storage proofs"), None);
    }

    #[test]
    fn refuses_none_a_noun_and_two_sentences() {
        for bad in ["", "Utilities for the chain", "The worker", "Runs it. Twice", "Runs it."] {
            let mut krate = fixture::krate("tee/core");
            krate.description = bad.into();
            assert_eq!(check(&fixture::tree(vec![krate])).len(), 1, "{bad}");
        }
    }

    #[test]
    fn refuses_a_description_that_is_a_page() {
        assert!(problem(&format!("Runs {}", "x".repeat(LONGEST))).is_some());
    }
}
