//! A contract has addresses, and signs: gatekeepers make the network's two keys when governance says so, sign as a contract what it sends
//! out of its cluster, and hand the keys over to the next set, under which it signs on. A part of the story of `gatekeepers`, on its
//! network.
//!
//! Keys, and signatures under them, are what the chain proves; what gatekeepers hold is what their processes say. One of them is killed
//! while the keys change hands. Not here: disputes, and gatekeepers that lie, which the tests of `phala-gatekeeper` have.

use crate::gatekeepers::{name, Story};
use phala_client::{
    chain::ChainCall,
    egress::{self, contract_keys, SCHEMES},
};
use phala_crypto::egress::verify_egress_signature;
use phala_e2e::{canary::from_hex, signal, wait_until};
use phala_protocol::{
    chain_state::RootRecord,
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::{signing::EgressSignature, IdentityCeremonyRecord, IdentityPoints, IdentityRecord},
    ids::{to_hex, BlockNumber},
    storage, ClusterId, ContractId, Hash,
};
use serde_json::json;
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Where the contract runs: the cluster without the load.
const CLUSTER: ClusterId = ClusterId(1);
/// Where its messages are to go, which nobody carries.
const DESTINATION: &str = "nowhere";
/// Holders that it takes to sign.
const THRESHOLD: u16 = 3;

/// For a root that is made and handed over, before which governance cannot begin.
const STARTED_WITHIN: Duration = Duration::from_secs(270);
/// For a ceremony in which nobody is missing, or one is for a while: all four phases.
const MADE_WITHIN: Duration = Duration::from_secs(150);
/// For a root to be made and handed over, and then the keys.
const HANDS_WITHIN: Duration = Duration::from_secs(420);
/// From a message's reply: until the chain takes it, and some attempts of ten blocks of half a second.
const SIGNED_WITHIN: Duration = Duration::from_secs(90);
/// For gatekeepers to see whose the keys are, one of which may have to start.
const DROPPED_WITHIN: Duration = Duration::from_secs(90);
/// Blocks of all attempts after which something is wrong, however slow the machine: coordinators had four turns each.
const MOST_BLOCKS: BlockNumber = 160;

/// A contract that sends messages out of its cluster.
pub struct Author<'a> {
    story: &'a Story,
    genesis: Hash,
    contract: ContractId,
    /// The network's keys, as they were made.
    keys: IdentityPoints,
    /// The contract's, which follow from them.
    addresses: IdentityPoints,
}

impl<'a> Author<'a> {
    /// Governance has the keys made while somebody deploys the contract, whose first message is signed then.
    pub fn begin(story: &'a Story, wasm: &Path) -> Self {
        let (record, contract) = thread::scope(|scope| {
            let deployed = scope.spawn(|| {
                let wasm = wasm.to_str().unwrap();
                let cluster = CLUSTER.to_string();
                let words = ["contract", "deploy", wasm, "--from", "eve", "--cluster", &cluster];
                let deployed = story.network.phala(&words).data();
                let id = from_hex(deployed["contract"].as_str().unwrap()).unwrap();
                ContractId(id.try_into().unwrap())
            });
            (made(story), deployed.join().unwrap())
        });
        assert_eq!(record.threshold, THRESHOLD);
        assert!(record.holders.len() >= usize::from(THRESHOLD), "{record:?}");
        let genesis = story.chain.genesis();
        let addresses = contract_keys(&genesis, &record.keys, &contract).unwrap();
        assert_ne!(addresses, record.keys, "no contract has the network's own keys");
        let author = Self { story, genesis, contract, keys: record.keys, addresses };
        author.sends("by those who made the keys");
        author
    }

    /// Sends a message, and waits until the chain has the contract's signatures of both kinds under it, which verify under its addresses.
    pub fn sends(&self, text: &str) {
        let begun = Instant::now();
        let item = self.send(text);
        let chain = &self.story.chain;
        let mut signatures: [Option<EgressSignature>; 2] = [None; 2];
        wait_until(&format!("both signatures under the message `{text}`"), SIGNED_WITHIN, || {
            for (scheme, signature) in SCHEMES.into_iter().zip(&mut signatures) {
                if signature.is_none() {
                    // As a client does: proved, and under the contract's key as it follows from the chain's keys of that moment.
                    *signature = chain.ask(|network| {
                        let item = item.clone();
                        async move { egress::signature(&network, &item, scheme).await }
                    });
                }
            }
            signatures.iter().all(Option::is_some)
        });
        let fate: EgressFate = chain.read(&storage::egress_fate_key(item.cluster, item.sequence)).unwrap();
        assert_eq!((fate.outcome, fate.id), (EgressOutcome::Left, item.id(&self.genesis)));
        let blocks = chain.height().saturating_sub(fate.block);
        assert!(blocks <= MOST_BLOCKS, "signed {blocks} blocks after it left");
        for (scheme, signature) in SCHEMES.into_iter().zip(signatures) {
            let signature = signature.unwrap();
            let signed_by = (signature.scheme, &signature.key);
            assert_eq!(signed_by, (scheme, self.addresses.of(scheme)), "the contract's address stays");
            // Whoever knows the keys that were made needs no chain.
            assert_eq!(verify_egress_signature(&self.genesis, self.keys.of(scheme), &item, &signature), Ok(()));
        }
        println!(
            "gatekeepers: the message `{text}` has both signatures {blocks} blocks after it left, {:.1} s after it was sent",
            begun.elapsed().as_secs_f64()
        );
    }

