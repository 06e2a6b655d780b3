//! `bench command`: sealed, signed token transfers a second on one core, in the worker's real loop with commit.
//!
//! - `command.per_core` = commands / busy seconds at 10^3 accounts. Busy: processor time of the process plus its wait for durable
//!   commits, so that parallel work earns nothing. `baseline` is the floor's rate.
//!   Epochs have 600 blocks, as networks ship, each of which brings a boundary: the figure has that part of what the change to the next epoch
//!   costs (measured by itself, in blocks that bring nothing). What makes a result final is in it: the worker's delivery of the block after, less
//!   what a block that brings nothing costs it, for in a network that delivery brings the next commands as well.
//! - `command.floor_ratio` = that / the floor's rate (`floor.rs`). Aim: at least 0.6.
//! - `command.floor_ratio_1e6` = the same with 10^6 accounts. Aim: at least 0.5.
//! - `command.size_loss_1e6` = rate at 10^3 / rate at 10^6 accounts. `baseline` is the latter. Aim: at most 2.
//! - `command.size_loss_at_one_speed_1e6` = `command.floor_ratio` / `command.floor_ratio_1e6`: the same on a machine whose speed is not another
//!   by the time the second rate is measured. `baseline` is the latter.
//! - `command.per_core_with_replies` = the same as `command.per_core` in a store that also keeps 10^6 replies of a day ago, of which each boundary
//!   forgets as many as it adds. `baseline` is `command.per_core`, in which nothing is forgotten.
//! - `command.plain_ratio` = rate at 10^3 / rate of the same contract and engine without envelope and state encryption (`plain.rs`).

use crate::{
    floor::{self, Floor},
    measure::{print, Stopwatch},
    plain,
    scene::{Costs, Scene, EPOCH_LENGTH},
};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How much is measured.
struct Plan {
    large: usize,
    /// Replies of before.
    replies: usize,
    /// So many boundaries or more, until one of them writes the store's pages.
    least: usize,
    /// No more than so many; with as many as at least, none need write pages.
    most: usize,
    commands: usize,
    floor: Duration,
}

/// How many times as much as one that writes a list of its changes a boundary writes that writes pages.
const PAGES: u64 = 8;

pub fn run(quick: bool) -> Result<()> {
    let plan = if quick {
        Plan { large: 10_000, replies: 10_000, least: 2, most: 2, commands: 100, floor: Duration::from_millis(50) }
    } else {
        Plan {
            large: 1_000_000,
            replies: 1_000_000,
            least: 100,
            most: 500,
            commands: 1_000,
            floor: Duration::from_millis(250),
        }
    };
    let plain = 1.0 / plain::measure(1_000, plan.least, plan.commands);
    let small = rate(1_000, 0, &plan);
    let Rate { commands: per_core, floor, n } = small;
    print("command.per_core", per_core, "commands/s", Some(floor), Some(per_core / floor), n);
    print("command.floor_ratio", per_core / floor, "1", Some(floor), Some(per_core / floor), n);
    print("command.plain_ratio", per_core / plain, "1", Some(plain), Some(per_core / plain), n);
    let Rate { commands: large, floor, n } = rate(plan.large, 0, &plan);
    print("command.floor_ratio_1e6", large / floor, "1", Some(floor), Some(large / floor), n);
    print("command.size_loss_1e6", per_core / large, "1", Some(large), Some(per_core / large), n);
    let loss = (small.commands / small.floor) / (large / floor);
    print("command.size_loss_at_one_speed_1e6", loss, "1", Some(large / floor), Some(loss), n);
    let Rate { commands: forgetting, n, .. } = rate(1_000, plan.replies, &plan);
    print("command.per_core_with_replies", forgetting, "commands/s", Some(per_core), Some(forgetting / per_core), n);
    if quick {
        eprintln!("--quick: {} accounts stand for 10^6, and nothing here is a figure", plan.large);
    }
    Ok(())
}

/// Commands a second on one core, and those of the floor in the same minutes.
#[derive(Clone, Copy)]
struct Rate {
    commands: f64,
    floor: f64,
    /// Commands that were measured.
    n: usize,
}

/// Blocks that bring nothing, of which the mean is taken.
pub const EMPTY_BLOCKS: u32 = 120;
/// Boundaries between which the floor is measured: the speed of a machine that others use changes within minutes.
const FLOOR_EVERY: usize = 10;

