//! A gatekeeper's machine is lost for good, with its disk, and another one takes its place under the same validator: with an identity of its
//! own, at the address of the former one, so that no relayer has to be told. A part of the story of `gatekeepers`, on its network.
//!
//! The other machine claims to run another release, so that it measures something else than the three others do: a gatekeeper is moved to a
//! release as it is replaced. The release is the same program with bytes behind it that nobody reads. Governance lists it, for gatekeepers.
//!
//! What the operator does are the commands of docs/guides/gatekeepers.md. Governance cancels the ceremony that began without the machine,
//! so that nobody waits for a root of three, for the hand-over to it, and for identities that one of four never receives. Seats, keys and
//! the ceremony are what the chain proves, what a machine holds what its process says; that this is good is shown by what is done with it
//! while another of the four stands still. Not here: a machine at another address, whose relayer is started again with that.

use crate::{
    gatekeepers::{name, with_three, Story, SEATS},
    identities::{self, Author},
};
use phala_client::chain::ChainCall;
use phala_e2e::{
    canary::from_hex,
    machines::of_another_release,
    phala,
    processes::{words_with, ByHand, Place, Stopped},
    wait_until,
};
use phala_protocol::{
    attestation::Role,
    ceremony::{CeremonyRecord, Phase},
    chain_state::{RootRecord, WorkerRecord},
    identities::{IdentityCeremonyRecord, IdentityHolder, IdentityRecord},
    ids::to_hex,
    storage, WorkerId,
};
use serde_json::{json, Value};
use std::{fs, time::Duration};

/// The gatekeeper whose machine is lost.
const LOST: usize = 3;
/// Its validator.
const VALIDATOR: &str = "dave-stash";
/// What the other machine is called.
const OTHER: &str = "gatekeeper-3-replaced";
/// The one that stands still while the other machine has to do its part.
pub const ABSENT: usize = 0;

/// For a root that is made and handed over, and then the keys, as far as that is under way; several times, for the moment is short.
const AT_REST_WITHIN: Duration = Duration::from_secs(420);
/// For a process that is started.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// For a machine to follow the chain to its head, to attest itself, and to be in a finalised block.
const REGISTERED_WITHIN: Duration = Duration::from_secs(120);
/// For governance's call that cancels a ceremony.
const CANCELLED_WITHIN: Duration = Duration::from_secs(60);
/// For the next election and its ceremony; where a root of three was made meanwhile, all that follows from that comes before.
const ROOT_WITHIN: Duration = Duration::from_secs(420);
/// For the node to prove the newest records of a ceremony.
const PROVED_WITHIN: Duration = Duration::from_secs(60);
/// For a root that answers: until its set has received the keys, from a dealer that never comes too.
const HANDS_WITHIN: Duration = Duration::from_secs(420);
/// For gatekeepers to see what the chain recorded.
const HELD_WITHIN: Duration = Duration::from_secs(90);
/// For a worker that starts, and asks gatekeepers for its keys.
const BACK_WITHIN: Duration = Duration::from_secs(90);

/// How a machine was run that is no more.
pub struct Lost {
    identity: WorkerId,
    gatekeeper: Place,
    tee: Place,
    supervisor: Stopped,
}

/// Another machine in its place, and what else is run by hand, for as long as this is there.
pub struct Replaced {
    identity: WorkerId,
    former: WorkerId,
    // Ended before the supervisor goes on.
    _by_hand: Vec<ByHand>,
    supervisor: Stopped,
}

/// Takes a machine and its disk away for good, at a moment in which the three others can do without it.
pub fn lose(story: &Story) -> Lost {
    wait_until("nothing to change hands, and the three others to hold seats and keys", AT_REST_WITHIN, || {
        let era = era_at_rest(story);
        let mut others = (0..SEATS).filter(|gatekeeper| *gatekeeper != LOST);
        era.is_some_and(|era| others.all(|gatekeeper| holds_from(story, gatekeeper, era))) && era_at_rest(story) == era
    });
    let supervisor = Stopped::new(story.network.id());
    let gatekeeper = Place::take(&supervisor, &story.network, &name(LOST));
    let tee = Place::take(&supervisor, &story.network, &format!("tee-{}", name(LOST)));
    for folder in ["workers", "tee"] {
        fs::remove_dir_all(story.network.base.join(folder).join(name(LOST))).unwrap();
    }
    Lost { identity: identity(story.identity(LOST)), gatekeeper, tee, supervisor }
}

