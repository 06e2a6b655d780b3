//! `bench command`: sealed, signed token transfers a second on one core, in the worker's real loop with commit.
//!
//! - `command.per_core` = commands / busy seconds at 10^3 accounts. Busy: processor time of the process plus its wait for durable
//!   commits, so that parallel work earns nothing. `baseline` is the floor's rate.
//! - `command.floor_ratio` = that / the floor's rate (`floor.rs`). Aim: at least 0.6.
//! - `command.floor_ratio_1e6` = the same with 10^6 accounts. Aim: at least 0.5.
//! - `command.size_loss_1e6` = rate at 10^3 / rate at 10^6 accounts. Aim: at most 2.
//! - `command.plain_ratio` = rate at 10^3 / rate of the same contract and engine without envelope and state encryption (`plain.rs`).

use crate::{
    floor,
    measure::{print, Stopwatch},
    plain,
    scene::Scene,
};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How much is measured: so many boundaries that the store writes its pages at least once among them, and that is in the figure.
struct Plan {
    large: usize,
    boundaries: usize,
    commands: usize,
    least: Duration,
}

pub fn run(quick: bool) -> Result<()> {
    let plan = if quick {
        Plan { large: 10_000, boundaries: 2, commands: 100, least: Duration::from_millis(200) }
    } else {
        Plan { large: 1_000_000, boundaries: 120, commands: 1_000, least: Duration::from_secs(2) }
    };
    let n = plan.boundaries * plan.commands;
    let plain = 1.0 / plain::measure(1_000, plan.boundaries, plan.commands);
    // The floor is measured before and after what is compared with it: the speed of a machine that others use changes within minutes.
    let before = floor_seconds(&plan);
    let small = rate(1_000, &plan);
    let between = floor_seconds(&plan);
    let floor = 2.0 / (before + between);
    print("command.per_core", small, "commands/s", Some(floor), Some(small / floor), n);
    print("command.floor_ratio", small / floor, "1", Some(floor), Some(small / floor), n);
    print("command.plain_ratio", small / plain, "1", Some(plain), Some(small / plain), n);
    let large = rate(plan.large, &plan);
    let floor = 2.0 / (between + floor_seconds(&plan));
    print("command.floor_ratio_1e6", large / floor, "1", Some(floor), Some(large / floor), n);
    print("command.size_loss_1e6", small / large, "1", Some(small), Some(small / large), n);
    if quick {
        eprintln!("--quick: {} accounts stand for 10^6, and nothing here is a figure", plan.large);
    }
    Ok(())
}

/// What the floor takes for a command now.
fn floor_seconds(plan: &Plan) -> f64 {
    let floor = floor::measure(plan.commands, plan.least);
    eprintln!(
        "floor: ML-KEM {:.1} us, X25519 {:.1} us, AEAD {:.1} us, signature {:.1} us",
        floor.ml_kem * 1e6,
        floor.x25519 * 1e6,
        floor.aead * 1e6,
        floor.signature * 1e6
    );
    floor.seconds()
}

/// Commands a second on one core, with `accounts` accounts.
fn rate(accounts: usize, plan: &Plan) -> f64 {
    let start = Instant::now();
    // As many senders as commands, where there are so many accounts: no two commands meet in a cache by having one sender.
    let mut scene = Scene::new(1, accounts, (plan.boundaries + 1) * plan.commands);
    let built = start.elapsed();
    let disk = scene.network.worker().machine.disk.clone();
    // The first boundary compiles the contract and warms caches.
    scene.boundary(plan.commands, &mut Stopwatch::new(disk.clone()));
    let mut watch = Stopwatch::new(disk);
    let (epoch, block) = (scene.network.chain.epoch(), scene.network.chain.number());
    for _ in 0..plan.boundaries {
        scene.boundary(plan.commands, &mut watch);
    }
    scene.check((plan.boundaries + 1) * plan.commands);
    let commands = (plan.boundaries * plan.commands) as f64;
    eprintln!(
        "{accounts} accounts: {:.1} us a command ({:.1} processor, {:.1} disk), {} blocks, {} changes of epoch, built in {:.0} s",
        watch.busy() / commands * 1e6,
        watch.processor.as_secs_f64() / commands * 1e6,
        watch.waited.as_secs_f64() / commands * 1e6,
        scene.network.chain.number() - block,
        scene.network.chain.epoch() - epoch,
        built.as_secs_f64()
    );
    commands / watch.busy()
}
