//! Kills under load, in short: each role once, and what worker 0 comes to is compared with a replica that is never killed. The long form is
//! `cargo xtask campaign crash`.

use phala_e2e::{
    alone,
    campaign::{self, plan, Options},
};
use std::time::Duration;

#[test]
fn kills_under_load_lose_and_double_nothing() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let report = campaign::run(&Options {
        seed: 3,
        steps: plan::one_of_each(3),
        base: folder.path().to_owned(),
        witness: true,
        both_clusters: false,
        calm_probes: 1,
        epoch_blocks: 20,
        network: vec!["--block-milliseconds", "500"],
        pause: Duration::from_secs(1),
        until: None,
    })
    .unwrap();
    assert_eq!(report.violations, []);
    assert_eq!(report.killed(), 5, "{:?}", report.kills);
    // Something was under way when things died, and was looked at.
    assert!(report.counts.items > 20 && report.counts.replies + report.counts.repeated == report.counts.items);
    assert!(report.counts.epochs > 0, "the campaign is longer than an epoch");
    assert_eq!(report.recoveries.len(), 3);
}
