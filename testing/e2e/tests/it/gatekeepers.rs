//! Four gatekeepers hold the network's root together: they make it in a ceremony, are killed while they make the next one, hand over
//! while commands go on, lose one of them for good, in whose place another machine comes (`replaced`), give the keys to the one that takes over
//! from a worker (`successor`), and suspend a release by the signatures of two.
//!
//! One network does all of it, and a developer's own contract lives through it; another one has an address and signs (`identities`). Its
//! machines are shared out among two relayers, as on two hosts, so that every parcel to half of the seats, and answers of two gatekeepers
//! to each worker, cross from relayer to relayer. It hands over once, or as often as `PHALA_ROTATIONS` says: each further time takes an
//! era, and repeats what was done, without kills. Elections begin the ceremonies by themselves: an era of its chain is six sessions of ten
//! blocks. What is asked of gatekeepers is what their processes say of themselves, and what is asked of roots and clusters what the chain
//! proves.
//! With `PHALA_LONG` two more ceremonies come before one is lost, of seats that no parcel reaches from the other host: what they lack they
//! complain of and get on chain, one is killed while it is delivered and one while it is settled. They take six minutes, most of it phases
//! that last. Then the keys change hands three times, through kills at each step of that (`identities_kills`), which takes ten more.
//! Not here: disputes, which no honest seat has a reason for; `phala-keys-sim` has liars.