/// Commands a second on one core, with `accounts` accounts and `replies` of before.
fn rate(accounts: usize, replies: usize, plan: &Plan) -> Rate {
    let start = Instant::now();
    // As many senders as commands, where there are so many accounts: no two commands meet in a cache by having one sender.
    let mut scene = Scene::with_replies(1, accounts, (plan.most + 1) * plan.commands, replies);
    let built = start.elapsed();
    let disk = scene.network.worker().machine.disk.clone();
    // The first boundary compiles the contract and warms caches.
    scene.boundary(plan.commands, &mut Costs::new(disk.clone()));
    let mut costs = Costs::new(disk);
    let epoch = scene.network.chain.epoch();
    let (mut floors, mut boundaries, mut list) = (Vec::new(), 0, u64::MAX);
    loop {
        if boundaries % FLOOR_EVERY == 0 {
            floors.push(floor::measure(plan.commands, plan.floor));
        }
        let before = scene.written();
        scene.boundary(plan.commands, &mut costs);
        boundaries += 1;
        let written = scene.written() - before;
        list = list.min(written);
        if boundaries == plan.most || boundaries >= plan.least && written > PAGES * list {
            break;
        }
    }
    assert!(plan.most == plan.least || boundaries < plan.most, "no pages were written in {boundaries} boundaries");
    floors.push(floor::measure(plan.commands, plan.floor));
    scene.check((boundaries + 1) * plan.commands);
    let empty = scene.empty_block(EMPTY_BLOCKS);
    assert_eq!(scene.network.chain.epoch(), epoch, "the boundaries lie within one epoch");
    let finality = costs.finality(empty);
    let n = boundaries * plan.commands;
    let commands = n as f64;
    // Each of an epoch's blocks brings a boundary: of the epoch's end the boundaries that were measured have this part.
    let change = change_of_epoch(&mut scene);
    let change_part = change * boundaries as f64 / f64::from(EPOCH_LENGTH);
    let busy = costs.executing.busy() + finality + change_part;
    let each = |seconds: f64| seconds / commands * 1e6;
    eprintln!(
        "{accounts} accounts, {replies} replies of before, {n} commands: {:.1} us a command ({:.1} processor, {:.1} disk, {:.1} finalising, {:.1} its part of a change of epoch of {change:.2} s), built in {:.0} s",
        each(busy),
        each(costs.executing.processor.as_secs_f64()),
        each(costs.executing.waited.as_secs_f64()),
        each(finality),
        each(change_part),
        built.as_secs_f64()
    );
    eprintln!(
        "finalising: {} deliveries in {:.3} s, less {:.2} ms for each, which a block that brings nothing takes",
        costs.deliveries,
        costs.finalising.busy(),
        empty * 1e3
    );
    let (times, floor) = (floors.len(), Floor::mean(&floors));
    let (x25519, fastest) = floor.x25519();
    eprintln!(
        "floor, {times} times between: ML-KEM {:.1} us, X25519 {:.1} us by {fastest} (graviola {:.1}, ring {:.1}), AEAD {:.1} us, signature {:.1} us",
        floor.ml_kem * 1e6,
        x25519 * 1e6,
        floor.graviola * 1e6,
        floor.ring * 1e6,
        floor.aead * 1e6,
        floor.signature * 1e6
    );
    Rate { commands: commands / busy, floor: 1.0 / floor.seconds(), n }
}

/// Seconds that a core is busy because an epoch ends: new keys, and everything that is stored sealed anew under them. From its blocks, which
/// bring nothing, what as many blocks without that take is subtracted.
pub fn change_of_epoch(scene: &mut Scene) -> f64 {
    let blocks = |scene: &mut Scene, count: u32| {
        let mut watch = Stopwatch::new(scene.network.worker().machine.disk.clone());
        watch.time(|| (0..count).for_each(|_| scene.network.step()));
        watch.busy()
    };
    const QUIET: u32 = 60;
    let quiet = blocks(scene, QUIET) / f64::from(QUIET);
    scene.end_epoch();
    (blocks(scene, EPOCH_LENGTH) - quiet * f64::from(EPOCH_LENGTH)).max(0.0)
}
