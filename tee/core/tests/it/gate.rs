//! The gatekeeper and its askers, over a real chain.

use crate::{
    chain::CLUSTER,
    machine::MemoryMachine,
    network::{Network, GATEKEEPER, WORKER},
};
use codec::Encode;
use phala_attest::{Ban, Bans, Subject, Vendor};
use phala_core::{Notice, Settings, StartError, Tee};
use phala_gatekeeper::Refusal;
use phala_light_client::testing::TestChain;
use phala_protocol::{
    attestation::{Listing, Role, Version},
    chain_state::AllowedMeasurement,
    finality::GenesisAnchor,
    keys::KeyRequest,
    relay::{Delivery, KeyInquiry, Outgoing},
    storage, AccountId, ClusterId, Epoch, Hash, WorkerId,
};
use std::sync::Arc;

/// A network in which the worker has just asked for its first keys.
fn asked(seed: u64) -> (Network, KeyInquiry) {
    let mut network = Network::new(seed, 1);
    network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
    let worker = network.nodes[WORKER].id();
    network.chain.create_cluster(vec![worker]);
    network.run_until(|network| !network.inquiries.is_empty());
    let inquiry = network.inquiries.pop().unwrap();
    network.inquiries.clear();
    (network, inquiry)
}

/// What the gatekeeper says of a request: whose, and to what if it gives keys.
fn said(notice: &Notice) -> (WorkerId, Result<(ClusterId, Epoch), Refusal>) {
    match notice {
        Notice::KeysGiven { worker, cluster, epoch, .. } => (*worker, Ok((*cluster, *epoch))),
        Notice::KeysRefused { worker, refusal, .. } => (*worker, Err(*refusal)),
        other => panic!("{other:?}"),
    }
}

/// What the gatekeeper says to an inquiry, once it has seen the facts.
fn judge(network: &mut Network, inquiry: &KeyInquiry) -> (WorkerId, Result<(ClusterId, Epoch), Refusal>) {
    network.nodes[GATEKEEPER].notices.clear();
    network.inquiries = vec![inquiry.clone()];
    for _ in 0..5 {
        network.deliver(GATEKEEPER).unwrap();
        if let Some(notice) = network.nodes[GATEKEEPER].notices.pop() {
            return said(&notice);
        }
        network.chain.next_block();
    }
    panic!("the gatekeeper says nothing");
}

#[test]
fn an_inquiry_is_judged_by_the_gatekeepers_own_head() {
    let (mut network, inquiry) = asked(80);
    let worker = network.nodes[WORKER].id();
    let mut refused = |change: fn(&mut KeyInquiry), refusal| {
        let mut altered = inquiry.clone();
        change(&mut altered);
        let worker = altered.request.request.worker;
        assert_eq!(judge(&mut network, &altered), (worker, Err(refusal)));
    };
    refused(|inquiry| inquiry.request.signature[0] ^= 1, Refusal::BadSignature);
    refused(|inquiry| inquiry.request.request.epoch = 2, Refusal::BadSignature);
    refused(|inquiry| inquiry.request.request.worker = WorkerId([7; 32]), Refusal::BadSignature);
    refused(|inquiry| inquiry.request.public_key[0] ^= 1, Refusal::BadEncryptionKey);
    refused(|inquiry| inquiry.request.request.answer_key[0] ^= 1, Refusal::BadSignature);
    refused(|inquiry| inquiry.evidence[700] ^= 1, Refusal::Evidence);
    refused(|inquiry| inquiry.collateral.clear(), Refusal::Collateral);
    refused(|inquiry| inquiry.registration.operator = AccountId([7; 32]), Refusal::WrongReportData);

    network.chain.assign(vec![WorkerId([7; 32])]);
    network.chain.next_block();
    assert_eq!(judge(&mut network, &inquiry), (worker, Err(Refusal::NotAssigned)));
    network.chain.assign(vec![worker]);
    let mut bans = Bans::default();
    bans.put(Ban { subject: Subject::Vendor(Vendor::IntelTdx), from: 0, until: None }, 0).unwrap();
    network.chain.bar(&bans);
    network.chain.next_block();
    assert_eq!(judge(&mut network, &inquiry), (worker, Err(Refusal::Barred)));
    network.chain.bar(&Bans::default());
    network.chain.next_block();
    assert_eq!(judge(&mut network, &inquiry), (worker, Ok((CLUSTER, 1))));

    // Once given, the same bytes are repeated for a while, and nothing is evaluated again.
    let answers = |network: &Network| -> Vec<Outgoing> {
        let outgoing = network.nodes[GATEKEEPER].tee().status().outgoing.into_iter();
        outgoing.filter(|item| matches!(item, Outgoing::AnswerKeys { .. })).collect()
    };
    let first = answers(&network);
    assert_eq!(first.len(), 1);
    network.inquiries = vec![inquiry];
    network.deliver(GATEKEEPER).unwrap();
    network.deliver(GATEKEEPER).unwrap();
    assert!(network.nodes[GATEKEEPER].notices.is_empty());
    assert_eq!(answers(&network), first);
}

