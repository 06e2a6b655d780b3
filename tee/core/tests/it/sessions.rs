//! Sessions: many commands behind one signature of the account, each executed once.

use super::{
    client::{Account, Session},
    network::{Network, WORKER},
    poison::{code, KEEP, TRAP},
};
use phala_crypto::{envelope::Destination, session::SessionSecret, signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    call::{Call, CallPurpose},
    gas::GasClass,
    limits::{MAX_SESSIONS_PER_ACCOUNT, SESSION_WINDOW},
    query::{AnswerContent, QueryRefusal},
    result::{Failure, Outcome, Reply},
    AccountId, ClusterId, ContractId,
};

const STRANGER: AccountId = AccountId([9; 32]);
const EXECUTED: Outcome = Outcome::Returned(Vec::new());
const NOTHING: AnswerContent = AnswerContent::Refused(QueryRefusal::NotFound);

struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
}

impl Scene {
    fn new(seed: u64, workers: usize) -> Self {
        let mut network = Network::ready(seed, workers);
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP]);
        Self { network, alice, contract }
    }

    fn push(&mut self, envelope: Vec<u8>) -> u64 {
        self.network.chain.push(GasClass::Small, STRANGER, envelope)
    }

    /// Opens a session by a call that keeps `payload`.
    fn open(&mut self, key: u8) -> Session {
        let call = self.alice.call(&self.network, self.contract, vec![KEEP, key]);
        let (envelope, session) = self.alice.open_session(&self.network, call, key);
        self.push(envelope);
        session
    }

    fn command(&mut self, payload: Vec<u8>) -> Call {
        self.alice.call(&self.network, self.contract, payload)
    }

    fn reply(&mut self, nonce: u64) -> Reply {
        match self.alice.ask_reply(&self.network, nonce) {
            AnswerContent::Reply { reply, .. } => reply,
            other => panic!("no reply to {nonce}: {other:?}"),
        }
    }

    fn kept(&mut self) -> AnswerContent {
        self.alice.ask_contract(&self.network, self.contract, vec![KEEP])
    }

    /// Brings a command of a session alone, and says whether it executed; if not, its nonce is free.
    fn executes(&mut self, session: &Session, number: u64) -> bool {
        let call = self.command(vec![KEEP, 200, number as u8]);
        let nonce = call.nonce;
        let sequence = self.push(session.seal(number, &call));
        self.network.settle();
        match self.alice.ask_reply(&self.network, nonce) {
            AnswerContent::Reply { reply, .. } => {
                assert_eq!((reply.sequence, reply.outcome), (sequence, EXECUTED));
                assert_eq!(self.kept(), AnswerContent::Output(vec![KEEP, 200, number as u8]));
                true
            }
            AnswerContent::Refused(QueryRefusal::NotFound) => false,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_session_is_open_although_its_opener_calls_nobody() {
    let mut scene = Scene::new(99, 1);
    let call = Call { payload: Vec::new(), ..scene.command(Vec::new()) };
    let call = Call { contract: ContractId([0; 32]), ..call };
    let nonce = call.nonce;
    let (envelope, session) = scene.alice.open_session(&scene.network, call, 1);
    scene.push(envelope);
    scene.network.settle();
    let reply = scene.reply(nonce);
    assert_eq!(reply.outcome, Outcome::Failed(Failure::NoSuchContract));
    assert!(!Failure::NoSuchContract.leaves_nonce(), "which says to its owner that it is open");
    assert!(scene.executes(&session, 1));
}

#[test]
fn a_session_commands_once_each_and_finds_its_replies() {
    let mut scene = Scene::new(100, 2);
    let session = scene.open(1);
    let opened = scene.alice.next_nonce;
    let first = scene.command(vec![KEEP, 1]);
    let second = scene.command(vec![TRAP]);
    let third = scene.command(vec![KEEP, 3]);
    let (one, two, three) = (session.seal(1, &first), session.seal(2, &second), session.seal(3, &third));
    // In one block with the opener, and not in their order.
    let places: Vec<_> = [&one, &three, &two].map(|envelope| scene.push(envelope.clone())).into();
    scene.network.settle();
    assert_eq!(scene.reply(opened).outcome, EXECUTED);
    let caller = Some((scene.alice.id(), first.nonce));
    let reply = scene.reply(first.nonce);
    assert_eq!(
        (reply.sequence, reply.caller, reply.contract, reply.outcome),
        (places[0], caller, Some(scene.contract), EXECUTED)
    );
    assert_eq!(scene.reply(third.nonce).outcome, EXECUTED);
    assert_eq!(scene.reply(second.nonce).outcome, Outcome::Failed(Failure::Trapped));
    assert_eq!(scene.kept(), AnswerContent::Output(vec![KEEP, 3]));

    // Again: the same bytes, the same call under another number, and another call under the same number.
    let fourth = scene.command(vec![KEEP, 4]);
    for envelope in [one.clone(), two, three, session.seal(9, &first), session.seal(1, &fourth)] {
        scene.push(envelope);
    }
    scene.network.settle();
    assert_eq!(scene.reply(first.nonce).sequence, places[0]);
    assert_eq!(scene.alice.ask_reply(&scene.network, fourth.nonce), NOTHING);
    assert_eq!(scene.kept(), AnswerContent::Output(vec![KEEP, 3]));
    // The tag of the refused copy of the first call was not used up by it.
    assert!(scene.executes(&session, 9));
}

#[test]
fn what_a_stranger_makes_of_a_command_uses_up_neither_tag_nor_nonce() {
    let mut scene = Scene::new(101, 1);
    let session = scene.open(1);
    let call = scene.command(vec![KEEP, 7]);
    let good = session.seal(1, &call);
    // Its tag around garbage, and each byte of it altered here and there.
    let mut bad = vec![[&good[..27], &[0xa5; 256 + 16][..]].concat()];
    for position in [27, 100, good.len() - 1] {
        bad.push(good.clone());
        bad.last_mut().unwrap()[position] ^= 1;
    }
    // What a replica could say, which knows the session's secret and not its key.
    let forger = Session {
        secret: SessionSecret::from_bytes(session.secret.expose()),
        key: IdentityKey::from_seed(&Secret::new([77; 32])),
        destination: session.destination,
    };
    bad.push(forger.seal(1, &call));
    // For another place.
    let here = session.destination;
    for destination in [
        Destination { genesis: [3; 32], ..here },
        Destination { cluster: ClusterId(1), ..here },
        Destination { epoch: 2, ..here },
    ] {
        let elsewhere = Session {
            secret: SessionSecret::from_bytes(session.secret.expose()),
            key: IdentityKey::from_seed(&Secret::new([1; 32])),
            destination,
        };
        bad.push(elsewhere.seal(1, &call));
    }
    for envelope in bad {
        scene.push(envelope);
    }
    scene.network.settle();
    assert_eq!(scene.alice.ask_reply(&scene.network, call.nonce), NOTHING);
    // In a wrapper that was not asked for.
    scene.network.chain.push(GasClass::Medium, STRANGER, good.clone());
    scene.network.settle();
    assert_eq!(scene.reply(call.nonce).outcome, Outcome::Failed(Failure::WrongClass));

    let sequence = scene.push(good);
    scene.network.settle();
    let reply = scene.reply(call.nonce);
    assert_eq!((reply.sequence, reply.outcome), (sequence, EXECUTED));
    // A session makes no contracts.
    let constructor = Call { purpose: CallPurpose::Constructor, ..scene.command(vec![KEEP]) };
    let envelope = session.seal(2, &constructor);
    scene.push(envelope);
    scene.network.settle();
    assert_eq!(scene.reply(constructor.nonce).outcome, Outcome::Failed(Failure::WrongPurpose));
}

#[test]
fn a_session_ends_with_its_epoch() {
    let mut scene = Scene::new(102, 1);
    let session = scene.open(1);
    scene.network.settle();
    assert!(scene.executes(&session, 1));
    scene.network.run_until(|network| network.chain.epoch() == 2);
    scene.network.run_until(|network| network.worker().tee().status().inboxes[0].ready);
    assert!(!scene.executes(&session, 2), "under the header of the epoch before");
    let relabelled = Session { destination: Destination { epoch: 2, ..session.destination }, ..session };
    assert!(!scene.executes(&relabelled, 2), "under the header of the open epoch");
    let next = scene.open(2);
    scene.network.settle();
    assert!(scene.executes(&next, 1));
    assert!(!scene.executes(&relabelled, 2));
}

#[test]
fn numbers_lie_within_the_window_around_the_highest_used_one() {
    let mut scene = Scene::new(103, 1);
    let session = scene.open(1);
    scene.network.settle();
    assert!(!scene.executes(&session, 0) && !scene.executes(&session, SESSION_WINDOW + 1));
    assert!(scene.executes(&session, SESSION_WINDOW), "the last of the first window");
    assert!(scene.executes(&session, 1), "and what is as far below");
    assert!(!scene.executes(&session, 1));
    assert!(!scene.executes(&session, 2 * SESSION_WINDOW + 1));
    assert!(scene.executes(&session, 2 * SESSION_WINDOW));
    assert!(!scene.executes(&session, SESSION_WINDOW - 1), "lost: the window has gone on");
    assert!(scene.executes(&session, SESSION_WINDOW + 1));
}

#[test]
fn an_account_that_opens_one_more_loses_its_oldest_and_nobody_else_any() {
    let mut scene = Scene::new(104, 2);
    let mut bob = Account::new(2);
    let call = bob.call(&scene.network, scene.contract, vec![KEEP, 50]);
    let (envelope, bobs) = bob.open_session(&scene.network, call, 50);
    scene.push(envelope);
    let sessions: Vec<_> = (1..=MAX_SESSIONS_PER_ACCOUNT as u8).map(|key| scene.open(key)).collect();
    scene.network.settle();
    assert!(sessions.iter().all(|session| scene.executes(session, 1)));

    // An opener that comes again opens nothing, and so ends nothing.
    let mut openers = scene.network.chain.items.iter().filter(|item| item.message.get(1) == Some(&1));
    let opener = openers.next_back().unwrap().message.clone();
    scene.push(opener);
    scene.network.settle();
    assert!(scene.executes(&sessions[0], 2));

    let newest = scene.open(20);
    scene.network.settle();
    assert!(!scene.executes(&sessions[0], 3), "the oldest is gone");
    assert!(sessions[1..].iter().all(|session| scene.executes(session, 3)) && scene.executes(&newest, 1));
    let call = bob.call(&scene.network, scene.contract, vec![KEEP, 51]);
    let nonce = call.nonce;
    scene.push(bobs.seal(1, &call));
    scene.network.settle();
    assert!(
        matches!(bob.ask_reply(&scene.network, nonce), AnswerContent::Reply { reply, .. } if reply.outcome == EXECUTED)
    );
}

#[test]
fn a_session_survives_a_restart_of_its_worker() {
    let mut scene = Scene::new(105, 1);
    let session = scene.open(1);
    scene.network.settle();
    assert!(scene.executes(&session, 1));
    scene.network.start(WORKER);
    scene.network.settle();
    assert!(!scene.executes(&session, 1), "what was used is still used");
    assert!(scene.executes(&session, 2));
}

#[test]
fn a_constructor_does_not_open_a_session() {
    let mut scene = Scene::new(106, 1);
    let uploaded = scene.network.chain.upload(&code());
    let genesis = scene.network.chain.genesis();
    let contract = ContractId::derive(&genesis, super::chain::CLUSTER, &scene.alice.id(), &uploaded, &[1; 32]);
    let call = scene.alice.constructor(&scene.network, contract, vec![KEEP]);
    let nonce = call.nonce;
    let (init, session) = scene.alice.open_session(&scene.network, call, 1);
    scene.network.chain.instantiate(scene.alice.id(), uploaded, contract, init);
    scene.network.settle();
    assert_eq!(scene.alice.ask_reply(&scene.network, nonce), NOTHING);
    assert!(!scene.executes(&session, 1));
}
