//! The pallets' `weights.rs`: which functions there are, and their bodies replaced.
//!
//! It works on the text, in the form that `cargo fmt` gives it. What a replaced body was the last to use - a constant, a function or an
//! import of the file - is removed with it. Whoever runs the tool runs `cargo fmt --all` after it and reads what changed.

use anyhow::{ensure, Context, Result};
use std::path::PathBuf;

/// The pallets, in the order of their indices.
pub(crate) const PALLETS: [&str; 7] =
    ["attestation", "inbox", "contracts", "gatekeepers", "beacon", "egress", "heartbeats"];

const TRAIT: &str = "pub trait WeightInfo {\n";
const IMPLEMENTATION: &str = "impl WeightInfo for () {\n";
const TESTS: &str = "#[cfg(test)]\n";

/// Where the weights of a pallet stand.
pub(crate) fn path(pallet: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../../chain/pallets/{pallet}/src/weights.rs"))
}

/// A function without a body in the trait `WeightInfo`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) parameters: Vec<String>,
}

pub(crate) fn functions(source: &str) -> Result<Vec<Function>> {
    let (_, rest) = source.split_once(TRAIT).context("there is no trait WeightInfo")?;
    let (body, _) = rest.split_once("\n}\n").context("the trait does not end")?;
    body.lines()
        .filter_map(|line| line.strip_prefix("    fn ").filter(|line| line.ends_with(';')))
        .map(|line| {
            let (name, rest) = line.split_once('(').context("a function without parameters")?;
            let (list, _) = rest.split_once(')').context("parameters do not end")?;
            let names = list.split(',').filter_map(|one| one.split_once(':'));
            let parameters = names.map(|(name, _)| name.trim().to_owned()).collect();
            Ok(Function { name: name.to_owned(), parameters })
        })
        .collect()
}

/// The source with another body of a function of `impl WeightInfo for ()`.
pub(crate) fn with_body(source: &str, function: &str, body: &str) -> Result<String> {
    let begin = source.find(IMPLEMENTATION).context("there is no implementation for ()")?;
    let (before, implementation) = source.split_at(begin);
    let declared = format!("\n    fn {function}(");
    let at = implementation.find(&declared).with_context(|| format!("{function} is not implemented"))?;
    let (earlier, rest) = implementation.split_at(at);
    let (signature, rest) = rest.split_once("{\n").context("the function has no body")?;
    let (_, rest) = rest.split_once("\n    }\n").context("the function does not end")?;
    Ok(format!("{before}{earlier}{signature}{{\n{body}\n    }}\n{rest}"))
}

/// The source without constants, functions and imports of the file that nothing but tests uses any more.
pub(crate) fn without_unused(source: &str) -> Result<String> {
    let mut source = source.to_owned();
    while let Some(line) = first_unused(&source) {
        source = without_item(&source, line)?;
    }
    while source.contains("\n\n\n") {
        source = source.replace("\n\n\n", "\n\n");
    }
    ensure!(source.contains(IMPLEMENTATION), "the implementation is gone");
    Ok(source)
}

/// The line of the first private item whose name stands nowhere else before the tests.
fn first_unused(source: &str) -> Option<usize> {
    let shipped = source.split(TESTS).next().unwrap_or(source);
    shipped.lines().position(|line| declared(line).is_some_and(|name| mentions(shipped, name) == 1))
}

/// The name that a line declares in the file: of a constant, a function, or an import of one thing of ours.
fn declared(line: &str) -> Option<&str> {
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    if let Some(rest) = line.strip_prefix("const ") {
        return rest.split(':').next().filter(is_name);
    }
    if let Some(rest) = line.strip_prefix("fn ") {
        return rest.split('(').next().filter(is_name);
    }
    let import = line.strip_prefix("use ")?.strip_suffix(';')?;
    import.rsplit("::").next().filter(is_name)
}

/// How often a name stands in code: a comment that names it does not use it.
fn mentions(source: &str, name: &str) -> usize {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or(line));
    code.flat_map(|line| line.split(|one: char| !one.is_ascii_alphanumeric() && one != '_'))
        .filter(|word| *word == name)
        .count()
}

/// The source without the item that begins at a line, and without its documentation.
fn without_item(source: &str, line: usize) -> Result<String> {
    let lines: Vec<&str> = source.lines().collect();
    let is_function = lines.get(line).is_some_and(|first| first.starts_with("fn "));
    let ends = |line: &&str| if is_function { *line == "}" } else { line.ends_with(';') };
    let length = lines.iter().skip(line).position(ends).context("an item does not end")? + 1;
    let documentation = lines.iter().take(line).rev().take_while(|line| line.starts_with("///")).count();
    let kept = lines.iter().take(line - documentation).chain(lines.iter().skip(line + length));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
//! Head, with ONE.

use crate::Other;
use a::{b, Weight};

/// The trait.
pub trait WeightInfo {
    /// One.
    fn one(number: u32, bytes: u32) -> Weight;
    /// Two.
    fn two() -> Weight;

    /// Not of the tool.
    fn most() -> Weight {
        Self::two()
    }
}

/// Documented.
const ONE: Weight = Weight::from_parts(1, 0);

/// Used by the constant's user only.
fn helper() -> Weight {
    ONE
}

impl WeightInfo for () {
    fn one(number: u32, bytes: u32) -> Weight {
        // Not ONE.
        helper().saturating_mul(Other::OF)
    }

    fn two() -> Weight {
        Weight::zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
}
";

    #[test]
    fn functions_without_a_body_are_found_with_their_parameters() {
        let found = functions(SOURCE).unwrap();
        let names: Vec<_> = found.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(found[0].parameters, ["number", "bytes"]);
        assert!(found[1].parameters.is_empty());
    }

    #[test]
    fn one_body_is_replaced_and_what_it_alone_used_goes_with_it() {
        let replaced = with_body(SOURCE, "one", "        Weight::zero()").unwrap();
        assert!(replaced.contains("-> Weight {\n        Weight::zero()\n    }\n\n    fn two()"));
        let pruned = without_unused(&replaced).unwrap();
        assert!(!pruned.contains("helper") && !pruned.contains("const ONE") && !pruned.contains("Other"));
        assert!(!pruned.contains("Documented.") && pruned.contains("use a::{b, Weight};"));
        assert_eq!(without_unused(SOURCE).unwrap(), SOURCE);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(with_body(SOURCE, "three", "").is_err());
        assert!(functions("fn main() {}\n").is_err());
    }

    #[test]
    fn every_pallets_weights_can_be_read_and_written() {
        for pallet in PALLETS {
            let source = std::fs::read_to_string(path(pallet)).unwrap();
            for function in functions(&source).unwrap() {
                with_body(&source, &function.name, "        Weight::zero()").unwrap();
            }
            assert_eq!(without_unused(&source).unwrap(), source, "{pallet}");
        }
    }
}