fn identity(text: &str) -> WorkerId {
    WorkerId(from_hex(text).unwrap().try_into().unwrap())
}

/// The era of the root that answers, whose seats hold the keys, while nothing is handed over and no share of a next root travels. That its
/// ceremony has begun is no harm: it waits for the machine then, as one would that begins soon after.
fn era_at_rest(story: &Story) -> Option<u64> {
    let era = story.chain.ask(|network| async move {
        let keys = [
            storage::root_key(),
            storage::identity_key(),
            storage::next_root_key(),
            storage::ceremony_key(),
            storage::identity_ceremony_key(),
        ];
        let proved = network.read(&keys).await?;
        let [root, held, next, ceremony, of_identities] = &keys;
        let root: Option<RootRecord> = proved.get(root)?;
        let held: Option<IdentityRecord> = proved.get(held)?;
        let busy = proved.get::<RootRecord>(next)?.is_some()
            || proved.get::<CeremonyRecord>(ceremony)?.is_some_and(|ceremony| ceremony.phase != Phase::Commit)
            || proved.get::<IdentityCeremonyRecord>(of_identities)?.is_some();
        let era = root.map(|root| root.era);
        Ok(era.filter(|era| !busy && held.is_some_and(|held| held.era == *era)))
    });
    era.map(u64::from)
}

/// Whether a gatekeeper says that it has a seat, and shares of the keys, of `era` or of a later one.
fn holds_from(story: &Story, gatekeeper: usize, era: u64) -> bool {
    let seated = story.seats(gatekeeper).is_some_and(|eras| eras.iter().any(|of| *of >= era));
    seated && identities::held(story, gatekeeper).flatten() >= Some(era)
}

impl Replaced {
    /// Starts another machine, of another release, which registers by its relayer, and binds it to the validator.
    pub fn begin(story: &Story, lost: Lost) -> Self {
        let Lost { identity: former, gatekeeper, tee, supervisor } = lost;
        let base = &story.network.base;
        let log = |process: &str| base.join("logs").join(format!("{process}.log"));
        let machine = base.join("tee").join(OTHER);
        let below = |name: &str| machine.join(name).to_str().unwrap().to_owned();
        let words = words_with(&tee.arguments, "--dir", machine.to_str().unwrap());
        let words = words_with(&words, "--machine", OTHER);
        let release = machine.with_extension("release");
        let (words, measurement) = of_another_release(&words, &release);
        let mut by_hand = vec![ByHand::start(&words, &log(&format!("tee-{OTHER}")))];
        wait_until("the other machine to be simulated", STARTED_WITHIN, || machine.join("collateral").exists());
        let disk = base.join("workers").join(OTHER);
        let words = gatekeeper.words_with("--data", disk.to_str().unwrap());
        let words = words_with(&words, "--tsm", &below("report"));
        let words = words_with(&words, "--sealing-key", &below("keys/sealing"));
        by_hand.push(ByHand::start(&words, &log(OTHER)));

        let mut said = None;
        wait_until("the other machine to say who it is", STARTED_WITHIN, || {
            said = story.info(LOST).and_then(|info| info["identity"].as_str().map(identity));
            said.is_some()
        });
        let identity = said.unwrap();
        assert_ne!(identity, former, "nothing of the lost one is left");
        let key = storage::worker_key(&identity);
        let measures = |key: &[u8]| story.chain.read::<WorkerRecord>(key).map(|record| record.measurement);
        assert!(![Some(measurement), None].contains(&measures(&storage::worker_key(&former))), "it is another release");
        assert_eq!(measures(&key), None, "its release is not listed");
        story.chain.allow(measurement, Role::Gatekeeper);
        wait_until("the other machine to be registered", REGISTERED_WITHIN, || measures(&key).is_some());
        assert_eq!(measures(&key), Some(measurement));
        let holds = (story.seats(LOST), identities::held(story, LOST));
        assert_eq!(holds, (Some(Vec::new()), Some(None)), "it begins with nothing");

        let id = identity.to_string();
        let bind = ["gatekeeper", "register-seat", id.as_str(), "--from", VALIDATOR];
        let refused = story.network.phala(&bind);
        assert_eq!(refused.json["error"]["code"], "refused", "{}", refused.text);
        assert!(refused.text.contains("--replace"), "{}", refused.text);
        let bound = story.network.phala(&[&bind[..], &["--replace"]].concat()).data();
        assert_eq!(bound["replaced"], former.to_string(), "{bound}");
        let replaced = Self { identity, former, _by_hand: by_hand, supervisor };
        replaced.no_ceremony_waits_for_the_former(story);
        replaced
    }

