//! The whole list of what contracts may import: against its page, against what is linked, and for what each gives them.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../../../docs/contract-abi.md");

/// What a contract has of a function. None is a key that stays: each says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    /// Nothing.
    Nothing,
    /// What the chain says of the command, to everybody: no secret, and so no key.
    Public,
    /// What somebody sent, or what contracts of the cluster stored, answered or have in memory: a key only if it was one before it came in.
    Contracts,
    /// Secret bytes that no contract made. They are of the epoch's entropy, of the item and of the number of the draw: no two draws are the
    /// same, none can be repeated, and nothing that is in a worker after the epochs around it gives them again.
    Entropy,
}

/// Each function, and what it gives. Whoever adds one says here what that is, and so why it is not a stable key.
const GIVES: [(&str, Gives); 20] = [
    ("input_len", Gives::Contracts),
    ("input_read", Gives::Contracts),
    ("output_write", Gives::Nothing),
    ("storage_get", Gives::Contracts),
    ("storage_set", Gives::Nothing),
    ("storage_remove", Gives::Nothing),
    ("result_read", Gives::Contracts),
    ("caller", Gives::Public),
    ("contract_id", Gives::Public),
    ("value", Gives::Public),
    ("cluster", Gives::Public),
    ("block_number", Gives::Public),
    ("block_time_ms", Gives::Public),
    ("emit_event", Gives::Nothing),
    ("egress", Gives::Nothing),
    ("hash_blake2b_256", Gives::Contracts),
    ("random", Gives::Entropy),
    ("call_contract", Gives::Contracts),
    ("query_contract", Gives::Contracts),
    ("log", Gives::Nothing),
];

/// A function as the page has it: its parameters' names and types, and its result's.
#[derive(Clone)]
struct Row {
    name: &'static str,
    parameters: Vec<(&'static str, ValType)>,
    results: Vec<ValType>,
}

fn type_of(name: &str) -> ValType {
    match name {
        "i32" => I32,
        "i64" => I64,
        other => unreachable!("the page has the type {other}"),
    }
}

/// The rows of the page's table of host functions.
fn rows() -> Vec<Row> {
    let section = PAGE.split("\n## Host functions\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut rows: Vec<Row> = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
        let (name, kind) = (cells.next().unwrap(), cells.next().unwrap());
        let row = match (kind, rows.last()) {
            ("the same", Some(before)) => Row { name, ..before.clone() },
            _ => {
                let (parameters, results) = kind.split_once(" -> ").unwrap_or((kind, ""));
                let parameters = parameters.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
                let parameters = parameters.split(", ").filter(|parameter| !parameter.is_empty());
                let typed = |parameter: &'static str| match parameter.split_once(": ") {
                    Some((name, kind)) => (name, type_of(kind)),
                    None => (parameter, I32),
                };
                let results = results.split(", ").filter(|result| !result.is_empty());
                Row { name, parameters: parameters.map(typed).collect(), results: results.map(type_of).collect() }
            }
        };
        rows.push(row);
    }
    rows
}

#[test]
fn host_functions_are_those_of_the_page_and_each_is_linked() {
    let page: Vec<_> = rows()
        .into_iter()
        .map(|Row { name, parameters, results }| {
            (name, parameters.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(), results)
        })
        .collect();
    let own = HOST_FUNCTIONS.map(|(name, parameters, results)| (name, parameters.to_vec(), results.to_vec()));
    assert_eq!(page, own);
    for (name, parameters, results) in HOST_FUNCTIONS {
        assert_eq!(signature(name), Some((parameters, results)), "{name} is there once");
    }
    // A contract that imports all of them compiles, and has each resolved.
    let types = |list: &[ValType]| list.iter().map(ValType::to_string).collect::<Vec<_>>().join(" ");
    let import = |(name, parameters, results): (&str, &[ValType], &[ValType])| {
        format!(r#"(import "phala" "{name}" (func (param {}) (result {})))"#, types(parameters), types(results))
    };
    let entry = |name: &str| format!(r#"(func (export "{name}") (result i32) i32.const 0)"#);
    let (imports, entries) = (HOST_FUNCTIONS.map(import).concat(), ENTRIES.map(entry).concat());
    let code = wat::parse_str(format!(r#"(module {imports} (memory (export "memory") 1) {entries})"#)).unwrap();
    crate::Engine::new().unwrap().compile(&code).unwrap();
}

#[test]
fn no_host_function_gives_a_contract_a_key_that_stays() {
    let known = BTreeMap::from(GIVES);
    let names: BTreeSet<&str> = known.keys().copied().collect();
    assert_eq!(names, BTreeSet::from(HOST_FUNCTIONS.map(|(name, ..)| name)));
    for Row { name, parameters, results } in rows() {
        let writes_memory = parameters.iter().any(|(parameter, _)| *parameter == "to");
        let gives = known[name] != Gives::Nothing;
        assert_eq!(gives, writes_memory || !results.is_empty(), "{name}");
    }
    // One alone gives secret bytes that are not of contracts, and draws them anew each time.
    let secret: Vec<&str> = GIVES.iter().filter(|(_, gives)| *gives == Gives::Entropy).map(|(name, _)| *name).collect();
    assert_eq!(secret, ["random"]);
}
