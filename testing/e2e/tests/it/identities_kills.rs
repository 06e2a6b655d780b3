//! The network's keys change hands through kills at each step: while clusters go over to the root whose set is to receive them, while dealers
//! commit, while shares travel, while what is missing is delivered on chain, while an attempt is settled, and when the record stands. A part of
//! the story of `gatekeepers`, on its network, with `PHALA_LONG`.
//!
//! Each ceremony waits in its first phase for a gatekeeper that stands still, so that what follows is not missed. Where shares are to be missing,
//! no letter passes between the two hosts. Phases and records are what the chain proves; that shares are good is shown by a message that
//! the same contract signs under the same keys after each. Not here: disputes, which no honest holder has a reason for.

use crate::{
    gatekeepers::{name, Story, WithoutMail, BESIDE, SEATS},
    identities::{self, Author},
};
use phala_e2e::{
    processes::{self, Stopped},
    signal, wait_until,
};
use phala_protocol::{
    ceremony::Phase,
    chain_state::RootRecord,
    identities::{IdentityCeremonyRecord, IdentityRecord},
    storage,
};
use std::{collections::BTreeSet, time::Duration};

/// Killed while clusters go over, and when the record stands.
const OTHER: usize = 3;
/// For an election, a ceremony of a root with a second attempt, and what holds both up.
const ROOT_WITHIN: Duration = Duration::from_secs(300);
/// For a hand-over in which one of the three that it takes has to start again.
const BEGUN_WITHIN: Duration = Duration::from_secs(180);
/// For phases of 100 and 50 blocks, and another attempt after them.
const PHASES_WITHIN: Duration = Duration::from_secs(240);
/// For a process to be dead that was killed.
const DEAD_WITHIN: Duration = Duration::from_secs(30);

/// Three ceremonies one after the other, each with the signature of who received the keys.
pub fn each_step_survives_kills(story: &Story, author: &Author<'_>, at: impl Fn(&str)) {
    dealing_and_confirming(story);
    author.sends("by holders who were killed while dealers committed, shares travelled and the record was made");
    at("the keys in other hands, through kills in Commit, Share and when it was recorded");
    deliveries(story);
    author.sends("by holders one of whom was killed while shares were delivered");
    at("the keys in other hands, through a kill in Deliver");
    settling(story);
    author.sends("by holders one of whom was killed while an attempt was settled");
    at("the keys in other hands, through a kill in Settle");
}

fn ceremony(story: &Story) -> Option<IdentityCeremonyRecord> {
    story.chain.read(&storage::identity_ceremony_key())
}

/// Whether the ceremony in which the set of `era` is to receive the keys is in this phase.
fn is_in(story: &Story, era: u64, phase: Phase) -> bool {
    ceremony(story).is_some_and(|ceremony| u64::from(ceremony.era) == era && ceremony.phase == phase)
}

/// Kills a gatekeeper when `is_reached` holds, and waits until it is back.
fn killed_when(story: &Story, gatekeeper: usize, what: &str, is_reached: impl FnMut() -> bool) {
    wait_until(what, PHASES_WITHIN, is_reached);
    let id = story.id(&name(gatekeeper));
    signal(id, "-KILL");
    story.is_back(gatekeeper, id);
}

/// A ceremony in which keys are to change hands.
struct Hands {
    era: u64,
    before: IdentityRecord,
    /// For whom its first phase waits.
    still: Stopped,
}

impl Hands {
    /// Holds the next one in its first phase, by [`BESIDE`], which stands still since clusters go over; [`OTHER`] is killed meanwhile, so that
    /// they wait until it is back.
    fn wait(story: &Story) -> Self {
        for _ in 0..3 {
            identities::are_where_the_root_is(story);
            let before = identities::record(story).unwrap();
            let era = u64::from(before.era) + 1;
            wait_until(&format!("clusters to go over to the root of era {era}"), ROOT_WITHIN, || story.newest() >= era);
            let still = Stopped::new(story.id(&name(BESIDE)));
            let killed = story.id(&name(OTHER));
            signal(killed, "-KILL");
            wait_until("the gatekeeper that was killed to die", DEAD_WITHIN, || processes::is_dead(killed));
            let next: Option<RootRecord> = story.chain.read(&storage::next_root_key());
            story.is_back(OTHER, killed);
            wait_until(&format!("the keys to change hands to the set of era {era}"), BEGUN_WITHIN, || {
                ceremony(story).is_some() || identities::record(story).is_some_and(|held| held.era > before.era)
            });
            // In time for both, as ever but where this machine is slow.
            if next.is_some() && is_in(story, era, Phase::Commit) {
                return Self { era, before, still };
            }
            drop(still);
            identities::in_hands_of(story, era);
        }
        panic!("three times the keys began to change hands before a gatekeeper stood still");
    }

