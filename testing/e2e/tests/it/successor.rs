//! A cluster's only replica is switched off for good in a network of four gatekeepers, and another machine, with an identity of its own, goes on
//! from what relayers kept of the state, sealed. It is what `taken_over` tells with one gatekeeper, and a part of the story of `gatekeepers`, on
//! its network: the gatekeepers are the three that were left and the one that came in a lost one's place (`replaced`).
//!
//! The newcomer is registered while the former machine still serves, behind the relayer of the other host, which is started again with it. Then
//! a moment is waited for in which no root is made or handed over, and one gatekeeper stands still, so that none is for a while: a hand-over
//! opens two epochs, and what relayers have is of the open one. The three others give the newcomer its keys. Then the former machine comes
//! back with all that it had, and none of the four gives it anything. With `PHALA_ROTATIONS` of two or more the set rotates once more in the
//! end, under a load. TEEs are simulated: INSECURE. Not here: a cluster of several replicas, of which some stay; a take-over between two eras.

use crate::{
    gatekeepers::{name, rotations, Story, SEATS, THRESHOLD},
    replaced::{Replaced, ABSENT},
    taken_over::{
        answers_nothing, clients_are_refused, has_caught_up, identity, is_final_by, is_registered, kept, record,
        serves, told, Heard, CLUSTER,
    },
};
use phala_client::chain::ChainCall;
use phala_e2e::{
    load::link::NetworkFile,
    machines::{Machine, MachinePlan},
    processes::{ByHand, Place, Stopped},
    wait_until,
};
use phala_protocol::{ceremony::CeremonyRecord, chain_state::RootRecord, ids::BlockNumber, storage, WorkerId};
use serde_json::Value;
use std::{
    thread,
    time::{Duration, Instant},
};

/// What the other machine is called.
const NEWCOMER: &str = "newcomer";
/// The relayer that serves it, and the one of the former machine. `phala dev` shares workers out from the last relayer back.
const OF_NEWCOMER: &str = "relayer-0";
const OF_FORMER: &str = "relayer-1";

/// For a root that is made and handed over, and where identities follow.
const AT_REST_WITHIN: Duration = Duration::from_secs(420);
/// For governance's call.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// For a snapshot of the open epoch to be made once something is final in it.
const KEPT_WITHIN: Duration = Duration::from_secs(60);
/// For keys, a snapshot and its parts to arrive, and what came after it to be executed.
const TAKEN_WITHIN: Duration = Duration::from_secs(90);
/// For an epoch that is due, and its keys.
const ROLLED_WITHIN: Duration = Duration::from_secs(90);
/// Blocks of an epoch in this story, and of one that is not due in it.
const SHORT: BlockNumber = 20;
const LONG: BlockNumber = 1_000;

/// The machine that goes on with the cluster, and what else is run by hand, for as long as this is there.
pub struct Successor {
    newcomer: Newcomer,
    former: Former,
    /// What bob has.
    bob: u128,
}

/// The machine that is given the cluster.
struct Newcomer {
    identity: WorkerId,
    url: String,
    _machine: Machine,
    _relayer: ByHand,
}

/// The machine that had it.
struct Former {
    identity: WorkerId,
    url: String,
    place: Place,
    process: Option<ByHand>,
}

impl Newcomer {
    /// Starts it, and a relayer that serves it, too, in the place of one of the network's; waits until the chain knows it.
    fn begin(story: &Story, supervisor: &Stopped) -> Self {
        let network = &story.network;
        let plan = MachinePlan::like(network, "worker-1", NEWCOMER).with("--cluster", &CLUSTER.to_string());
        let machine = plan.start();
        let mut words = Place::take(supervisor, network, OF_NEWCOMER).arguments;
        words.extend(["--tee".to_owned(), format!("http://{}", machine.operator)]);
        let relayer = ByHand::start(&words, &network.base.join("logs").join(format!("{OF_NEWCOMER}-of-more.log")));
        let (identity, url) = (machine.identity(), format!("http://{}", machine.http));
        is_registered(&story.chain, &identity);
        Self { identity, url, _machine: machine, _relayer: relayer }
    }
}

