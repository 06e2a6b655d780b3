//! Epoch keys by their vectors, and the key pairs of requests: one for each, and for how long.
//!
//! INSECURE: the machine draws from a seeded stream, and a root of small numbers answers.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{boundary::salt, random::ItemRandom};
use phala_crypto::{
    hpke,
    prf::{Input, KeyShare},
    xwing::EncapsulationKey,
};
use phala_light_client::{
    encode_proof,
    testing::{TestChain, TestRandom},
};
use phala_protocol::{
    envelope::public_key_hash,
    keys::{share_list_hash, Evaluation, KeyGrant, PrfInput},
    storage, ContractId, Domain,
};
use phala_state::{ClusterStore, OpenError, StorageKey};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet, sync::Mutex};

const CLUSTER: ClusterId = ClusterId(0);
const OF: EpochOf = EpochOf { era: 3, epoch: 7 };

/// A machine that remembers the names of what it was to keep, and nothing else.
struct Drawing {
    random: Mutex<TestRandom>,
    kept: Mutex<Vec<String>>,
}

impl Machine for Drawing {
    fn evidence(&self, _: &[u8; 64]) -> Result<Vec<u8>, MachineFault> {
        Err(MachineFault::Evidence("it has none".into()))
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), MachineFault> {
        let mut random = self.random.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            chunk.copy_from_slice(&random.bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn keep(&self, name: &str, _: &Secret<Vec<u8>>) -> Result<(), MachineFault> {
        self.kept.lock().unwrap().push(name.to_owned());
        Ok(())
    }

    fn kept(&self, _: &str) -> Result<Option<Secret<Vec<u8>>>, MachineFault> {
        Ok(None)
    }

    fn open_store(&self, _: ClusterId, _: StorageKey) -> Result<ClusterStore, OpenError> {
        Err(OpenError::Format(0))
    }

    fn fresh_store(&self, _: ClusterId, _: StorageKey) -> Result<ClusterStore, OpenError> {
        Err(OpenError::Format(0))
    }

    fn adopt_store(&self, _: ClusterId) -> Result<(), OpenError> {
        Err(OpenError::Format(0))
    }
}

/// A worker that asks three seats, of which two give keys.
struct Scene {
    machine: Drawing,
    identity: Identity,
    blocks: TestChain,
    chain: Chain,
    shares: [KeyShare; 3],
    root: RootRecord,
    roots: Roots,
    epochs: Epochs,
    /// What seats give evaluations for.
    purposes: Vec<KeyPurpose>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        // Of the polynomial 1 + x.
        let shares = [1, 2, 3u16].map(|index| {
            let scalar = Secret::fill(|bytes: &mut [u8; 32]| bytes[..2].copy_from_slice(&(index + 1).to_le_bytes()));
            KeyShare::from_bytes(index, &scalar).unwrap()
        });
        let seats = [1, 2, 3].map(|seat| WorkerId([seat; 32])).to_vec();
        let share_list = share_list_hash(OF.era, 2, &points(&shares));
        let root = RootRecord { era: OF.era, threshold: 2, seats, share_list };
        let blocks = TestChain::new(seed, 3, [(storage::root_key(), root.encode())]);
        let chain = Chain::at_genesis(&blocks.genesis_hash(), &blocks.anchor()).unwrap();
        let mut roots = Roots::unknown();
        let proof = encode_proof(&blocks.read_proof(0, &[&storage::root_key(), &storage::next_root_key()]));
        roots.observe(&chain.records(&proof).unwrap()).unwrap();
        let machine = Drawing { random: Mutex::new(TestRandom::new(seed)), kept: Mutex::default() };
        let identity = Identity::open(&machine, chain.genesis()).unwrap();
        let (epochs, purposes) = (Epochs::default(), KeyPurpose::ALL.to_vec());
        Self { machine, identity, blocks, chain, shares, root, roots, epochs, purposes }
    }

    /// Asks; everything that waits for an answer now.
    fn ask(&mut self) -> Vec<SignedKeyRequest> {
        self.epochs.ask(OF, CLUSTER, &self.root, &self.chain, &self.identity, &self.machine).unwrap();
        self.epochs.requests().cloned().collect()
    }

    /// Sees so many blocks more.
    fn advance(&mut self, blocks: BlockNumber) {
        let (from, _) = self.chain.head();
        let head = self.blocks.build_blocks(blocks as usize);
        self.chain.advance(&self.blocks.proof(from, head).encode(), &[1; 32]).unwrap();
    }

    /// The answer of the seat that is asked.
    fn answer(&self, signed: &SignedKeyRequest) -> KeyAnswer {
        self.altered(signed, |_| {})
    }

    /// The same, as somebody makes it who saw the request and was given what the seat gives.
    fn altered(&self, signed: &SignedKeyRequest, change: impl FnOnce(&mut KeyGrant)) -> KeyAnswer {
        let request = &signed.request;
        let position = self.root.seats.iter().position(|seat| *seat == request.gatekeeper).unwrap();
        let (share, payload) = (&self.shares[position], request.signing_payload());
        let KeyRequest { genesis, cluster, era, epoch, .. } = *request;
        let evaluation = |purpose| {
            let input = Input::of(domain::PRF_INPUT, &PrfInput { genesis, era, cluster, epoch, purpose });
            let partial = share.partial(&input, &[0; 32]);
            Evaluation { purpose, point: partial.point, proof: partial.proof }
        };
        let mut grant = KeyGrant {
            request: payload,
            era,
            index: share.index(),
            shares: points(&self.shares),
            evaluations: self.purposes.iter().copied().map(evaluation).collect(),
            head: self.chain.head(),
        };
        change(&mut grant);
        let recipient = EncapsulationKey::from_bytes(&signed.public_key).unwrap();
        let info = [domain::KEY_ANSWER.as_bytes(), &genesis].concat();
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &[9; 64]);
        let (body, _) = context.seal(&payload, &grant.encode()).unwrap();
        KeyAnswer { encapsulated: encapsulated.to_vec(), body }
    }

