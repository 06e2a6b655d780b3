//! Chance, in small: the campaign runs thousands.

use phala_sim::{run, run_seed, Action};

fn holds(from: u64, seeds: u64, steps: usize) {
    for seed in from..from + seeds {
        let (ran, scenario) = run_seed(seed, steps);
        assert_eq!(ran.violation, None, "seed {seed}:\n{scenario}");
    }
}

#[test]
fn every_invariant_holds_in_a_hostile_network() {
    holds(1, 16, 60);
}

#[test]
fn every_invariant_holds_in_a_hostile_network_for_longer() {
    holds(1_000, 3, 200);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, scenario) = run_seed(7, 60);
    let (second, again) = run_seed(7, 60);
    assert_eq!((&first, &scenario), (&second, &again));
    // A scenario read back from its text is the run that it was made by: its last action settles already.
    let mut replayed = scenario.to_string().parse::<phala_sim::Scenario>().unwrap();
    assert_eq!(replayed.actions.pop(), Some(Action::Settle {}));
    assert_eq!(run(&replayed).trace, first.trace);
    assert_ne!(run_seed(8, 60).0.trace, first.trace);
}