impl Successor {
    /// The worker of the cluster starts anew, and is switched off then, while another machine is there to take its place. `bob` is what bob has.
    pub fn takes_over(story: &Story, replaced: &Replaced, bob: u128, at: impl Fn(&str)) -> Self {
        let machines = NetworkFile::read(&story.network.base).unwrap().machines("workers");
        let text = |name: &str| machines[0][name].as_str().unwrap().to_owned();
        let (newcomer, (place, process)) = thread::scope(|scope| {
            let newcomer = scope.spawn(|| Newcomer::begin(story, replaced.supervisor()));
            let old = replaced.opens_the_old_state(story, bob);
            at("the old state, by the part of that machine");
            (newcomer.join().unwrap(), old)
        });
        at("a machine that has nothing of the cluster is registered");
        let former = Former { identity: identity(&text("identity")), url: text("http"), place, process: Some(process) };
        assert_ne!(newcomer.identity, former.identity);
        assert_eq!(told(&newcomer.url, "/v1/info")["clusters"], Value::Array(Vec::new()), "it has nothing");
        let mut successor = Self { newcomer, former, bob };
        let heard = successor.takes_its_place(story, replaced);
        at("the cluster in its hands");
        successor.goes_on_alone(story, &heard);
        at("the former machine back, and shut out");
        successor
    }

    /// The former machine is switched off in an epoch of which relayers have a snapshot, and governance gives the cluster to the newcomer. From
    /// when on it has it, and of which epoch that is.
    fn takes_its_place(&mut self, story: &Story, replaced: &Replaced) -> (Heard, u32) {
        let (chain, network) = (&story.chain, &story.network);
        lengthen(story, LONG);
        let still = a_root_rests(story);
        // Something is final in the open epoch, also if that was decided before its length was.
        self.transfer(story, &self.former.url);
        self.bob += 1;
        let epoch = record(chain).epoch;
        wait_until("the former machine's relayer to keep a snapshot of the open epoch", KEPT_WITHIN, || {
            kept(network, OF_FORMER, "own").iter().any(|header| header.epoch == epoch)
        });
        let of_newcomers = |origin: &str| kept(network, OF_NEWCOMER, origin);
        assert!(of_newcomers("own").is_empty() && of_newcomers("peer").is_empty());

        let off = Instant::now();
        drop(self.former.process.take());
        assert_eq!(serves(&self.former.url), None, "it is off");
        let gatekeepers = replaced.gatekeepers();
        let heard = Heard::from_now(network, &gatekeepers);
        let newcomer = self.newcomer.identity;
        let assign = ChainCall::assign_replicas(CLUSTER, &[newcomer]);
        decide(story, "governance to give the cluster to the other machine", &assign, || {
            record(chain).replicas == [newcomer]
        });
        wait_until("the other machine to serve the cluster", TAKEN_WITHIN, || {
            serves(&self.newcomer.url) == Some(u64::from(epoch))
        });
        assert_eq!(record(chain).epoch, epoch, "within the epoch in which the former machine went off");
        assert!(of_newcomers("peer").iter().any(|header| header.epoch == epoch), "by way of both relayers");
        let given = heard.given(&newcomer);
        let of_it = given.iter().filter(|epochs| epochs.contains(&epoch)).count() as u64;
        assert_eq!(of_it, THRESHOLD, "by all but the one that stands still: {given:?}");
        // What any of them gives from now on, before the former machine is there again.
        let heard = Heard::from_now(network, &gatekeepers);
        drop(still);

        self.has_the_state(story);
        let counted = record(chain).final_count;
        self.transfer(story, &self.newcomer.url);
        self.bob += 1;
        let went_on = off.elapsed();
        self.has_the_state(story);
        is_final_by(chain, &self.newcomer.url, &newcomer, counted);
        println!(
            "gatekeepers: a cluster's only machine was switched off; a transfer was final by another one {:.1} s later",
            went_on.as_secs_f64()
        );
        (heard, epoch)
    }