    fn hear(&mut self, payload: &Hash, answer: &KeyAnswer) -> Heard {
        self.epochs.answered(payload, answer, &self.roots, self.chain.head().0)
    }

    fn take(&mut self, payload: &Hash, answer: &KeyAnswer) -> Option<Epoch> {
        match self.hear(payload, answer) {
            Heard::Taken(here) => here,
            Heard::Nothing | Heard::Refused { .. } => None,
        }
    }

    /// Whether a recorded answer opens with a key.
    fn opens(&self, key: &DecapsulationKey, signed: &SignedKeyRequest, answer: &KeyAnswer) -> bool {
        open_grant(key, &signed.request, &self.root, answer).is_ok()
    }

    /// The key that waits for the answer to a request, if it does.
    fn waiting(&self, signed: &SignedKeyRequest) -> Option<DecapsulationKey> {
        let asked = self.epochs.asked.get(&signed.request.signing_payload())?;
        Some(DecapsulationKey::from_seed(&asked.answer_seed))
    }
}

fn points(shares: &[KeyShare]) -> Vec<[u8; 32]> {
    shares.iter().map(|share| share.public_share().to_bytes()).collect()
}

#[test]
fn a_request_has_a_key_of_its_own_that_is_gone_when_the_epochs_keys_are_here() {
    let mut scene = Scene::new(700);
    let asked = scene.ask();
    assert_eq!(asked.len(), 3);
    assert_eq!(scene.ask(), asked, "what is under way is not asked again");
    let keys: BTreeSet<&[u8]> = asked.iter().map(|signed| signed.public_key.as_slice()).collect();
    assert_eq!(keys.len(), 3, "each has its own");
    assert!(!keys.contains(&scene.identity.receiving().public_key()[..]));
    let answers: Vec<_> = asked.iter().map(|signed| (signed.request.signing_payload(), scene.answer(signed))).collect();
    for (signed, (_, answer)) in asked.iter().zip(&answers) {
        assert!(!scene.opens(scene.identity.receiving(), signed, answer), "whoever has the machine later");
        assert!(scene.opens(&scene.waiting(signed).unwrap(), signed, answer), "while it waits");
    }

    // One is not enough, and takes its own key along.
    assert_eq!(scene.take(&answers[0].0, &answers[0].1), None);
    assert!(scene.waiting(&asked[0]).is_none());
    assert!(scene.waiting(&asked[1]).is_some() && scene.waiting(&asked[2]).is_some());
    assert_eq!(scene.take(&answers[1].0, &answers[1].1), Some(OF.epoch));
    assert!(scene.epochs.get(OF).is_some_and(EpochKeys::is_full));
    // Those of seats that need not answer any more are gone too, and what the others gave.
    assert!(scene.epochs.asked.is_empty() && scene.epochs.gathered.is_empty());
    for (payload, answer) in &answers {
        assert_eq!(scene.take(payload, answer), None);
    }
    assert_eq!(scene.machine.kept.lock().unwrap().len(), 1, "its identity, and nothing of a request");
}

