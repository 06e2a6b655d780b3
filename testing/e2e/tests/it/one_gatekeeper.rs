//! A development network that begins with a root of one seat goes over to one of four: four machines register, are bound to accounts and make
//! the root, both clusters go over while commands go on, and the single gatekeeper has nothing left and answers nothing, also after a start.
//! Then two of the four suspend the release of one worker of three: the epoch rolls at once and opens without it, the two others go on,
//! and the suspension ends by itself.
//!
//! `phala dev` runs the network as it begins, on one authority. The four gatekeepers, and the three workers of the other cluster, one of
//! which measures another release, are run by hand, and so is the relayer that serves all of them. Epochs last an hour: one that opens
//! does so for the hand-over or for the suspension alone. What is asked of roots and clusters is what the chain proves, what is asked of
//! TEEs what their processes say. Not here: elections, which a network of one authority cannot hold for a root of four; kills, which
//! `gatekeepers` has.

use crate::{
    gatekeepers::Ends,
    shut_out::{self, Token},
};
use codec::{Decode, Encode};
use phala_client::{chain::ChainCall, Account};
use phala_e2e::{
    alone, brake,
    canary::from_hex,
    governance::Governance,
    hostile_relayer::{DELIVER, STATUS},
    load::link::NetworkFile,
    machines::{Machine, MachinePlan, Served},
    processes,
    raw_http::{ask, host_of},
    signal, wait_until, Network,
};
use phala_protocol::{
    attestation::Role,
    chain_state::{ClusterRecord, RootRecord, WorkerRecord},
    ids::{to_hex, BlockNumber},
    relay::{Delivery, KeyInquiry, Outgoing, TeeStatus},
    storage, ClusterId, Hash, WorkerId,
};
use serde_json::Value;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const SHORT: [&str; 9] =
    ["--fresh", "--authorities", "1", "--gatekeepers", "1", "--workers", "1", "--block-milliseconds", "500"];
/// Of `phala dev`'s worker.
const FIRST: ClusterId = ClusterId(0);
/// Of the three workers.
const SECOND: ClusterId = ClusterId(1);
const WORKERS: usize = 3;
/// The worker of another release; two of three votes decide without it.
const SUSPENDED: usize = 2;
/// Blocks for which the brake holds here.
const HOLDS: BlockNumber = 160;
const DAY: u64 = 86_400;
/// What bob has before anything else happens.
const BEFORE: u128 = 7;

/// For a process that was killed to do its work again.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// For seven machines to follow the chain to its head, to attest themselves, and to be in a finalised block.
const REGISTERED_WITHIN: Duration = Duration::from_secs(150);
/// For a ceremony in which nobody is missing.
const MADE_WITHIN: Duration = Duration::from_secs(120);
/// For two epochs of both clusters.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(120);
/// For what a TEE has to see on the chain, or to be given.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
/// For an epoch to open that is due: before the brake lets go.
const OPENED_WITHIN: Duration = Duration::from_secs(60);
/// For the brake to let go.
const ENDED_WITHIN: Duration = Duration::from_secs(150);
/// How often a worker is looked at whose request may be answered soon.
const SHORTLY: Duration = Duration::from_millis(10);

/// The gatekeeper that holds the whole root.
struct Lone {
    id: WorkerId,
    http: String,
    operator: String,
}

impl Lone {
    fn of(network: &Network) -> Self {
        let machine = NetworkFile::read(&network.base).unwrap().machines("gatekeepers").remove(0);
        let text = |what: &str| machine[what].as_str().unwrap().to_owned();
        let host = |what: &str| host_of(&text(what)).to_owned();
        Self { id: identity(&text("identity")), http: host("http"), operator: host("operator") }
    }

    fn told(&self, path: &str) -> Value {
        ask(&self.http, "GET", path, &[]).map_or(Value::Null, |answer| answer.json())
    }

    /// The eras of which it says that it has a seat; nothing while it does not answer.
    fn seats(&self) -> Option<Vec<u64>> {
        let told = self.told("/v1/info");
        told["gatekeeper"]["seats"].as_array()?.iter().map(|seat| seat["era"].as_u64()).collect()
    }

    /// Answers that it made, and requests that it refused for it has no such root.
    fn counted(&self) -> (u64, u64) {
        let told = self.told("/v1/info");
        let keys = &told["gatekeeper"]["keys"];
        (keys["given"].as_u64().unwrap(), keys["refused"]["root_not_recorded"].as_u64().unwrap_or(0))
    }