#[test]
fn an_inquiry_is_answered_beside_copies_of_it_with_broken_evidence() {
    let (mut network, inquiry) = asked(88);
    let worker = network.nodes[WORKER].id();
    let mut broken = inquiry.clone();
    broken.evidence[700] ^= 1;
    // Whoever saw the request sends it before and after the worker does.
    let mut shorter = inquiry.clone();
    shorter.collateral.clear();
    network.nodes[GATEKEEPER].notices.clear();
    network.inquiries = vec![shorter, inquiry, broken];
    for _ in 0..5 {
        network.deliver(GATEKEEPER).unwrap();
        network.chain.next_block();
    }
    // What was answered is not judged again: of its evidence nothing is said.
    let about_keys = |notice: &&Notice| matches!(notice, Notice::KeysGiven { .. } | Notice::KeysRefused { .. });
    let said: Vec<_> = network.nodes[GATEKEEPER].notices.iter().filter(about_keys).map(said).collect();
    assert_eq!(said, [(worker, Err(Refusal::Collateral)), (worker, Ok((CLUSTER, 1)))]);
}

#[test]
fn an_answer_to_the_process_before_is_worth_nothing() {
    let (mut network, inquiry) = asked(81);
    assert!(judge(&mut network, &inquiry).1.is_ok());
    let worker = network.nodes[WORKER].id();
    let old = network.answers.remove(&worker).unwrap();
    network.start(WORKER);
    let requests = |network: &Network| -> Vec<KeyRequest> {
        let outgoing = network.worker().tee().status().outgoing.into_iter();
        let request = |item| if let Outgoing::AskKeys(inquiry) = item { Some(inquiry.request.request) } else { None };
        outgoing.filter_map(request).collect()
    };
    let keys = |network: &Network| {
        network.nodes[WORKER].notices.iter().filter(|notice| matches!(notice, Notice::EpochKeys { .. })).count()
    };
    for _ in 0..4 {
        let delivery = network.delivery(WORKER);
        // As they are, and as if they answered what is asked now.
        let mut answers = old.clone();
        let now = requests(&network);
        for payload in now.iter().map(KeyRequest::signing_payload) {
            answers.extend(old.iter().map(|(_, answer)| (payload, answer.clone())));
        }
        network.bring(WORKER, Delivery { answers, ..delivery }).unwrap();
        network.chain.next_block();
    }
    assert_eq!(keys(&network), 0);
    let (before, now) = (inquiry.request.request, requests(&network));
    assert!(!now.is_empty());
    assert!(now.iter().all(|request| request.answer_key != before.answer_key && request.nonce != before.nonce));
    network.run_until(|network| network.worker().tee().status().inboxes[0].ready);
    assert_eq!(keys(&network), 1, "an answer of its own is");
}

fn settings(genesis: Hash, role: Role) -> Settings {
    Settings { genesis, role, operator: AccountId([0; 32]), cluster: CLUSTER, lone_root: true }
}

#[test]
fn only_a_development_genesis_makes_a_seat_of_one() {
    let marker = [(storage::DEVELOPMENT.to_vec(), vec![1u8])];
    let start = |chain: &TestChain, keys: &[&[u8]], genesis: Hash| {
        let anchor = GenesisAnchor { header: chain.header(0).encode(), authorities_proof: chain.read_proof(0, keys) };
        Tee::start(settings(genesis, Role::Gatekeeper), &anchor, MemoryMachine::new(82))
    };
    // At the genesis, whose proof shows that there is no root.
    let look = |chain: &TestChain, tee: &mut Tee| {
        let wanted = tee.status().wanted_keys;
        let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
        let proof = chain.read_proof(0, &wanted);
        tee.deliver(Delivery { proof, ..Delivery::default() }).1.unwrap();
    };
    let both: [&[u8]; 2] = [&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT];
    let development = TestChain::new(82, 3, marker);
    let mut tee = start(&development, &both, development.genesis_hash()).unwrap();
    assert!(tee.is_development() && !tee.has_seat(), "whether there is a root is not known");
    look(&development, &mut tee);
    assert!(tee.has_seat());
    let anchor =
        GenesisAnchor { header: development.header(0).encode(), authorities_proof: development.read_proof(0, &both) };
    let several = Settings { lone_root: false, ..settings(development.genesis_hash(), Role::Gatekeeper) };
    let mut tee = Tee::start(several, &anchor, MemoryMachine::new(82)).unwrap();
    look(&development, &mut tee);
    assert!(!tee.has_seat(), "its operator wants none");

    let other = TestChain::new(83, 3, []);
    let mut tee = start(&other, &both, other.genesis_hash()).unwrap();
    look(&other, &mut tee);
    assert!(!tee.is_development() && !tee.has_seat());
    // A host that hides the marker, or shows another chain's genesis, starts nothing.
    assert!(matches!(start(&development, &both[..1], development.genesis_hash()), Err(StartError::Anchor(_))));
    assert!(matches!(start(&development, &both, other.genesis_hash()), Err(StartError::Anchor(_))));
    let unmarked = TestChain::new(84, 3, [(storage::DEVELOPMENT.to_vec(), vec![0u8])]);
    assert!(!start(&unmarked, &both, unmarked.genesis_hash()).unwrap().is_development());
}