#[test]
fn a_request_that_is_superseded_or_not_wanted_takes_its_key_along() {
    let mut scene = Scene::new(701);
    let before = scene.ask();
    let recorded: Vec<_> = before.iter().map(|signed| scene.answer(signed)).collect();
    scene.advance(RETRY_BLOCKS);
    let second = scene.ask();
    assert_eq!(second.len(), before.len(), "what was superseded is not sent any more");
    // An answer that was on its way is taken.
    assert!(before.iter().all(|signed| scene.waiting(signed).is_some()));
    assert_eq!(scene.take(&before[0].request.signing_payload(), &recorded[0]), None);
    assert_eq!((scene.epochs.gathered.len(), scene.waiting(&before[0]).is_none()), (1, true));
    scene.epochs.gathered.clear();

    scene.advance(ANSWER_BLOCKS - RETRY_BLOCKS);
    let now = scene.ask();
    assert_eq!(now.len(), before.len());
    for (signed, answer) in before.iter().zip(&recorded) {
        assert!(scene.waiting(signed).is_none());
        assert_eq!(scene.take(&signed.request.signing_payload(), answer), None);
        // As if it answered what was asked later.
        for other in now.iter().chain(&second) {
            assert!(other.public_key != signed.public_key);
            assert_eq!(scene.take(&other.request.signing_payload(), answer), None);
            let key = scene.waiting(other).unwrap();
            assert!(!scene.opens(&key, other, answer) && !scene.opens(&key, signed, answer));
        }
    }
    assert!(scene.epochs.gathered.is_empty(), "nothing was taken");
    let first = scene.answer(&now[0]);
    assert_eq!(scene.take(&now[0].request.signing_payload(), &first), None);
    assert_eq!(scene.epochs.gathered.len(), 1, "an answer of its own is");
    scene.epochs.retain(&[OF]);
    assert_eq!(scene.epochs.asked.len(), 2 + second.len());
    scene.epochs.retain(&[EpochOf { epoch: OF.epoch + 1, ..OF }]);
    assert!(scene.epochs.asked.is_empty() && scene.epochs.gathered.is_empty());
}

#[test]
fn requests_of_an_epoch_that_is_only_taken_over_from_go_when_it_is_settled() {
    let mut scene = Scene::new(702);
    scene.purposes = vec![KeyPurpose::Storage];
    let asked = scene.ask();
    for signed in asked.iter().take(2) {
        let answer = scene.answer(signed);
        scene.take(&signed.request.signing_payload(), &answer);
    }
    assert!(scene.epochs.get(OF).is_some_and(|keys| !keys.is_full()));
    assert!(scene.waiting(&asked[2]).is_some(), "it may give what the others left out");
    scene.epochs.settle(OF);
    assert!(scene.epochs.asked.is_empty() && scene.epochs.gathered.is_empty());
    assert!(scene.epochs.get(OF).is_some());
}

/// What is done to an honest answer.
type Forgery = fn(&mut KeyGrant);