    /// The requests that it answers, as it says to whoever serves it.
    fn answers(&self) -> Vec<Hash> {
        let outgoing = status(&self.operator).map(|status| status.outgoing).unwrap_or_default();
        let request = |item| match item {
            Outgoing::AnswerKeys { request, .. } => Some(request),
            _ => None,
        };
        outgoing.into_iter().filter_map(request).collect()
    }

    /// What a worker that starts anew asks of it, and that it answers.
    fn asked_by_a_worker(&self, network: &Network) -> KeyInquiry {
        let worker = NetworkFile::read(&network.base).unwrap().machines("workers").remove(0);
        let worker = host_of(worker["operator"].as_str().unwrap()).to_owned();
        signal(processes::id(&network.base, "worker-0"), "-KILL");
        let given_up = Instant::now() + BACK_WITHIN;
        let inquiry = loop {
            let outgoing = status(&worker).map(|status| status.outgoing).unwrap_or_default();
            let asked = outgoing.into_iter().find_map(|item| match item {
                Outgoing::AskKeys(inquiry) if inquiry.request.request.gatekeeper == self.id => Some(inquiry),
                _ => None,
            });
            if let Some(inquiry) = asked {
                break inquiry;
            }
            assert!(Instant::now() < given_up, "a worker that starts asks for no keys");
            thread::sleep(SHORTLY);
        };
        let payload = inquiry.request.request.signing_payload();
        wait_until("the only gatekeeper to answer", SEEN_WITHIN, || self.answers().contains(&payload));
        inquiry
    }

    /// It has no seat, says that it does no work, and refuses what it once answered.
    fn has_nothing_left(&self, inquiry: &KeyInquiry) {
        wait_until("the single gatekeeper to drop its seat", SEEN_WITHIN, || self.seats() == Some(Vec::new()));
        let health = self.told("/v1/health");
        assert_eq!((&health["healthy"], &health["registered"]), (&false.into(), &true.into()), "{health}");
        assert!(self.answers().is_empty(), "nothing is repeated");
        let (given, refused) = self.counted();
        let delivery = Delivery { inquiries: vec![inquiry.clone()], ..Delivery::default() };
        let taken = ask(&self.operator, "POST", DELIVER, &delivery.encode()).unwrap();
        assert_eq!(taken.status, 200, "{}", taken.json());
        wait_until("a request for keys of the former era to be refused", SEEN_WITHIN, || self.counted().1 > refused);
        assert_eq!((self.counted().0, self.answers()), (given, Vec::new()), "it gives nothing");
    }

    /// Nor does it make the root of one again, when it starts anew.
    fn starts_with_nothing(&self, network: &Network, height: BlockNumber) {
        restarted(network, "gatekeeper");
        wait_until("the single gatekeeper to be at the head again", BACK_WITHIN, || {
            let told = self.told("/v1/info");
            told["height"].as_u64() >= Some(height.into()) && told["registered"] == true
        });
        assert_eq!(self.seats(), Some(Vec::new()));
        let offers = status(&self.operator).unwrap().outgoing;
        assert!(!offers.iter().any(|item| matches!(item, Outgoing::RecordRoot { .. })), "it offers a root again");
    }
}

fn identity(text: &str) -> WorkerId {
    WorkerId(from_hex(text).unwrap().try_into().unwrap())
}

/// What a TEE says to its relayer.
fn status(operator: &str) -> Option<TeeStatus> {
    let answer = ask(operator, "GET", STATUS, &[]).ok()?;
    let status = || TeeStatus::decode(&mut answer.body.as_slice()).ok();
    (answer.status == 200).then(status).flatten()
}

/// Kills a process of the network, and waits until there is another in its place.
fn restarted(network: &Network, name: &str) {
    let before = processes::id(&network.base, name);
    signal(before, "-KILL");
    wait_until(&format!("{name} to be started again"), BACK_WITHIN, || {
        processes::ids(&network.base).get(name).is_some_and(|id| *id != before)
    });
}

/// The network, what its governance decides, and its token on the first cluster.
struct Story {
    network: Network,
    chain: Governance,
    token: String,
}

impl Story {
    fn root(&self) -> RootRecord {
        self.chain.read(&storage::root_key()).expect("a root answers")
    }

    fn cluster(&self, cluster: ClusterId) -> ClusterRecord {
        self.chain.read(&storage::cluster_key(cluster)).expect("the cluster is there")
    }