use crate::{
    heartbeats,
    identities::{self, Author},
    identities_kills,
    outside_contract::{made_and_built, Diary},
    replaced::{self, Replaced},
    successor::Successor,
};
use phala_e2e::{
    alone, brake,
    governance::Governance,
    phala, probe,
    processes::{self, ByHand, Place, Stopped},
    raw_http::{ask, host_of},
    signal, wait_until, Network,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Seats of every root.
pub const SEATS: usize = 4;
/// How many of them it takes.
pub const THRESHOLD: u64 = 3;
/// Until the next election begins a ceremony: an era, its session of lead, and what holds it up.
const ELECTED_WITHIN: Duration = Duration::from_secs(120);
/// For a phase of 50 or 100 blocks in which somebody is silent, and for a process that starts again.
const PHASE_WITHIN: Duration = Duration::from_secs(90);
/// For a ceremony from its first commitment, with a second attempt.
const MADE_WITHIN: Duration = Duration::from_secs(150);
/// For two epochs of every cluster.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(120);
/// For a process that was killed to do its work again.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// For a phase of 100 blocks, and one of 50 after it.
const PHASES_WITHIN: Duration = Duration::from_secs(180);
/// For two epochs of one cluster when none is hurried.
const EPOCHS_WITHIN: Duration = Duration::from_secs(90);

/// The network, and who is on it.
pub struct Story {
    /// The network.
    pub network: Network,
    /// What its governance decides, and its chain proves.
    pub chain: Governance,
    token: String,
    /// Where each gatekeeper says what it does, by its number.
    hosts: Vec<String>,
    /// Who it is.
    identities: Vec<String>,
}

/// The end of a load, whatever ends what goes on beside it.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a gatekeeper's process is called.
pub fn name(gatekeeper: usize) -> String {
    format!("gatekeeper-{gatekeeper}")
}

impl Story {
    fn begin(base: &Path) -> Self {
        let words = ["--fresh", "--authorities", "4", "--workers", "2", "--relayers", "2"];
        let short = ["--epoch-blocks", "20", "--session-blocks", "10", "--block-milliseconds", "500"];
        let network = Network::start(base, &[&words[..], &short].concat());
        let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
        let file: Value = serde_json::from_slice(&fs::read(base.join("network.json")).unwrap()).unwrap();
        let machines = file["gatekeepers"].as_array().unwrap();
        assert_eq!(machines.len(), SEATS, "{file}");
        let said = |machine: &Value, what: &str| machine[what].as_str().unwrap().to_owned();
        let hosts = machines.iter().map(|machine| host_of(&said(machine, "http")).to_owned()).collect();
        let identities = machines.iter().map(|machine| said(machine, "identity")).collect();
        Self { chain: Governance::of(&network), network, token, hosts, identities }
    }

    /// The id of a process.
    pub fn id(&self, process: &str) -> u32 {
        processes::id(&self.network.base, process)
    }

    /// Waits until a gatekeeper that was killed, and had this id, is there again.
    pub fn is_back(&self, gatekeeper: usize, killed: u32) {
        wait_until(&format!("{} to be started again", name(gatekeeper)), BACK_WITHIN, || {
            processes::ids(&self.network.base).get(&name(gatekeeper)).is_some_and(|id| *id != killed)
                && self.told(gatekeeper).is_some()
        });
    }

    /// Who a gatekeeper was when the network was ready.
    pub fn identity(&self, gatekeeper: usize) -> &str {
        &self.identities[gatekeeper]
    }

    fn status(&self) -> Value {
        self.network.phala(&["status"]).data()
    }

    /// The era of the root that answers.
    fn era(&self) -> u64 {
        self.status()["root"]["era"].as_u64().expect("a root answers")
    }

    /// The era of the newest root, also if clusters are on their way to it.
    pub fn newest(&self) -> u64 {
        let status = self.status();
        status["root"]["era"].as_u64().max(status["next_root"]["era"].as_u64()).expect("a root answers")
    }

    /// What a gatekeeper says of itself; nothing while it does not answer.
    pub fn info(&self, gatekeeper: usize) -> Option<Value> {
        let answer = ask(&self.hosts[gatekeeper], "GET", "/v1/info", &[]).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// What it says of its role.
    pub fn told(&self, gatekeeper: usize) -> Option<Value> {
        let told = self.info(gatekeeper)?["gatekeeper"].clone();
        told.is_object().then_some(told)
    }

    /// The phase of the ceremony of `era`, as a gatekeeper sees it at its head.
    fn phase(&self, gatekeeper: usize, era: u64) -> Option<String> {
        let ceremony = self.told(gatekeeper)?["ceremony"].clone();
        (ceremony["era"] == era).then(|| ceremony["phase"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the chain has a gatekeeper's hash in the ceremony of `era`.
    fn committed(&self, gatekeeper: usize, era: u64) -> bool {
        let ceremony = self.network.phala(&["gatekeeper", "status"]).data()["ceremony"].clone();
        let seats = ceremony["seats"].as_array().map(Vec::as_slice).unwrap_or_default();
        let own = |seat: &&Value| seat["gatekeeper"] == self.identities[gatekeeper].as_str();
        ceremony["era"] == era && seats.iter().find(own).is_some_and(|seat| seat["committed"] == true)
    }

    /// The eras of which a gatekeeper holds a seat; nothing while it does not answer.
    pub fn seats(&self, gatekeeper: usize) -> Option<Vec<u64>> {
        let told = self.told(gatekeeper)?;
        told["seats"].as_array()?.iter().map(|seat| seat["era"].as_u64()).collect()
    }

    fn transfer(&self, from: &str, to: &str, amount: &str, more: &[&str]) -> phala_e2e::Run {
        let arguments = format!(r#"["{to}", "{amount}"]"#);
        let command = ["contract", "call", &self.token, "transfer", &arguments, "--from", from, "--wait"];
        self.network.phala(&[&command[..], &["--timeout", "120"], more].concat())
    }

    fn ask_balance(&self, account: &str) -> phala_e2e::Run {
        self.network.phala(&["contract", "query", &self.token, "balance", "--from", account])
    }

    fn balance(&self, account: &str) -> u128 {
        self.ask_balance(account).data()["value"].as_str().unwrap().parse().unwrap()
    }

    /// What the worker answers of an account's tokens; nothing while it does not.
    pub fn answered_balance(&self, account: &str) -> Option<u128> {
        self.ask_balance(account).json["value"].as_str()?.parse().ok()
    }

    /// One transfer whose receipt holds from the pinned genesis to the reply.
    fn proved_transfer(&self, receipt: &str) {
        let receipt = self.network.base.join(receipt);
        let path = receipt.to_str().unwrap();
        self.transfer("alice", "charlie", "1", &["--receipt", path]).data();
        let verified = phala(&self.network.base, &["verify", path, "--allow-simulated"]);
        assert_eq!(verified.code, Some(0), "{}", verified.text);
    }

    /// Transfers one after the other until told to end, each of which is executed. How many there were.
    fn load(&self, ended: &AtomicBool) -> u128 {
        let (mut sent, mut slowest) = (0, Duration::ZERO);
        while !ended.load(Ordering::Relaxed) {
            let begun = Instant::now();
            self.transfer("alice", "bob", "1", &[]).data();
            slowest = slowest.max(begun.elapsed());
            sent += 1;
        }
        println!("gatekeepers: {sent} transfers under way, the slowest {:.1} s", slowest.as_secs_f64());
        sent
    }

    /// Waits until the root of `era` or a later one answers alone, with all clusters gone over to it.
    pub fn rotated(&self, era: u64) {
        let root = |status: &Value, which: &str| status[which]["era"].as_u64();
        wait_until(&format!("the root of era {era} to be recorded"), MADE_WITHIN, || {
            let status = self.status();
            root(&status, "root").max(root(&status, "next_root")) >= Some(era)
        });
        wait_until(&format!("every cluster to go over to the root of era {era}"), HANDED_OVER_WITHIN, || {
            let status = self.status();
            let clusters = status["clusters"].as_array().unwrap();
            let over =
                |cluster: &Value| cluster["era"].as_u64() >= Some(era) && cluster["era_before"].as_u64() >= Some(era);
            root(&status, "root") >= Some(era) && !clusters.is_empty() && clusters.iter().all(over)
        });
    }

    /// Waits until no gatekeeper has a seat of an era before `era`, and enough of them one of it or of a later one.
    fn former_seats_are_gone(&self, era: u64, of: &[usize]) {
        wait_until(&format!("the seats of eras before {era} to be dropped"), BACK_WITHIN, || {
            let seats: Option<Vec<Vec<u64>>> = of.iter().map(|gatekeeper| self.seats(*gatekeeper)).collect();
            seats.is_some_and(|seats| {
                let none_before = seats.iter().flatten().all(|seat| *seat >= era);
                let hold = seats.iter().filter(|seats| !seats.is_empty()).count();
                none_before && hold as u64 >= THRESHOLD
            })
        });
    }
}

#[test]
fn gatekeepers_make_roots_hand_over_and_lose_one_while_commands_go_on() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let at = |what: &str| println!("gatekeepers: {what} after {} s", begun.elapsed().as_secs());
    let rotations = rotations();
    let (story, diary, author) = thread::scope(|scope| {
        let built = scope.spawn(|| (made_and_built(folder.path()), probe::build(&folder.path().join("contracts"))));
        let story = Story::begin(&folder.path().join("network"));
        let (diary, author) = built.join().unwrap();
        (story, diary, author)
    });
    at("the network is ready");

    // The root is one that no machine holds.
    let root = story.status()["root"].clone();
    assert_eq!((root["threshold"].as_u64(), root["lone"].as_bool()), (Some(THRESHOLD), Some(false)), "{root}");
    assert_eq!(root["seats"].as_array().unwrap().len(), SEATS, "{root}");
    story.proved_transfer("first.json");
    let first = story.era();

    let ended = AtomicBool::new(false);
    let (sent, last, diary, author, kept) = thread::scope(|scope| {
        let load = scope.spawn(|| story.load(&ended));
        let _ends = Ends(&ended);
        // The other cluster's contract: written to before the hand-over, and read after it.
        let diary = scope.spawn(|| Diary::begin(&story.network, &diary, 1));
        let author = Author::begin(&story, &author);
        at("a contract that signs");
        let kept = Kept::of(&story, 3);
        let next = the_next_ceremony_survives_kills(&story);
        at("a ceremony through kills");
        let diary = diary.join().unwrap();
        let last = next + rotations - 1;
        for era in next..=last {
            // Begun before: the keys may change hands in the block in which the root answers.
            let hands = scope.spawn({
                let (story, killed) = (&story, (era == next).then_some(2));
                move || identities::change_hands(story, era, killed)
            });
            story.rotated(era);
            at("a rotation");
            hands.join().unwrap();
            at("the contract's keys in other hands");
        }
        author.sends("by those who received the keys");
        at("the same contract, signing");
        assert!(!load.is_finished(), "a transfer was lost");
        ended.store(true, Ordering::Relaxed);
        (load.join().unwrap(), last, diary, author, kept)
    });
    assert!(last > first, "another root answers than at the beginning");
    assert!(sent > 2 * u128::from(rotations), "commands went on: {sent}");
    assert_eq!((story.balance("bob"), story.balance("charlie")), (sent, 1), "each once");
    story.former_seats_are_gone(last, &[0, 1, 2, 3]);
    identities::former_shares_are_gone(&story, last, SEATS);
    // The three that are to do without the fourth.
    story.former_seats_are_gone(last, &[0, 1, 2]);
    story.proved_transfer("after.json");
    heartbeats::a_worker_answers(&story);
    at("a worker's heartbeat");
    diary.goes_on_after_changes();
    at("a contract after the change of epoch and authorities");

    // At once: the worker has its keys of the three gatekeepers whose disks nobody touches.
    thread::scope(|scope| {
        scope.spawn(|| a_restored_seat_of_a_former_root_is_dropped(&story, &kept));
        the_state_opens_to_a_worker_that_starts_anew(&story, sent);
    });
    at("a worker that starts anew, and an old disk");
    if std::env::var_os("PHALA_LONG").is_some() {
        a_root_of_deliveries_alone_survives_a_kill(&story);
        at("a ceremony without parcels through a kill in Deliver");
        a_ceremony_that_settles_survives_a_kill(&story);
        at("a ceremony without parcels through a kill in Settle");
        identities_kills::each_step_survives_kills(&story, &author, at);
    }
    let ended = AtomicBool::new(false);
    let (replaced, more) = thread::scope(|scope| {
        let load = scope.spawn(|| story.load(&ended));
        let _ends = Ends(&ended);
        let replaced = one_stays_down(&story, &author, at);
        replaced.takes_part(&story, &author, at);
        at("the machine that took the place of a lost one does its part");
        assert!(!load.is_finished(), "a transfer was lost");
        ended.store(true, Ordering::Relaxed);
        (replaced, load.join().unwrap())
    });
    let sent = sent + more;
    assert!(more > 2, "commands went on: {more}");
    assert_eq!(story.balance("bob"), sent, "each once");
    two_operators_pull_the_brake(&story);
    at("the brake");
    let successor = Successor::takes_over(&story, &replaced, sent, at);
    successor.has_the_state(&story);
    drop((successor, replaced));
    assert_eq!(story.network.stop(), Some(0));
}

/// How often every cluster goes over to another root while commands go on.
pub fn rotations() -> u64 {
    std::env::var("PHALA_ROTATIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(1).max(1)
}

/// One gatekeeper is killed while seats commit, and one while shares travel. Returns the era whose root is made all the same.
fn the_next_ceremony_survives_kills(story: &Story) -> u64 {
    let (early, late, witness) = (0, 1, 2);
    let (era, killed, still) = a_ceremony_waits_for(story, early, witness);
    // The second one has committed and stands still, so that the next phase waits for it.
    wait_until("a gatekeeper to commit while another stands still", PHASE_WITHIN, || story.committed(late, era));
    let killed_late = story.id(&name(late));
    let still_late = Stopped::new(killed_late);
    signal(killed, "-KILL");
    drop(still);
    wait_until("the gatekeeper that was killed while seats commit to die", PHASE_WITHIN, || processes::is_dead(killed));
    wait_until("shares to travel", PHASE_WITHIN, || story.phase(witness, era).as_deref() == Some("share"));
    signal(killed_late, "-KILL");
    drop(still_late);
    story.is_back(early, killed);
    story.is_back(late, killed_late);
    wait_until(&format!("seats of era {era} after the kills"), MADE_WITHIN, || {
        let holds = |gatekeeper| story.seats(gatekeeper).is_some_and(|eras| eras.contains(&era));
        (0..SEATS).filter(|gatekeeper| holds(*gatekeeper)).count() as u64 >= THRESHOLD
    });
    era
}

/// Holds the next ceremony in its first phase, by a gatekeeper that stands still from before it begins. Returns the ceremony's era, and
/// who stands still. A ceremony that is under way already is let go. One of identities would wait for it, too, and the election for that.
fn a_ceremony_waits_for(story: &Story, gatekeeper: usize, witness: usize) -> (u64, u32, Stopped) {
    for _ in 0..3 {
        identities::are_where_the_root_is(story);
        let era = story.newest() + 1;
        let id = story.id(&name(gatekeeper));
        let still = Stopped::new(id);
        let mut phase = None;
        wait_until(&format!("the ceremony of era {era} to begin"), ELECTED_WITHIN, || {
            phase = story.phase(witness, era);
            phase.is_some() || story.newest() >= era
        });
        if phase.as_deref() == Some("commit") {
            return (era, id, still);
        }
        drop(still);
        wait_until(&format!("the ceremony of era {era}, which was under way, to end"), MADE_WITHIN, || {
            story.newest() >= era
        });
    }
    panic!("three ceremonies were under way when a gatekeeper was to stand still");
}

/// Two hosts that have never heard of each other: the network's own relayers stand still, and in their places run two that neither take nor
/// bring letters. Statements reach the chain, and the chain its TEEs, as ever.
pub struct WithoutMail {
    _by_hand: Vec<ByHand>,
    _own: Vec<Stopped>,
}

impl WithoutMail {
    /// Until the value is dropped.
    pub fn begin(story: &Story) -> Self {
        let (mut by_hand, mut own) = (Vec::new(), Vec::new());
        for relayer in ["relayer-0", "relayer-1"] {
            let id = story.id(relayer);
            let mut words = processes::arguments(id);
            for flag in ["--listen", "--peer"] {
                let at = words.iter().position(|word| word == flag).expect("the two know each other");
                words.drain(at..at + 2);
            }
            own.push(Stopped::new(id));
            let log = story.network.base.join("logs").join(format!("{relayer}-without-mail.log"));
            by_hand.push(ByHand::start(&words, &log));
        }
        Self { _by_hand: by_hand, _own: own }
    }
}

/// Who is on the host of gatekeeper 0; the two others are on the other one.
pub const BESIDE: usize = 2;

/// Begins a ceremony whose parcels stay on their host from before any share is sent. Returns its era.
fn a_ceremony_without_mail(story: &Story) -> (u64, WithoutMail) {
    let (era, _, still) = a_ceremony_waits_for(story, BESIDE, 1);
    let cut = WithoutMail::begin(story);
    drop(still);
    (era, cut)
}

/// Waits until more than one seat has complained.
fn complaints_stand(story: &Story, era: u64) {
    wait_until(&format!("complaints of era {era}"), PHASES_WITHIN, || {
        let ceremony = story.network.phala(&["gatekeeper", "status"]).data()["ceremony"].clone();
        let complaints = ceremony["complaints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let accusers: BTreeSet<u64> = complaints.iter().filter_map(|complaint| complaint["accuser"].as_u64()).collect();
        ceremony["era"] == era && accusers.len() >= 2
    });
}

/// Kills a gatekeeper that says that it is in this phase of the ceremony, and waits until it is back.
fn killed_in(story: &Story, gatekeeper: usize, era: u64, phase: &str) {
    wait_until(&format!("the phase {phase} of era {era}"), PHASES_WITHIN, || {
        story.phase(gatekeeper, era).as_deref() == Some(phase)
    });
    let before = story.id(&name(gatekeeper));
    signal(before, "-KILL");
    story.is_back(gatekeeper, before);
}

/// Every seat lacks the shares of the two on the other host, and gets them on chain. One that owes two and lacks two is killed meanwhile.
fn a_root_of_deliveries_alone_survives_a_kill(story: &Story) {
    let (era, cut) = a_ceremony_without_mail(story);
    complaints_stand(story, era);
    killed_in(story, 0, era, "deliver");
    wait_until(&format!("a root of era {era} out of deliveries"), MADE_WITHIN * 2, || story.newest() >= era);
    drop(cut);
    story.rotated(era);
    story.former_seats_are_gone(era, &[0, 1, 2, 3]);
}

/// One stands still while what it owes is to be delivered, so that the others have to settle, and one of those is killed meanwhile. Whoever
/// delivered nothing is left out, and the others make the root in another attempt.
fn a_ceremony_that_settles_survives_a_kill(story: &Story) {
    let (era, cut) = a_ceremony_without_mail(story);
    wait_until("shares to stay where they are", PHASE_WITHIN, || story.phase(0, era).as_deref() == Some("share"));
    let silent = Stopped::new(story.id(&name(0)));
    complaints_stand(story, era);
    killed_in(story, BESIDE, era, "settle");
    drop(silent);
    drop(cut);
    story.rotated(era);
    story.former_seats_are_gone(era, &[0, 1, 2, 3]);
}

/// A worker that has nothing in memory gets the keys of the present root, and reads what was written under former ones.
fn the_state_opens_to_a_worker_that_starts_anew(story: &Story, bob: u128) {
    let before = story.id("worker-0");
    signal(before, "-KILL");
    wait_until("the worker to answer from its state again", BACK_WITHIN, || {
        let restarted = processes::ids(&story.network.base).get("worker-0").is_some_and(|id| *id != before);
        restarted && story.answered_balance("bob") == Some(bob)
    });
}

/// What a gatekeeper's machine had sealed at some time.
struct Kept {
    gatekeeper: usize,
    folder: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
    era: u64,
    /// Of the set that held the identities.
    identities: u64,
}

impl Kept {
    fn of(story: &Story, gatekeeper: usize) -> Self {
        // The others may have signed without it: its own head comes to the record a little later.
        let mut identities = None;
        wait_until("the gatekeeper whose disk is kept to have shares of the identities", BACK_WITHIN, || {
            identities = identities::held(story, gatekeeper).flatten();
            identities.is_some()
        });
        let identities = identities.unwrap();
        let folder = story.network.base.join("workers").join(name(gatekeeper));
        let files = phala_e2e::bytes_below(&folder);
        for kind in [SEATS_KEPT, SHARES_KEPT] {
            assert!(
                kept_among(&files, kind).next().is_some(),
                "a gatekeeper seals its {kind}: {:?}",
                files.iter().map(|(path, _)| path).collect::<Vec<_>>()
            );
        }
        let era = story.era();
        assert!(story.seats(gatekeeper).is_some_and(|eras| eras.contains(&era)), "it has a seat of the root");
        Self { gatekeeper, folder, files, era, identities }
    }
}

/// The owner of a machine puts its disk of a former era back: the seat that it holds again answers to no root, and is dropped, and its
/// shares of identities are a former set's, and are too.
fn a_restored_seat_of_a_former_root_is_dropped(story: &Story, kept: &Kept) {
    {
        let supervisor = Stopped::new(story.network.id());
        let _place = Place::take(&supervisor, &story.network, &name(kept.gatekeeper));
        fs::remove_dir_all(&kept.folder).unwrap();
        for (path, bytes) in &kept.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    assert!(story.era() > kept.era);
    wait_until("the seat on the old disk to be dropped", BACK_WITHIN, || {
        let dropped = story.seats(kept.gatekeeper).is_some_and(|eras| !eras.contains(&kept.era));
        let shares = identities::held(story, kept.gatekeeper);
        dropped && shares.is_some_and(|era| era.is_none_or(|era| era > kept.identities))
    });
    // From the disk too: no file of seats or of shares is as it was.
    wait_until("the disk to be without them", BACK_WITHIN, || {
        let files = phala_e2e::bytes_below(&kept.folder);
        let mut of_them = [SEATS_KEPT, SHARES_KEPT].into_iter().flat_map(|kind| kept_among(&files, kind));
        of_them.all(|file| !kept.files.contains(file))
    });
}

/// What files are called that hold seats, or say which there are.
const SEATS_KEPT: &str = "seat";
/// What the file is called that holds shares of identities.
const SHARES_KEPT: &str = "custody";

/// Files of one kind.
fn kept_among<'a>(files: &'a [(PathBuf, Vec<u8>)], kind: &'a str) -> impl Iterator<Item = &'a (PathBuf, Vec<u8>)> {
    files.iter().filter(move |(path, _)| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)))
}

/// One is gone for good, and the three others open epochs, and sign, while another machine is set up in its place.
fn one_stays_down(story: &Story, author: &Author<'_>, at: impl Fn(&str)) -> Replaced {
    let lost = replaced::lose(story);
    at("a machine is lost");
    let replaced = thread::scope(|scope| {
        let replaced = scope.spawn(move || Replaced::begin(story, lost));
        with_three(story, author, "without one of the four");
        at("one that stays down");
        replaced.join().unwrap()
    });
    at("another machine is bound in its place");
    replaced
}

/// Two more epochs, and a message that is signed, while three of four do their part.
pub fn with_three(story: &Story, author: &Author<'_>, text: &str) {
    let epoch = || story.status()["clusters"][0]["epoch"].as_u64().unwrap();
    let before = epoch();
    thread::scope(|scope| {
        scope.spawn(|| author.sends(text));
        wait_until(&format!("two more epochs {text}"), EPOCHS_WITHIN, || epoch() >= before + 2);
    });
}

/// Two of four operators, one with the machine that took the place of a lost one, have their TEEs sign a suspension, of a release that
/// nobody runs, and somebody else submits it.
fn two_operators_pull_the_brake(story: &Story) {
    let subject = format!("measurement:0x{}", "5a".repeat(32));
    let files = brake::signed(&story.network, &subject, &[&name(0), &name(3)]);
    let alone = brake::pull(&story.network, &files[..1]);
    assert_eq!((alone.code, &alone.json["error"]["code"]), (Some(2), &Value::from("invalid")), "{}", alone.text);
    assert!(alone.text.contains("2 seats have to sign, and 1 did"), "{}", alone.text);
    let pulled = brake::pull(&story.network, &files).data();
    assert_eq!(pulled["seats"].as_array().map(Vec::len), Some(2), "{pulled}");
    let (status, ban) = brake::shown(&story.network, &subject);
    assert!(status["brake"] == "holds" && ban.is_some_and(|ban| ban["in_force"] == true), "{status}");
    // Parts serve once: the next suspension of the subject is another one.
    let again = brake::pull(&story.network, &files);
    assert_eq!(again.json["error"]["code"], "stale", "{}", again.text);
}