#[test]
fn an_answer_that_proves_less_than_it_says_changes_nothing_that_waits() {
    let mut scene = Scene::new(703);
    let before = scene.ask();
    let old: Vec<_> = before.iter().map(|signed| scene.answer(signed)).collect();
    scene.epochs = Epochs::default();
    let asked = scene.ask();
    let forgeries: [(GrantError, Forgery); 9] = [
        (GrantError::WrongPurposes, |grant| grant.evaluations.clear()),
        (GrantError::WrongPurposes, |grant| grant.evaluations.truncate(3)),
        (GrantError::WrongPurposes, |grant| grant.evaluations = vec![grant.evaluations[0]]),
        (GrantError::WrongPurposes, |grant| grant.evaluations.push(grant.evaluations[1])),
        (GrantError::WrongEvaluation, |grant| grant.evaluations[3].proof[40] ^= 1),
        (GrantError::WrongEvaluation, |grant| grant.evaluations[0].point = grant.evaluations[1].point),
        (GrantError::NoSuchSeat, |grant| grant.index = grant.index % 3 + 1),
        (GrantError::WrongRoot, |grant| grant.shares.swap(0, 1)),
        (GrantError::Malformed, |grant| grant.request[0] ^= 1),
    ];
    for (number, signed) in asked.iter().enumerate() {
        let payload = signed.request.signing_payload();
        let refused = |error, first| Heard::Refused { gatekeeper: signed.request.gatekeeper, of: OF, error, first };
        // What the seat said to another request, brought as the answer to this one.
        assert_eq!(scene.hear(&payload, &old[number]), refused(GrantError::Unauthentic, true));
        for (error, change) in forgeries {
            let forged = scene.altered(signed, change);
            assert_eq!(scene.hear(&payload, &forged), refused(error, false));
        }
        // Evaluations of the one who lies, each proved.
        let KeyRequest { genesis, cluster, era, epoch, gatekeeper, .. } = signed.request;
        let position = scene.root.seats.iter().position(|seat| *seat == gatekeeper).unwrap();
        let liar = &scene.shares[(position + 1) % 3];
        let forged = scene.altered(signed, |grant| {
            for evaluation in &mut grant.evaluations {
                let input = PrfInput { genesis, era, cluster, epoch, purpose: evaluation.purpose };
                let own = liar.partial(&Input::of(domain::PRF_INPUT, &input), &[0; 32]);
                (evaluation.point, evaluation.proof) = (own.point, own.proof);
            }
        });
        assert_eq!(scene.hear(&payload, &forged), refused(GrantError::WrongEvaluation, false));
    }
    assert_eq!(scene.ask(), asked, "all wait, and none is asked anew for it");
    assert!(scene.epochs.gathered.is_empty() && scene.epochs.get(OF).is_none());
    for signed in asked.iter().skip(1) {
        let answer = scene.answer(signed);
        scene.take(&signed.request.signing_payload(), &answer);
    }
    assert!(scene.epochs.get(OF).is_some_and(EpochKeys::is_full));
}

/// Evaluations of seats are known to workers that they answered. One that is broken, with a gatekeeper that lies, can repeat a part.
#[test]
fn an_answer_with_the_storage_key_alone_is_nobodys_last_word() {
    let mut scene = Scene::new(704);
    let storage_alone = |grant: &mut KeyGrant| grant.evaluations.retain(|one| one.purpose == KeyPurpose::Storage);
    let asked = scene.ask();
    for signed in &asked {
        let (payload, less) = (signed.request.signing_payload(), scene.altered(signed, storage_alone));
        assert!(matches!(scene.hear(&payload, &less), Heard::Taken(_)));
        assert_eq!(scene.hear(&payload, &less), Heard::Nothing, "it is opened once");
        assert!(scene.waiting(signed).is_some());
    }
    assert_eq!(scene.ask(), asked);
    assert!(scene.epochs.get(OF).is_some_and(|keys| !keys.is_full()));
    let whole = scene.answer(&asked[0]);
    assert_eq!(scene.take(&asked[0].request.signing_payload(), &whole), None);
    assert!(scene.waiting(&asked[0]).is_none(), "that is all there is");

    // It is asked once more when the others have not answered for long: less than before takes nothing away.
    scene.advance(RETRY_BLOCKS);
    let again = scene.ask();
    assert_eq!(again.len(), 3);
    for signed in &again {
        let less = scene.altered(signed, storage_alone);
        scene.take(&signed.request.signing_payload(), &less);
    }
    let other = again.iter().find(|signed| signed.request.gatekeeper != asked[0].request.gatekeeper).unwrap();
    let whole = scene.answer(other);
    assert_eq!(scene.take(&other.request.signing_payload(), &whole), Some(OF.epoch));
    assert!(scene.epochs.get(OF).is_some_and(EpochKeys::is_full));
    assert!(scene.epochs.asked.is_empty() && scene.epochs.gathered.is_empty());
}