    fn transfer(&self, amount: u128) {
        let arguments = format!(r#"["bob", "{amount}"]"#);
        let words = ["contract", "call", &self.token, "transfer", &arguments, "--from", "alice", "--wait"];
        self.network.phala(&[&words[..], &["--timeout", "120"]].concat()).data();
    }

    /// What the worker answers of bob's tokens; nothing while it does not.
    fn balance(&self) -> Option<u128> {
        let words = ["contract", "query", &self.token, "balance", "--from", "bob"];
        self.network.phala(&words).json["value"].as_str()?.parse().ok()
    }

    /// Waits until all of them are registered, so that the chain takes what is decided of them.
    fn registered(&self, machines: &[Machine]) -> Vec<WorkerId> {
        let ids: Vec<WorkerId> = machines.iter().map(Machine::identity).collect();
        wait_until("the machines to be registered", REGISTERED_WITHIN, || {
            ids.iter().all(|id| self.chain.read::<WorkerRecord>(&storage::worker_key(id)).is_some())
        });
        ids
    }

    /// The three workers get a cluster, with a token.
    fn second_cluster(&self, machines: &[Machine]) -> (Vec<shut_out::Machine>, Token<'_>) {
        let ids = self.registered(machines);
        let created = self.chain.decide(&ChainCall::create_cluster(&ids)).unwrap();
        let cluster = ClusterId::decode(&mut created.event("Contracts", "ReplicasAssigned").unwrap()).unwrap();
        assert_eq!(cluster, SECOND, "as they were told when they started");
        let workers = ids.into_iter().zip(machines);
        let workers: Vec<shut_out::Machine> =
            workers.map(|(id, machine)| shut_out::Machine { id, url: format!("http://{}", machine.http) }).collect();
        wait_until("three machines to serve one cluster", SEEN_WITHIN, || {
            workers.iter().all(|machine| machine.serves(SECOND, 1))
        });
        let token = Token::deploy(&self.network, SECOND, &workers);
        token.transfer(&workers);
        (workers, token)
    }

    /// Each of the four is bound to its account, and they make a root. The last block in which the single gatekeeper's answered.
    fn four_make_a_root(&self, gatekeepers: &[WorkerId]) -> BlockNumber {
        thread::scope(|scope| {
            for (stash, gatekeeper) in Account::development_stashes().into_iter().zip(gatekeepers) {
                scope.spawn(move || {
                    let id = gatekeeper.to_string();
                    self.network.phala(&["gatekeeper", "register-seat", &id, "--from", stash]).data();
                });
            }
        });
        self.chain.decide(&ChainCall::start_ceremony(gatekeepers)).unwrap();
        wait_until("clusters to go over to a root of four, or to have done so", MADE_WITHIN, || {
            self.chain.read::<RootRecord>(&storage::next_root_key()).is_some() || self.root().era == 1
        });
        let mut last = self.chain.height();
        wait_until("the root of four to answer alone", HANDED_OVER_WITHIN, || {
            // The height first: the root of one answered no later than in the block after the last that is looked at so.
            let height = self.chain.height();
            let over = self.root().era == 1;
            if !over {
                last = height;
            }
            over
        });
        last
    }
}

/// Starts machines at once.
fn started(plans: Vec<MachinePlan>) -> Vec<Machine> {
    thread::scope(|scope| {
        let starting: Vec<_> = plans.into_iter().map(|plan| scope.spawn(move || plan.start())).collect();
        starting.into_iter().map(|machine| machine.join().unwrap()).collect()
    })
}

/// Four gatekeepers, each of another account.
fn gatekeepers(network: &Network) -> Vec<MachinePlan> {
    let stashes = Account::development_stashes();
    let plan = |stash: &&'static str| {
        let operator = Account::development(stash).unwrap().id().to_string();
        let plan = MachinePlan::like(network, "gatekeeper", &format!("gatekeeper-of-{stash}"));
        plan.with("--operator", &operator).and("--without-lone-root")
    };
    stashes.iter().map(plan).collect()
}

/// Three workers of the second cluster, and what the one measures that is of another release.
fn workers(network: &Network) -> (Vec<MachinePlan>, Hash) {
    let plan = |number: usize| {
        let plan = MachinePlan::like(network, "worker-0", &format!("worker-{number}-of-three"));
        plan.with("--cluster", &SECOND.to_string())
    };
    let mut plans: Vec<MachinePlan> = (0..SUSPENDED).map(plan).collect();
    let (other, measurement) = plan(SUSPENDED).of_another_release();
    plans.push(other);
    assert_eq!(plans.len(), WORKERS);
    (plans, measurement)
}

