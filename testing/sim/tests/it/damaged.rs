//! A store whose host altered what lies deep in it, checksums and all: the file opens, and is served from. It is closed as soon as execution or
//! re-sealing reads what was altered, and not opened again; the state comes from another replica's snapshot, and the replica votes again.
//!
//! Three replicas in their second epoch, relayers that alter nothing. A file that does not even open is what `Action::Damage` makes, which chance
//! and the tests of `phala-core` have.

use phala_sim::{host::Outcome, world::World, Action, Scenario};

/// The replica whose store is altered.
const VICTIM: usize = 2;
/// Blocks of an epoch: more than all that happens in one here.
const EPOCH_LENGTH: u32 = 60;
/// Rounds in which whatever is waited for has to come.
const ROUNDS: u32 = 30;

/// What becomes of a network.
struct Story {
    world: World,
}

impl Story {
    /// In the first moment of the second epoch, of which no replica knows yet.
    fn second_epoch(seed: u64) -> Self {
        let scenario = Scenario { seed, workers: 3, spares: 0, epoch_length: EPOCH_LENGTH, actions: Vec::new() };
        let mut story = Self { world: World::new(&scenario).unwrap() };
        story.act("transfer 0 1 10\nkeep 1 7\nround 4\nblocks 56");
        story.until("the second epoch opens", |world| {
            world.node.cluster_at(world.node.finalised()).is_some_and(|record| record.epoch == 2)
        });
        story
    }

    fn act(&mut self, lines: &str) {
        for line in lines.lines() {
            let action: Action = line.parse().unwrap();
            if let Err(violation) = self.world.act(&action) {
                panic!("{violation}:\n{}", self.world.story.join("\n"));
            }
        }
    }

    /// Rounds until this is so. Gives why the victim's deliveries failed meanwhile.
    fn until(&mut self, what: &str, done: impl Fn(&World) -> bool) -> Vec<String> {
        let mut faults = Vec::new();
        for _ in 0..ROUNDS {
            if done(&self.world) {
                return faults;
            }
            self.act("round 1");
            if let Outcome::Fault(why) = &self.world.hosts[VICTIM].outcome {
                faults.push(why.clone());
            }
        }
        panic!("not within {ROUNDS} rounds: {what}\n{}", self.world.story.join("\n"));
    }

    /// One delivery finds it out, while it does what its error names so; then the victim waits for a snapshot, takes the state over, and
    /// comes to all that there is.
    fn returns_by_a_snapshot(&mut self, named: &str) {
        self.act("withhold 1");
        let faults = self.until("the damage is found", |world| world.hosts[VICTIM].lacks);
        let [fault] = faults.as_slice() else { panic!("it fails once: {faults:?}") };
        assert!(fault.contains(named) && fault.contains("Unauthentic(Entry)"), "{fault}");
        self.act("round 3");
        let host = &self.world.hosts[VICTIM];
        assert_eq!((&host.outcome, host.lacks), (&Outcome::Taken, true), "the file is not opened again");
        assert!(host.tee.as_ref().is_some_and(|tee| tee.serving().is_none()));
        assert_eq!(self.world.counts.get("= states taken over"), None);
        self.act("withhold 0");
        let faults = self.until("the state is another's", has_caught_up);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(self.world.counts.get("= states taken over"), Some(&1));
    }

    /// Of three, one is off: what becomes final then has the victim's vote. All of it is audited.
    fn votes_again(&mut self) {
        self.act("crash 1\ntransfer 0 3 7");
        assert!(self.until("it executes what comes next", has_caught_up).is_empty());
        let voter = self.world.hosts[VICTIM].identity.unwrap();
        let last = self.world.node.pallets.finals.values().next_back().unwrap();
        assert!(last.votes.len() == 2 && last.votes.iter().any(|(worker, _)| *worker == voter), "{last:?}");
        self.act("settle");
        assert!(has_caught_up(&self.world));
    }
}

/// Whether the victim serves the state after all items, which are final.
fn has_caught_up(world: &World) -> bool {
    let items = world.node.items_to(world.node.finalised()).len() as u64;
    let all = items == world.node.pallets.head.count;
    let health = world.hosts[VICTIM].tee.as_ref().and_then(|tee| tee.cluster_health());
    all && health.is_some_and(|health| health.executed == items && health.pending == 0 && health.serving)
}

#[test]
fn a_file_that_opens_is_closed_when_execution_reads_what_its_host_altered_and_a_snapshot_helps() {
    let mut story = Story::second_epoch(130);
    // All of it is sealed anew, and so written: nothing is in the journal, which would be read when the file is opened.
    story.act("round 8\nalter 2\nstart 2");
    let faults = story.until("it opens its file, and serves it", has_caught_up);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(story.world.counts.get("= states lacked"), None);
    story.act("transfer 0 2 5");
    story.returns_by_a_snapshot("Boundary(");
    story.votes_again();
}

#[test]
fn a_file_that_opens_is_closed_when_re_sealing_reads_what_its_host_altered_and_a_snapshot_helps() {
    let mut story = Story::second_epoch(131);
    // It has moved its store to the epoch's key, which writes all of it, and has sealed nothing anew.
    story.act("deliver 2 99\nalter 2\nstart 2\ntransfer 0 2 5");
    story.returns_by_a_snapshot("Sweep(");
    story.votes_again();
}