/// Bytes out of `testing/vectors/crypto/derivations.json`, which a second implementation computed.
fn vector(label: Domain, field: &str) -> [u8; 32] {
    let file: Value =
        serde_json::from_str(include_str!("../../../../testing/vectors/crypto/derivations.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["label"] == label.as_str()).unwrap();
    hex::decode(case[field].as_str().unwrap()).unwrap().try_into().unwrap()
}

fn root_output(purpose: KeyPurpose) -> Secret<[u8; 32]> {
    Secret::new(match purpose {
        KeyPurpose::Envelope => vector(domain::EPOCH_ENVELOPE, "secret"),
        KeyPurpose::Storage => vector(domain::EPOCH_STORAGE, "secret"),
        KeyPurpose::Commit => vector(domain::EPOCH_COMMIT, "secret"),
        KeyPurpose::Entropy => vector(domain::EPOCH_ENTROPY, "secret"),
    })
}

#[test]
fn an_epochs_keys_follow_their_vectors() {
    let keys = EpochKeys::derive(|purpose| Some(root_output(purpose))).unwrap();
    let (envelope, commit) = (keys.envelope.unwrap(), keys.commit.unwrap());
    assert_eq!(public_key_hash(envelope.public_key()), vector(domain::EPOCH_ENVELOPE, "public_key_hash"));
    assert_eq!(*keys.storage.expose(), vector(domain::EPOCH_STORAGE, "output"));
    assert_eq!(*commit.expose(), vector(domain::EPOCH_COMMIT, "output"));
    assert_eq!(salt(&kdf::Parent::new(&commit), 7), vector(domain::REPLY_SALT, "output"));
    let entropy = keys.entropy.unwrap();
    assert_eq!(*entropy.expose(), vector(domain::EPOCH_ENTROPY, "output"));
    let random = ItemRandom { entropy, cluster: ClusterId(3), link: [9; 32] };
    let mut drawn = [0; 32];
    random.draw(&ContractId([0xc0; 32]), 1, &mut drawn);
    assert_eq!(drawn, vector(domain::CONTRACT_RANDOM, "output"));
}

#[test]
fn every_purpose_gives_a_worker_what_commands_need_and_storage_alone_does_not_suffice() {
    let asked = RefCell::new(BTreeSet::new());
    let keys = EpochKeys::derive(|purpose| {
        asked.borrow_mut().insert(purpose);
        Some(root_output(purpose))
    });
    assert!(keys.is_some_and(|keys| keys.is_full()));
    assert_eq!(asked.into_inner(), BTreeSet::from(KeyPurpose::ALL));
    let without = |missing| EpochKeys::derive(|purpose| (purpose != missing).then(|| root_output(purpose)));
    for purpose in [KeyPurpose::Envelope, KeyPurpose::Commit, KeyPurpose::Entropy] {
        assert!(without(purpose).is_some_and(|keys| !keys.is_full()), "{purpose:?}");
    }
    let storage = EpochKeys::derive(|purpose| (purpose == KeyPurpose::Storage).then(|| root_output(purpose)));
    assert!(storage.is_some_and(|keys| !keys.is_full()));
    assert!(without(KeyPurpose::Storage).is_none());
}