    /// Waits until they have; nobody has shares of a former set then.
    fn are_others(story: &Story, era: u64, before: &IdentityRecord) {
        identities::changed_hands(before, &identities::in_hands_of(story, era));
        identities::former_shares_are_gone(story, era, SEATS);
    }
}

/// One is killed while dealers commit, one that has dealt while shares travel, and one when the record stands.
fn dealing_and_confirming(story: &Story) {
    let (early, late) = (0, 1);
    let Hands { era, before, still } = Hands::wait(story);
    wait_until("a dealer to commit while another stands still", PHASES_WITHIN, || {
        let dealt = |ceremony: IdentityCeremonyRecord| {
            let own = |gatekeeper: String| gatekeeper == story.identity(late);
            ceremony.dealers.iter().any(|dealer| own(dealer.gatekeeper.to_string()) && dealer.package.is_some())
        };
        ceremony(story).is_some_and(dealt)
    });
    let killed_late = story.id(&name(late));
    let still_late = Stopped::new(killed_late);
    let killed = story.id(&name(early));
    signal(killed, "-KILL");
    assert!(is_in(story, era, Phase::Commit), "it was killed while dealers commit");
    drop(still);
    wait_until("shares of the keys to travel", PHASES_WITHIN, || is_in(story, era, Phase::Share));
    signal(killed_late, "-KILL");
    drop(still_late);
    story.is_back(early, killed);
    story.is_back(late, killed_late);
    killed_when(story, OTHER, "the record of those who received the keys", || {
        identities::record(story).is_some_and(|held| u64::from(held.era) >= era)
    });
    Hands::are_others(story, era, &before);
}

/// Begins a ceremony in which no share comes from the other host. Its era, what the keys were in before, and what holds letters back.
fn without_mail(story: &Story) -> (u64, IdentityRecord, WithoutMail) {
    let Hands { era, before, still } = Hands::wait(story);
    let cut = WithoutMail::begin(story);
    drop(still);
    (era, before, cut)
}

/// Waits until more than one holder has complained.
fn complaints_stand(story: &Story) {
    wait_until("complaints of holders", PHASES_WITHIN, || {
        let complaints = ceremony(story).map(|ceremony| ceremony.complaints).unwrap_or_default();
        let accusers: BTreeSet<u16> = complaints.iter().map(|complaint| complaint.accuser).collect();
        accusers.len() >= 2
    });
}

/// Holders get on chain what they lack of dealers on the other host; one is killed meanwhile.
fn deliveries(story: &Story) {
    let (era, before, cut) = without_mail(story);
    complaints_stand(story);
    killed_when(story, 0, "shares of the keys to be delivered on chain", || is_in(story, era, Phase::Deliver));
    identities::in_hands_of(story, era);
    drop(cut);
    Hands::are_others(story, era, &before);
}

/// A dealer stands still while what it owes is to be delivered, so that the others have to settle, and one of those is killed meanwhile. The
/// dealer is left out, and the others deal in another attempt.
fn settling(story: &Story) {
    let (era, before, cut) = without_mail(story);
    let mut dealing: Vec<String> = Vec::new();
    wait_until("shares of the keys to stay where they are", PHASES_WITHIN, || {
        let at = ceremony(story).filter(|ceremony| u64::from(ceremony.era) == era && ceremony.phase == Phase::Share);
        let ceremony = at.as_ref();
        let identities = ceremony.into_iter().flat_map(|ceremony| ceremony.dealing());
        dealing = identities.map(|dealer| dealer.gatekeeper.to_string()).collect();
        !dealing.is_empty()
    });
    let deals = |gatekeeper: &usize| dealing.iter().any(|dealer| dealer == story.identity(*gatekeeper));
    let silent = (0..SEATS).find(deals).expect("a dealer is one of the four");
    let still = Stopped::new(story.id(&name(silent)));
    let attempt = ceremony(story).expect("its first phases last").attempt;
    complaints_stand(story);
    let what = "an attempt to be settled in which a dealer delivers nothing";
    killed_when(story, (silent + 1) % SEATS, what, || is_in(story, era, Phase::Settle));
    drop(still);
    drop(cut);
    wait_until("another attempt, after the one that was settled", PHASES_WITHIN, || {
        let again = ceremony(story).is_some_and(|ceremony| ceremony.attempt > attempt);
        again || identities::record(story).is_some_and(|held| u64::from(held.era) >= era)
    });
    Hands::are_others(story, era, &before);
}