    /// Has the contract send a message; what left.
    fn send(&self, text: &str) -> EgressItem {
        let (contract, arguments) = (self.contract.to_string(), json!([DESTINATION, text]).to_string());
        let words = ["contract", "call", &contract, "send", &arguments, "--from", "eve", "--wait", "--timeout", "120"];
        let said = self.story.network.phala(&words).data();
        let sent = said["egress"].as_array().unwrap();
        assert_eq!(sent.len(), 1, "{said}");
        let action = EgressAction::Message { destination: DESTINATION.into(), payload: text.into() };
        let (to, content) = (to_hex(DESTINATION.as_bytes()), to_hex(text.as_bytes()));
        let shown = json!({"kind": "message", "destination": to, "payload": content});
        assert_eq!((&sent[0]["action"], &sent[0]["cluster"]), (&shown, &json!(CLUSTER.0)), "{said}");
        let sequence = sent[0]["sequence"].as_u64().unwrap();
        EgressItem { cluster: CLUSTER, sequence, contract: self.contract, action }
    }
}

/// Who holds the network's keys, if anybody does.
pub fn record(story: &Story) -> Option<IdentityRecord> {
    story.chain.read(&storage::identity_key())
}

/// Governance has the keys made by the seats of the root that answers.
fn made(story: &Story) -> IdentityRecord {
    // A root is made or handed over, which has its time; or it was begun before, and the answer was lost.
    let passing = ("Gatekeepers", &["UnderWay", "HandOverPending", "IdentitiesHeld"][..]);
    let what = "governance to start the ceremony of identities";
    let start = ChainCall::start_identities();
    story.chain.decide_within(what, STARTED_WITHIN, &start, passing, || record(story).is_some());
    let mut made = None;
    wait_until("the network's two keys", MADE_WITHIN, || {
        made = record(story);
        made.is_some()
    });
    made.unwrap()
}

/// Waits until the set of `era`, or of a later one, holds the keys, which are the same. The gatekeeper that is named is killed as soon as
/// they begin to change hands.
pub fn change_hands(story: &Story, era: u64, killed: Option<usize>) {
    let before = record(story).unwrap();
    let (mut waits, mut now) = (killed, None);
    let mut dead = None;
    wait_until(&format!("the set of era {era} to hold the keys"), HANDS_WITHIN, || {
        if let Some(gatekeeper) = waits {
            let ceremony: Option<IdentityCeremonyRecord> = story.chain.read(&storage::identity_ceremony_key());
            if ceremony.is_some_and(|ceremony| u64::from(ceremony.era) >= era) {
                let id = story.id(&name(gatekeeper));
                signal(id, "-KILL");
                (waits, dead) = (None, Some((gatekeeper, id)));
            }
        }
        now = record(story).filter(|record| u64::from(record.era) >= era);
        now.is_some()
    });
    assert_eq!(waits, None, "nobody was killed while the keys changed hands");
    if let Some((gatekeeper, id)) = dead {
        story.is_back(gatekeeper, id);
    }
    changed_hands(&before, &now.unwrap());
}

/// Waits until the set of `era`, or of a later one, holds the keys; its record.
pub fn in_hands_of(story: &Story, era: u64) -> IdentityRecord {
    let mut now = None;
    wait_until(&format!("the set of era {era} to hold the keys"), HANDS_WITHIN, || {
        now = record(story).filter(|record| u64::from(record.era) >= era);
        now.is_some()
    });
    now.unwrap()
}

/// The keys are the same, of which another set has another sharing: no public share of the former set is one of it.
pub fn changed_hands(before: &IdentityRecord, now: &IdentityRecord) {
    assert_eq!((now.keys, now.threshold), (before.keys, before.threshold));
    assert!(now.holders.len() >= usize::from(THRESHOLD), "{now:?}");
    let shares = |record: &IdentityRecord| record.holders.iter().map(|holder| holder.shares).collect::<Vec<_>>();
    let former = shares(before);
    assert!(before.era < now.era && shares(now).iter().all(|share| !former.contains(share)));
}

/// Waits until the seats of the root that answers hold the keys, and nothing else is under way: but a root's ceremony perhaps.
pub fn are_where_the_root_is(story: &Story) {
    wait_until("the keys to be where the root is", HANDS_WITHIN, || {
        story.chain.ask(|network| async move {
            let keys = [storage::root_key(), storage::next_root_key(), storage::identity_key()];
            let proved = network.read(&keys).await?;
            let [root, next, identity] = &keys;
            let root: Option<RootRecord> = proved.get(root)?;
            let next: Option<RootRecord> = proved.get(next)?;
            let held: Option<IdentityRecord> = proved.get(identity)?;
            Ok(next.is_none() && root.map(|root| root.era) == held.map(|held| held.era))
        })
    });
}

/// Of which era's set a gatekeeper says that it has shares of the keys, if of any; nothing while it does not answer.
pub fn held(story: &Story, gatekeeper: usize) -> Option<Option<u64>> {
    story.told(gatekeeper).map(|told| told["identities"]["era"].as_u64())
}

/// Waits until none of so many gatekeepers has shares of a set before that of `era`, and enough of them some of it or of a later one.
pub fn former_shares_are_gone(story: &Story, era: u64, gatekeepers: usize) {
    wait_until(&format!("shares of sets before that of era {era} to be dropped"), DROPPED_WITHIN, || {
        let eras: Option<Vec<Option<u64>>> = (0..gatekeepers).map(|gatekeeper| held(story, gatekeeper)).collect();
        eras.is_some_and(|eras| {
            let have: Vec<u64> = eras.into_iter().flatten().collect();
            have.len() >= usize::from(THRESHOLD) && have.iter().all(|of| *of >= era)
        })
    });
}
