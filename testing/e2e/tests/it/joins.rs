//! A machine of another identity joins the two replicas of a cluster that is in its third epoch or a later one, takes the state over from what
//! a relayer kept of another's, and votes: what becomes final then has its signature, without which there is no majority.
//!
//! It is the end of what `taken_over` tells, on its network. First the machine that was switched off there gets a place beside the one that took
//! its own, so that they are two; it was away while an epoch opened, and nobody gives it the keys of what was executed meanwhile. Then the
//! third joins them, which never had anything of the cluster; it is behind the relayer of the other host, which is started again with it. In the
//! end the former machine is switched off again: of three replicas the two that are left have to agree. TEEs are simulated: INSECURE. Not here:
//! replicas that the chain draws; one that joins while its cluster goes over from one era to the next.

use crate::taken_over::{is_registered, kept, record, serves, told, Heard, Story, CLUSTER};
use phala_client::chain::ChainCall;
use phala_e2e::{
    governance::Governance,
    machines::MachinePlan,
    processes::{ByHand, Place, Stopped},
    wait_until, Network,
};
use phala_protocol::{chain_state::Standing, storage, WorkerId};
use serde_json::Value;
use std::{
    fs,
    time::{Duration, Instant},
};

/// What the machine is called.
const JOINER: &str = "joiner";
/// The relayer that serves it, with the machine that is there already.
const OF_JOINER: &str = "relayer-0";
/// For a snapshot of the open epoch to be made.
const KEPT_WITHIN: Duration = Duration::from_secs(60);
/// For governance's call.
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// For keys, a snapshot and its parts to arrive, and what came after it to be executed.
const TAKEN_WITHIN: Duration = Duration::from_secs(90);
/// For a replica to see what the others made final with it.
const SEEN_WITHIN: Duration = Duration::from_secs(30);

/// A machine of its own, with a folder and ports of its own: planned while the worker still runs after whose words it is started.
pub fn plan(network: &Network) -> MachinePlan {
    MachinePlan::like(network, "worker-1", JOINER).with("--cluster", &CLUSTER.to_string())
}

/// The replicas of a cluster, in the order in which they came.
pub struct Replicas {
    /// The cluster's only one when this begins.
    pub newcomer: WorkerId,
    /// The one before it.
    pub former: WorkerId,
    /// What runs on the former machine.
    pub running: ByHand,
}

/// They become two, and then three. `bob` is what bob has.
pub fn joins_others(story: &Story, supervisor: &Stopped, plan: MachinePlan, replicas: Replicas, bob: u64) {
    let (network, chain) = (&story.network, &story.chain);
    let Replicas { newcomer, former, running } = replicas;
    let begun = Instant::now();
    let epoch = record(chain).epoch;
    assert!(epoch >= 3, "nobody is given the keys of the first epoch any more: {epoch}");
    wait_until("the machine's relayer to keep a snapshot of the open epoch", KEPT_WITHIN, || {
        kept(network, OF_JOINER, "own").iter().any(|header| header.epoch == epoch)
    });
    let joiner = plan.start();
    let mut words = Place::take(supervisor, network, OF_JOINER).arguments;
    words.extend(["--tee".to_owned(), format!("http://{}", joiner.operator)]);
    let _relayer = ByHand::start(&words, &network.base.join("logs").join(format!("{OF_JOINER}-of-more.log")));

    assign(chain, &[newcomer, former]);
    wait_until("the former machine to serve the cluster beside the other", TAKEN_WITHIN, || {
        serves(&story.former) == Some(u64::from(epoch))
    });
    let counted = record(chain).final_count;
    story.transfer("1", &story.former);
    agree(story, &[&story.former, &story.newcomer], bob + 1);
    are_final_by(chain, &[newcomer, former], counted);

    let (identity, url) = (joiner.identity(), format!("http://{}", joiner.http));
    is_registered(chain, &identity);
    assert!(identity != newcomer && identity != former);
    assert_eq!(told(&url, "/v1/info")["clusters"], Value::Array(Vec::new()), "it has nothing");
    let gatekeeper = ["gatekeeper"];
    let heard = Heard::from_now(network, &gatekeeper);
    assign(chain, &[newcomer, former, identity]);
    wait_until("the third machine to serve the cluster", TAKEN_WITHIN, || serves(&url) == Some(u64::from(epoch)));
    assert_eq!(record(chain).epoch, epoch, "within the epoch in which it was given a place");
    let given = heard.given(&identity).concat();
    let none_older = given.iter().all(|of| of.saturating_add(1) >= epoch);
    assert!(given.contains(&epoch) && none_older, "keys of epochs {given:?}, where {epoch} is open");
    let said = fs::read_to_string(network.base.join("logs").join(format!("{JOINER}.log"))).unwrap();
    assert!(said.contains("took the cluster's state over from a snapshot"), "{said}");
    agree(story, &[&url], bob + 1);

    drop(running);
    assert_eq!(serves(&story.former), None, "it is off");
    let counted = record(chain).final_count;
    story.transfer("1", &url);
    agree(story, &[&url, &story.newcomer], bob + 2);
    are_final_by(chain, &[newcomer, identity], counted);
    let health = told(&url, "/v1/health");
    assert_eq!(health["cluster"]["diverged_at"], Value::Null, "{health}");
    println!(
        "two machines joined a cluster of one, and what the last made final with another has both signatures: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

/// Governance's account sends commands, too: what is not heard of is decided again.
fn assign(chain: &Governance, replicas: &[WorkerId]) {
    let call = ChainCall::assign_replicas(CLUSTER, replicas);
    let passing: &[&str] = &[];
    chain.decide_within("governance to assign replicas", DECIDED_WITHIN, &call, ("Contracts", passing), || {
        record(chain).replicas == replicas
    });
}

/// Each of these machines comes to say that bob has so much.
fn agree(story: &Story, machines: &[&str], bob: u64) {
    let bob = bob.to_string();
    for machine in machines {
        wait_until("a replica to come to the same state", SEEN_WITHIN, || story.balance(machine) == bob);
    }
}

/// More than `counted` items are final now, and these replicas have signed all that is; the others have not.
fn are_final_by(chain: &Governance, voters: &[WorkerId], counted: u64) {
    let record = record(chain);
    assert!(record.final_count > counted, "{record:?}");
    let standings: Vec<Standing> = chain.read(&storage::standings_key(CLUSTER)).unwrap();
    assert!(standings.iter().all(|standing| standing.dissent.is_none() && !standing.lost), "{standings:?}");
    let signed = standings.iter().filter(|standing| standing.confirmed >= record.final_count);
    let signed: Vec<WorkerId> = signed.map(|standing| standing.worker).collect();
    let all = signed.len() == voters.len() && voters.iter().all(|voter| signed.contains(voter));
    assert!(all, "{signed:?} of {standings:?}, not {voters:?}");
}