#[test]
fn no_later_block_makes_a_development_network_of_one_that_is_none() {
    let mut chain = TestChain::new(85, 3, []);
    let keys: [&[u8]; 2] = [&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT];
    let anchor = GenesisAnchor { header: chain.header(0).encode(), authorities_proof: chain.read_proof(0, &keys) };
    for role in [Role::Gatekeeper, Role::Worker] {
        let mut tee = Tee::start(settings(chain.genesis_hash(), role), &anchor, MemoryMachine::new(85)).unwrap();
        // Whatever wrote it - a referendum, an upgrade, a defect - it is final, and it is proved.
        let marked = chain.build_block([(storage::DEVELOPMENT.to_vec(), Some(vec![1]))]);
        let mut wanted = tee.status().wanted_keys;
        wanted.push(storage::DEVELOPMENT.to_vec());
        let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
        let finality = chain.proof(tee.head().0, marked).encode();
        let proof = chain.read_proof(marked, &wanted);
        tee.deliver(Delivery { finality, proof, ..Delivery::default() }).1.unwrap();
        assert_eq!(tee.head().0, marked);
        assert!(!tee.is_development() && !tee.has_seat(), "{role:?}");
    }
}

/// A gatekeeper on a network that is no development one, and what brings it to the chain's newest block.
struct Watcher {
    chain: TestChain,
    machine: Arc<MemoryMachine>,
    tee: Tee,
}

impl Watcher {
    fn start(chain: &TestChain, machine: &Arc<MemoryMachine>) -> Tee {
        let keys: [&[u8]; 2] = [&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT];
        let anchor = GenesisAnchor { header: chain.header(0).encode(), authorities_proof: chain.read_proof(0, &keys) };
        let genesis = chain.genesis_hash();
        Tee::start(settings(genesis, Role::Gatekeeper), &anchor, machine.clone()).unwrap()
    }

    fn new(seed: u64, genesis: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        let (chain, machine) = (TestChain::new(seed, 3, genesis), MemoryMachine::new(seed));
        let tee = Self::start(&chain, &machine);
        Self { chain, machine, tee }
    }

    /// Writes the allow-list's entry with its listing, and shows the new head with what is wanted and, if so, both.
    fn block(&mut self, entry: Option<AllowedMeasurement>, shown: bool) {
        let keys = [storage::measurement_key(&LISTED), storage::listing_key(&LISTED)];
        let listing = Listing { source: [1; 32], version: Version(1, 0, 0), role: None, not_before: 0, sunset: None };
        let values = entry.map(|entry| [entry.encode(), listing.encode()]).map_or([None, None], |both| both.map(Some));
        let head = self.chain.build_block(keys.clone().into_iter().zip(values));
        let mut wanted = self.tee.status().wanted_keys;
        if shown {
            wanted.extend(keys);
        }
        let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
        let finality = self.chain.proof(self.tee.head().0, head).encode();
        let proof = self.chain.read_proof(head, &wanted);
        self.tee.deliver(Delivery { finality, proof, ..Delivery::default() }).1.unwrap();
    }

    /// Whether it asks for the entry by itself: it remembers it.
    fn remembers(&self) -> bool {
        self.tee.status().wanted_keys.contains(&storage::measurement_key(&LISTED))
    }

    fn restart(&mut self) {
        self.tee = Self::start(&self.chain, &self.machine);
    }
}

const LISTED: Hash = [0x4c; 32];

#[test]
fn a_gatekeeper_remembers_what_it_saw_listed_over_restarts_and_forgets_what_is_taken_off() {
    let entry = AllowedMeasurement { source: [1; 32], listed_at: 0, not_before: 0, sunset: None };
    let mut watcher = Watcher::new(86, None);
    watcher.block(Some(entry), false);
    assert!(!watcher.remembers(), "its relayer did not show it");
    watcher.block(Some(entry), true);
    assert!(watcher.remembers());
    watcher.restart();
    assert!(watcher.remembers(), "it is sealed");
    // What it remembers it asks for, so that taking it off does not escape it.
    watcher.block(None, false);
    assert!(!watcher.remembers());
    watcher.restart();
    assert!(!watcher.remembers());
}

#[test]
fn a_development_network_has_no_delay_and_needs_no_memory() {
    let entry = AllowedMeasurement { source: [1; 32], listed_at: 0, not_before: 0, sunset: None };
    let mut watcher = Watcher::new(87, Some((storage::DEVELOPMENT.to_vec(), vec![1])));
    watcher.block(Some(entry), true);
    assert!(watcher.tee.is_development() && !watcher.remembers());
}
