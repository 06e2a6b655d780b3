//! Every scenario under `scenarios/`: what a hostile relayer, host or clock does, and each defect that chance has found.
//!
//! What a scenario expects on its way stands in its text; at its end everything comes to rest and is audited.
#![allow(clippy::disallowed_methods, reason = "reads the scenarios")]

use phala_sim::{majority::Loss, record::NEEDED_OF_MANY, run, Action, Scenario};
use std::path::{Path, PathBuf};

const RELAYER: [&str; 4] =
    ["relayer_drops_items", "relayer_names_a_wrong_block", "relayer_reorders_and_duplicates", "relayer_withholds"];
const FINALITY: [&str; 2] = ["relayer_forges_finality", "relayer_forks"];
const REWOUND: [&str; 2] = ["disk_rewound", "disk_rewound_over_an_epoch"];
const DISK: [&str; 2] = ["disk_full", "power_cuts"];
const DOWNTIME: [&str; 3] =
    ["all_down_for_longer_than_an_epoch", "one_down_for_longer_than_an_epoch", "starts_shortly_before_an_epoch_opens"];
const KEYS: [&str; 2] = ["gatekeeper_restarts", "keys_are_lost_on_their_way"];
const ROOTS: [&str; 3] =
    ["goes_over_to_another_root", "goes_over_while_one_is_away", "goes_over_without_an_ex_replica"];
const LIARS: &str = "gatekeepers_lie";
const SNAPSHOTS: [&str; 3] =
    ["maker_dies_while_it_hands_on", "snapshot_is_damaged_on_its_way", "takes_over_by_snapshot"];
const NO_FOLDER: &str = "nobody_keeps_a_snapshot";
const DEPARTURE: &str = "leaves_while_another_is_left_behind";
const OTHERS: [&str; 6] = ["clock_jumps", DEPARTURE, LIARS, NO_FOLDER, "poison", "replica_leaves_and_comes_back"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn read(name: &str) -> Scenario {
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn end_well(names: &[&str]) {
    for name in names {
        let ran = run(&read(name));
        assert_eq!(ran.violation, None, "{name}:\n{}", ran.story.join("\n"));
    }
}

#[test]
fn a_relayer_that_drops_reorders_duplicates_or_withholds_changes_no_result() {
    end_well(&RELAYER);
}

#[test]
fn forks_and_forged_finality_are_never_believed() {
    end_well(&FINALITY);
}

#[test]
fn a_rewound_or_emptied_disk_is_not_served_from_before_it_has_caught_up() {
    end_well(&REWOUND);
}

#[test]
fn power_cuts_and_full_disks_lose_and_double_nothing() {
    end_well(&DISK);
}

#[test]
fn downtime_of_more_than_an_epoch_is_survived_by_the_cluster() {
    end_well(&DOWNTIME);
}

#[test]
fn keys_that_are_lost_delayed_or_altered_on_their_way_are_asked_for_again() {
    end_well(&KEYS);
}

#[test]
fn a_clock_that_jumps_stops_nobody() {
    end_well(&["clock_jumps"]);
}

#[test]
fn every_kind_of_poison_gets_its_reply_and_what_follows_executes() {
    end_well(&["poison"]);
}

#[test]
fn a_replica_that_lost_its_place_takes_the_cluster_up_where_it_was() {
    end_well(&["replica_leaves_and_comes_back"]);
}

/// Counted as what it is, and not at all where nobody leaves: then everything is answered.
#[test]
fn a_departure_may_leave_a_cluster_of_which_one_was_left_behind_without_a_majority() {
    let mut scenario = read(DEPARTURE);
    let ran = run(&scenario);
    assert_eq!(ran.violation, None, "{}", ran.story.join("\n"));
    assert!(ran.counts.get(Loss::Departure.name()).is_some_and(|count| *count > 0), "{:?}", ran.counts);
    assert_eq!(ran.counts.get(Loss::Hosts.name()), None);

    scenario.actions.retain(|action| !matches!(action, Action::Leave { .. } | Action::ExpectSilent { tee: 3 }));
    let ran = run(&scenario);
    assert_eq!(ran.violation, None, "{}", ran.story.join("\n"));
    assert_eq!(ran.counts.get(Loss::Departure.name()), None);
    assert!(ran.counts.get("= replicas left behind").is_some_and(|count| *count > 0), "{:?}", ran.counts);

    // Where relayers keep snapshots the one that was left behind returns before anybody leaves.
    let mut scenario = read(DEPARTURE);
    let leaves = scenario.actions.iter().position(|action| matches!(action, Action::Leave { .. })).unwrap();
    // And what is said after it.
    scenario.actions.truncate(leaves + 2);
    scenario.actions.retain(|action| !matches!(action, Action::Folders { .. } | Action::ExpectSilent { tee: 1 }));
    let ran = run(&scenario);
    assert_eq!(ran.violation, None, "{}", ran.story.join("\n"));
    assert_eq!((ran.counts.get(Loss::Departure.name()), ran.counts.get("= replicas left behind")), (None, None));
    assert!(ran.counts.get("= states taken over").is_some_and(|count| *count > 0), "{:?}", ran.counts);
}

#[test]
fn a_state_is_taken_over_whatever_befalls_its_snapshot_on_the_way() {
    for name in SNAPSHOTS {
        let ran = run(&read(name));
        assert_eq!(ran.violation, None, "{name}:\n{}", ran.story.join("\n"));
        assert!(ran.counts.get("= states taken over").is_some_and(|count| *count > 0), "{name}: {:?}", ran.counts);
        assert_eq!(ran.counts.get("= replicas left behind"), None, "{name}");
    }
}

/// The control of the others: it is the snapshot that brings a replica back.
#[test]
fn a_replica_that_is_handed_no_snapshot_stays_behind_and_silent() {
    let ran = run(&read(NO_FOLDER));
    assert_eq!(ran.violation, None, "{}", ran.story.join("\n"));
    assert!(ran.counts.get("= replicas left behind").is_some_and(|count| *count > 0), "{:?}", ran.counts);
    assert_eq!(ran.counts.get("= states taken over"), None);
}

#[test]
fn a_cluster_goes_over_to_another_root_while_workers_die_and_seats_are_mute() {
    end_well(&ROOTS);
}

/// What a campaign has to have looked at is counted by these names wherever it happens; actions are counted by their own.
#[test]
fn what_a_campaign_needs_is_counted_by_its_name() {
    let counts = ["snapshot_is_damaged_on_its_way", "goes_over_to_another_root"].map(|name| run(&read(name)).counts);
    for what in NEEDED_OF_MANY.into_iter().filter(|what| what.starts_with("= ")) {
        assert!(counts.iter().any(|counts| counts.get(what).is_some_and(|count| *count > 0)), "{what}: {counts:?}");
    }
}

#[test]
fn a_gatekeeper_that_lies_in_its_own_and_in_others_names_keeps_no_keys_from_anybody() {
    let ran = run(&read(LIARS));
    assert_eq!(ran.violation, None, "{}", ran.story.join("\n"));
    for what in ["= lies of gatekeepers", "= keys of honest gatekeepers brought"] {
        assert!(ran.counts.get(what).is_some_and(|count| *count > 0), "{what}: {:?}", ran.counts);
    }
}

#[test]
fn no_scenario_is_forgotten() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let lists: [&[&str]; 9] = [&RELAYER, &FINALITY, &REWOUND, &DISK, &DOWNTIME, &KEYS, &ROOTS, &SNAPSHOTS, &OTHERS];
    let mut listed: Vec<&str> = lists.concat();
    listed.sort_unstable();
    assert_eq!(files, listed);
}