    /// A ceremony that began before the other machine was bound is governance's to cancel: the next election holds another.
    fn no_ceremony_waits_for_the_former(&self, story: &Story) {
        let waits = || {
            let ceremony: Option<CeremonyRecord> = story.chain.read(&storage::ceremony_key());
            ceremony.is_some_and(|ceremony| ceremony.seats.iter().any(|seat| seat.gatekeeper == self.former))
        };
        if waits() {
            let what = "governance to cancel the ceremony that waits for the lost machine";
            let cancel = ChainCall::raw("Gatekeepers", "cancel", Vec::new());
            let passing = ("Gatekeepers", &["NothingToCancel"][..]);
            story.chain.decide_within(what, CANCELLED_WITHIN, &cancel, passing, || !waits());
            println!("gatekeepers: a ceremony that waited for the lost machine is cancelled");
        }
    }

    /// It has a seat of the next root, receives the keys, and does its part of epochs and signatures: with another of the four that stands
    /// still, as many do as are needed only with it.
    pub fn takes_part(&self, story: &Story, author: &Author<'_>, at: impl Fn(&str)) {
        let keys = identities::record(story).unwrap().keys;
        let mut made = None;
        wait_until("a root in which the other machine has a seat", ROOT_WITHIN, || {
            let [root, next] = [storage::root_key(), storage::next_root_key()]
                .map(|key| story.chain.read::<RootRecord>(&key).filter(|root| root.seats.contains(&self.identity)));
            made = root.or(next);
            made.is_some()
        });
        let root = made.unwrap();
        assert_eq!((root.seats.len(), root.seats.contains(&self.former)), (SEATS, false), "{root:?}");
        at("a root in which the other machine has a seat");
        let era = u64::from(root.era);
        self.transcript_is_proved(story, &root);
        at("the transcript of its ceremony");
        story.rotated(era);
        at("the hand-over to it");

        let mut held = None;
        wait_until("the other machine to be among the holders of the keys", HANDS_WITHIN, || {
            held = identities::record(story).filter(|record| {
                u64::from(record.era) >= era && record.holders.iter().any(|holder| holder.gatekeeper == self.identity)
            });
            held.is_some()
        });
        let held = held.unwrap();
        assert_eq!(held.keys, keys, "they stay the same");
        assert!(held.holders.iter().all(|holder| holder.gatekeeper != self.former), "{held:?}");
        self.hand_over_is_proved(story, &held);
        at("the transcript of the hand-over of the keys");
        wait_until("the other machine and two more to hold seats and keys", HELD_WITHIN, || {
            (0..SEATS).filter(|gatekeeper| *gatekeeper != ABSENT).all(|gatekeeper| holds_from(story, gatekeeper, era))
        });
        at("the keys in its hands, too");
        let _still = Stopped::new(story.id(&name(ABSENT)));
        with_three(story, author, "with the machine that took the place of a lost one");
    }

    /// A worker that has nothing in memory gets its keys with a part of the other machine's, and reads what was written before.
    /// How that worker is run, and that it is run by hand.
    pub fn opens_the_old_state(&self, story: &Story, bob: u128) -> (Place, ByHand) {
        let _still = Stopped::new(story.id(&name(ABSENT)));
        let worker = Place::take(&self.supervisor, &story.network, "worker-0");
        let log = story.network.base.join("logs").join("worker-0-anew.log");
        let anew = ByHand::start(&worker.arguments, &log);
        wait_until("a worker that starts anew to read the state by the other machine's part", BACK_WITHIN, || {
            story.answered_balance("bob") == Some(bob)
        });
        (worker, anew)
    }

    /// `phala dev`, which starts nothing again while this is there.
    pub fn supervisor(&self) -> &Stopped {
        &self.supervisor
    }

    /// What the processes of the four gatekeepers are called that there are now.
    pub fn gatekeepers(&self) -> [String; SEATS] {
        std::array::from_fn(|gatekeeper| if gatekeeper == LOST { OTHER.to_owned() } else { name(gatekeeper) })
    }

    /// The ceremony that made the root.
    fn transcript_is_proved(&self, story: &Story, root: &RootRecord) {
        let verified = proved_transcript(story, "root", root.era, &[]);
        let seats: Vec<String> = root.seats.iter().map(WorkerId::to_string).collect();
        assert_eq!(verified["seats"], Value::from(seats), "{verified}");
        let share_list = Value::from(to_hex(&root.share_list));
        assert_eq!(verified["root"]["share_list"], share_list, "{verified}");
        assert!(signed_confirmations(&verified, "root", "share_list") >= usize::from(root.threshold), "{verified}");
    }

