//! Runs scenarios: given ones, those that chance makes, and smaller ones that still fail.
//!
//! Guarantees: a panic anywhere under an action is a violation like any other; the same scenario always ends the same way, so
//! that what [`shrink`] returns fails for the same reason as what it was given.

use crate::{
    action::{Action, Scenario},
    generator::Generator,
    invariants::Violation,
    world::{Counts, World},
};
use phala_protocol::Hash;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Hash over everything that happened.
    pub trace: Hash,
    /// What happened how often.
    pub counts: Counts,
    /// The same in words.
    pub story: Vec<String>,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
}

/// Runs a scenario, then lets everything come to rest and audits it.
pub fn run(scenario: &Scenario) -> Ran {
    let mut actions = scenario.actions.clone();
    actions.push(Action::Settle {});
    let mut actions = actions.into_iter();
    execute(scenario, |_| actions.next()).0
}

/// Runs `steps` actions of chance. Also returns the scenario that they are, up to the one that failed.
pub fn run_seed(seed: u64, steps: usize) -> (Ran, Scenario) {
    let (mut generator, mut scenario) = Generator::new(seed);
    let mut left = steps;
    let (ran, done) = execute(&scenario, |world| {
        left = left.checked_sub(1)?;
        Some(if left == 0 { Action::Settle {} } else { generator.next(world) })
    });
    scenario.actions = done;
    (ran, scenario)
}

fn execute(scenario: &Scenario, mut next: impl FnMut(&World) -> Option<Action>) -> (Ran, Vec<Action>) {
    let mut done = Vec::new();
    let mut world = match guarded(|| World::new(scenario)).and_then(|made| made) {
        Ok(world) => world,
        Err(violation) => {
            return (
                Ran { trace: [0; 32], counts: Counts::new(), story: Vec::new(), violation: Some(violation) },
                done,
            );
        }
    };
    let mut violation = None;
    while let Some(action) = next(&world) {
        done.push(action.clone());
        if let Err(found) = guarded(|| world.act(&action)).and_then(|checked| checked) {
            violation = Some(found);
            break;
        }
    }
    let (counts, story) = (std::mem::take(&mut world.counts), std::mem::take(&mut world.story));
    let ran = Ran { trace: world.trace(), counts, story, violation };
    // What panicked may panic again when it is dropped.
    let _ = guarded(move || drop(world));
    (ran, done)
}

fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, Violation> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Violation::new("invariant_no_panic", said.unwrap_or_default())
    })
}

/// A scenario with as few actions as can be found that breaks the same invariant. Runs it at most `budget` times.
pub fn shrink(scenario: &Scenario, invariant: &str, mut budget: usize) -> Scenario {
    let mut fails = |candidate: &Scenario| {
        budget = budget.saturating_sub(1);
        (run(candidate).violation.is_some_and(|violation| violation.invariant == invariant), budget)
    };
    let mut smallest = scenario.clone();
    let mut chunk = smallest.actions.len().div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < smallest.actions.len() {
            let mut candidate = smallest.clone();
            candidate.actions.drain(from..(from + chunk).min(candidate.actions.len()));
            let (failed, left) = fails(&candidate);
            if failed {
                smallest = candidate;
            } else {
                from += chunk;
            }
            if left == 0 {
                return smallest;
            }
        }
        if chunk == 1 {
            return smallest;
        }
        chunk = chunk.div_ceil(2);
    }
}