    /// The former machine comes back with all that it had, an epoch opens, and where that is asked for the set rotates.
    fn goes_on_alone(&mut self, story: &Story, heard: &(Heard, u32)) {
        let back = story.network.base.join("logs").join("worker-0-back.log");
        self.former.process = Some(ByHand::start(&self.former.place.arguments, &back));
        has_caught_up(&story.chain, &self.former.url);
        answers_nothing(&self.former.url);
        clients_are_refused(&story.network);
        lengthen(story, SHORT);
        let (_, epoch) = heard;
        wait_until("the other machine to serve a later epoch", ROLLED_WITHIN, || {
            serves(&self.newcomer.url) > Some(u64::from(*epoch))
        });
        self.alone_is_given_keys(story, heard);
        if rotations() > 1 {
            let era = story.newest() + 1;
            let sent = thread::scope(|scope| {
                let rotated = scope.spawn(|| story.rotated(era));
                let mut sent = 0;
                while !rotated.is_finished() {
                    self.transfer(story, &self.newcomer.url);
                    sent += 1;
                }
                rotated.join().unwrap();
                sent
            });
            self.bob += sent;
            assert!(sent > 2, "commands went on: {sent}");
            self.alone_is_given_keys(story, heard);
        }
    }

    /// The newcomer has what it needs of enough gatekeepers, and the former machine nothing of any of the four.
    fn alone_is_given_keys(&mut self, story: &Story, (heard, epoch): &(Heard, u32)) {
        let (ours, theirs) = (heard.given(&self.newcomer.identity), heard.given(&self.former.identity));
        let gave = ours.iter().filter(|epochs| epochs.iter().any(|of| of > epoch)).count() as u64;
        assert!(ours.len() == SEATS && gave >= THRESHOLD, "keys of epochs after {epoch}: {ours:?}");
        assert!(theirs.concat().is_empty(), "keys of epochs {theirs:?} for the machine that has the cluster no more");
        answers_nothing(&self.former.url);
        let counted = record(&story.chain).final_count;
        self.transfer(story, &self.newcomer.url);
        self.bob += 1;
        self.has_the_state(story);
        is_final_by(&story.chain, &self.newcomer.url, &self.newcomer.identity, counted);
    }

    /// What the newcomer answers is what was sent, before it was there and since, each once.
    pub fn has_the_state(&self, story: &Story) {
        let words = ["contract", "query", token(story), "balance", "--from", "bob", "--worker", &self.newcomer.url];
        assert_eq!(story.network.phala(&words).data()["value"], self.bob.to_string());
    }

    /// One more to bob, as the worker at `url` says that it is executed.
    fn transfer(&self, story: &Story, url: &str) {
        let words = ["contract", "call", token(story), "transfer", r#"["bob", "1"]"#, "--from", "alice", "--wait"];
        story.network.phala(&[&words[..], &["--timeout", "120", "--worker", url]].concat()).data();
    }
}

fn token(story: &Story) -> &str {
    story.network.ready["contracts"]["token"].as_str().unwrap()
}

fn lengthen(story: &Story, blocks: BlockNumber) {
    decide(story, "governance to set the length of epochs", &ChainCall::set_epoch_length(CLUSTER, blocks), || false);
}

/// Governance's account is a relayer's and a sender's, too: what is not heard of is decided again.
fn decide(story: &Story, what: &str, call: &ChainCall, is_done: impl FnMut() -> bool) {
    let passing: &[&str] = &[];
    story.chain.decide_within(what, DECIDED_WITHIN, call, ("Contracts", passing), is_done);
}

/// Waits until no root is made or handed over, and keeps it so: the gatekeeper that stands still is missing from the next ceremony, whose first
/// phase waits for it for 50 blocks. It is the one that stood still before, without which a root of three may have been made meanwhile.
fn a_root_rests(story: &Story) -> Stopped {
    let is_at_rest = || {
        let ceremony: Option<CeremonyRecord> = story.chain.read(&storage::ceremony_key());
        ceremony.is_none() && story.chain.read::<RootRecord>(&storage::next_root_key()).is_none()
    };
    let mut still = None;
    wait_until("a moment in which no root is made or handed over", AT_REST_WITHIN, || {
        // What it saw before it stood still is in what is read afterwards.
        still = is_at_rest().then(|| Stopped::new(story.id(&name(ABSENT)))).filter(|_| is_at_rest());
        still.is_some()
    });
    still.unwrap()
}