    /// The ceremony in which it received the keys: they are those that were handed over, and the record is the chain's.
    fn hand_over_is_proved(&self, story: &Story, held: &IdentityRecord) {
        let verified = proved_transcript(story, "identities", held.era, &["--identities"]);
        let made = &verified["identities"];
        assert_eq!(made["record"], Value::from(to_hex(&held.hash())), "{verified}");
        for record in ["former", "shown"] {
            let keys = (&made[record]["ed25519"], &made[record]["sr25519"]);
            let (ed25519, sr25519) = (to_hex(&held.keys.ed25519), to_hex(&held.keys.sr25519));
            assert_eq!(keys, (&Value::from(ed25519), &Value::from(sr25519)), "{record}: {verified}");
        }
        let holder =
            |holder: &IdentityHolder| json!({"index": holder.index, "gatekeeper": holder.gatekeeper.to_string()});
        let holders: Vec<Value> = held.holders.iter().map(holder).collect();
        assert_eq!(made["shown"]["holders"], Value::from(holders), "{verified}");
        let own = self.identity.to_string();
        assert!(verified["holders"].as_array().unwrap().iter().any(|holder| holder["gatekeeper"] == own), "{verified}");
        assert!(signed_confirmations(&verified, "identities", "record") >= usize::from(held.threshold), "{verified}");
    }
}

/// What is checked of the ceremony of an era, by whoever has nothing but the file and the genesis. All its records are proved, and that the
/// chain has what was made in it, which is told under the name of `made`.
fn proved_transcript(story: &Story, made: &str, era: u32, more: &[&str]) -> Value {
    let base = &story.network.base;
    let (file, era) = (base.join(format!("{made}.transcript")), era.to_string());
    let path = file.to_str().unwrap();
    let write = [&["gatekeeper", "transcript", "--era", era.as_str(), "--output", path][..], more].concat();
    let mut written = Value::Null;
    let what = format!("the node to prove all records of the ceremony of era {era}, and what was made in it: {made}");
    wait_until(&what, PROVED_WITHIN, || {
        let run = story.network.phala(&write);
        assert_eq!(run.code, Some(0), "{}", run.text);
        let proved = run.json["anchored"] == true && run.json[made]["recorded"] == true;
        if !proved {
            println!("gatekeepers: a transcript that is not proved yet: {}", run.text);
        }
        written = run.json;
        proved
    });
    let check = ["gatekeeper", "verify-transcript", path];
    let verify = |more: &[&str]| phala(base, &[&check[..], more].concat());
    // It exits with 0: no record is a node's word.
    let verified = verify(&[]).data();
    let genesis = to_hex(&story.chain.genesis());
    assert_eq!(verify(&["--genesis", &genesis]).data(), verified, "the network's file pins the same");
    assert_eq!(verify(&["--allow-unproved"]).data(), verified, "there is nothing to allow");
    let (records, proved) = (verified["records"].as_u64().unwrap(), verified["proved"].as_u64().unwrap());
    assert!(records == proved && records >= 3, "commit, share and their end: {verified}");
    assert_eq!((&verified["holds"], &verified["records"]), (&Value::from(true), &written["records"]), "{verified}");
    assert_eq!(verified["ceremony"], made, "{verified}");
    assert_eq!(verified[made]["recorded"], true, "{verified}");
    // Of another chain it shows nothing, whatever is allowed.
    let other = to_hex(&[0x11; 32]);
    let refused = verify(&["--genesis", &other, "--allow-unproved"]);
    let said = (refused.code, &refused.json["error"]["code"]);
    assert_eq!(said, (Some(11), &Value::from("transcript")), "{}", refused.text);
    println!("gatekeepers: a transcript of {records} records, all proved, and of what was made in it: {made}");
    verified
}

/// How many confirmed, in the attempt that made it, what was made, which `field` tells; under their own signatures.
fn signed_confirmations(verified: &Value, made: &str, field: &str) -> usize {
    let keys = &verified[made];
    let attempts = verified["attempts"].as_array().unwrap();
    let attempt = attempts.iter().find(|attempt| attempt["attempt"] == keys["attempt"]).unwrap();
    let signed = |said: &&Value| said["signed"] == true && said[field] == keys[field];
    attempt["confirmed"].as_array().unwrap().iter().filter(signed).count()
}