#[test]
fn one_gatekeeper_hands_over_to_four_two_of_whom_suspend_a_release() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let at = |what: &str| println!("one gatekeeper: {what} after {} s", begun.elapsed().as_secs());
    let network = Network::start(&folder.path().join("network"), &SHORT);
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let story = Story { chain: Governance::of(&network), network, token };
    let (network, chain) = (&story.network, &story.chain);
    at("the network is ready");
    let lone = Lone::of(network);
    let root = story.root();
    assert_eq!((root.era, root.threshold, &root.seats[..]), (0, 1, &[lone.id][..]));
    assert_eq!(lone.seats(), Some(vec![0]));
    story.transfer(BEFORE);
    let inquiry = lone.asked_by_a_worker(network);
    assert_eq!(inquiry.request.request.era, 0);
    assert_eq!(lone.counted().1, 0, "it refuses nothing while its root answers");
    at("a worker's request, answered");

    let (plans, release) = workers(network);
    chain.allow(release, Role::Worker);
    let (seats, replicas) = (started(gatekeepers(network)), started(plans));
    let paid = seats.iter().zip(Account::development_stashes());
    let tees = paid.map(|(seat, stash)| format!("http://{},{stash}", seat.operator));
    let tees: Vec<String> = tees.chain(replicas.iter().map(|worker| format!("http://{}", worker.operator))).collect();
    let served = Served::begin(network, &tees);
    let four = story.registered(&seats);
    at("four gatekeepers more");
    let (second, other_token) = story.second_cluster(&replicas);
    at("three workers of one cluster");

    let former = [FIRST, SECOND].map(|cluster| story.cluster(cluster));
    let ended = AtomicBool::new(false);
    let (sent, last) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent: u128 = 0;
            while !ended.load(Ordering::Relaxed) {
                story.transfer(1);
                sent += 1;
            }
            sent
        });
        let _ends = Ends(&ended);
        let last = story.four_make_a_root(&four);
        at("a root of four that answers alone");
        assert!(!load.is_finished(), "a transfer was lost");
        ended.store(true, Ordering::Relaxed);
        (load.join().unwrap(), last)
    });
    assert!(sent > 2, "commands went on: {sent}");
    let root = story.root();
    assert_eq!((root.era, root.threshold, &root.seats), (1, 3, &four));
    for (cluster, former) in [FIRST, SECOND].into_iter().zip(&former) {
        let now = story.cluster(cluster);
        assert_eq!((former.era, former.era_before, now.era, now.era_before), (0, 0, 1, 1));
        assert_eq!(now.epoch, former.epoch + 2, "two epochs roll, and no more");
        assert_ne!(now.envelope_key, former.envelope_key);
    }
    let retired = chain.events_since("Gatekeepers", "RootRetired", last);
    assert_eq!(retired, [(0u32, 1u32).encode()], "the root of era 0, of one seat, once");
    let bob = BEFORE + sent;
    assert_eq!(story.balance(), Some(bob), "each once, and what was there before");
    lone.has_nothing_left(&inquiry);
    at("the single gatekeeper has nothing left");
    // The four give what the state of then is sealed to.
    restarted(network, "worker-0");
    wait_until("a worker that starts anew to read the old state", BACK_WITHIN, || story.balance() == Some(bob));
    story.transfer(1);
    at("a worker that starts anew under the root of four");

    two_of_four_suspend(&story, release, &seats, &second, &other_token, || {
        lone.starts_with_nothing(network, chain.height());
        at("the single gatekeeper, started anew");
    });
    at("a suspension that ended by itself");
    assert_eq!(story.balance(), Some(bob + 1));
    drop(served);
    drop((seats, replicas));
    assert_eq!(story.network.stop(), Some(0));
}

/// Governance lets the brake hold for as short as this story can wait. The attestation pallet's other windows are those that a chain begins with.
fn brake_holds_for(chain: &Governance, blocks: BlockNumber) {
    let windows = (DAY, DAY, 7 * DAY, 7 * DAY, 0u64, 0u32, blocks);
    chain.decide(&ChainCall::raw("Attestation", "set_windows", windows.encode())).unwrap();
}

/// Two of four seats suspend the release that one of three workers runs; `meanwhile` is done while the brake holds.
fn two_of_four_suspend(
    story: &Story,
    release: Hash,
    seats: &[Machine],
    workers: &[shut_out::Machine],
    token: &Token<'_>,
    meanwhile: impl FnOnce(),
) {
    let (network, chain) = (&story.network, &story.chain);
    let (others, suspended) = (&workers[..SUSPENDED], &workers[SUSPENDED]);
    let before = story.cluster(SECOND);
    let first = story.cluster(FIRST).epoch;
    wait_until("three machines to serve the open epoch", SEEN_WITHIN, || {
        workers.iter().all(|machine| machine.serves(SECOND, before.epoch))
    });
    assert_eq!(token.balance(suspended), 1, "it is asked as the others are");
    let barred = |seat: &Machine| {
        let told = seat.told("/v1/info");
        told["gatekeeper"]["keys"]["refused"]["barred"].as_u64().unwrap_or(0)
    };
    assert!(seats.iter().all(|seat| barred(seat) == 0), "nobody is shut out");
    brake_holds_for(chain, HOLDS);

    let subject = format!("measurement:{}", to_hex(&release));
    let operators: Vec<String> = seats.iter().map(|seat| format!("http://{}", seat.operator)).collect();
    let files = brake::signed(network, &subject, &[&operators[1], &operators[3]]);
    let decided = Instant::now();
    let pulled = brake::pull(network, &files).data();
    assert_eq!(pulled["seats"], serde_json::json!([2, 4]), "{pulled}");
    let block = BlockNumber::try_from(pulled["block"].as_u64().unwrap()).unwrap();
    let until = u64::from(block + HOLDS - 1);
    let (shown, ban) = brake::shown(network, &subject);
    let ban = ban.unwrap_or_else(|| panic!("{shown}"));
    assert_eq!((&ban["in_force"], &ban["until"]), (&true.into(), &until.into()), "{shown}");

    wait_until("the next epoch to open without the machine", OPENED_WITHIN, || {
        story.cluster(SECOND).epoch > before.epoch
    });
    let opened = decided.elapsed();
    let now = story.cluster(SECOND);
    assert_eq!((now.epoch, &now.replicas), (before.epoch + 1, &before.replicas), "nobody is taken off the cluster");
    assert_eq!(story.cluster(FIRST).epoch, first, "and no other cluster's epoch rolls");
    let rolls = chain.events_since("Contracts", "EpochRolls", block);
    assert_eq!(rolls, [(SECOND, 1u32).encode()], "one epoch, at once, of the cluster that is hit");
    // With two of four that refuse, fewer than the three whom it needs give it a part.
    wait_until("two gatekeepers to refuse the machine its keys", OPENED_WITHIN, || {
        seats.iter().filter(|seat| barred(seat) > 0).count() >= 2
    });
    wait_until("the two others to serve the new epoch", SEEN_WITHIN, || {
        others.iter().all(|machine| machine.serves(SECOND, now.epoch))
    });
    token.transfer(others);
    for machine in others {
        wait_until("what was sent in the new epoch", SEEN_WITHIN, || token.balance(machine) == 2);
    }
    let (left_behind, ahead) = (suspended.executed().unwrap(), others[0].executed().unwrap());
    assert!(!suspended.serves(SECOND, now.epoch) && left_behind < ahead, "{left_behind} of {ahead}");
    let refused = token.asked(suspended);
    let code = &refused.json["error"]["code"];
    assert_eq!((refused.code, code), (Some(7), &Value::from("unattested")), "{}", refused.text);
    assert!(refused.text.contains("revoked or suspended"), "{}", refused.text);
    let (shown, ban) = brake::shown(network, &subject);
    let held = ban.is_some_and(|ban| ban["in_force"] == true);
    assert!(held, "all of that was while the brake held, of which the machine is too slow: {shown}");
    meanwhile();

    // Nobody does anything about it.
    wait_until("the suspension to end by itself", ENDED_WITHIN, || {
        let (shown, ban) = brake::shown(network, &subject);
        let (height, in_force) = (shown["height"].as_u64().unwrap(), ban.is_some_and(|ban| ban["in_force"] == true));
        assert_eq!(in_force, height <= until, "{shown}");
        !in_force
    });
    wait_until("the machine to be given the keys of the epoch that opened without it", SEEN_WITHIN, || {
        suspended.serves(SECOND, now.epoch)
    });
    wait_until("the machine to have executed what the others have", SEEN_WITHIN, || {
        suspended.executed() == others[0].executed()
    });
    assert_eq!(token.balance(suspended), 2);
    println!("one gatekeeper: a release was suspended, and the next epoch opened {:.1} s later", opened.as_secs_f64());
}
