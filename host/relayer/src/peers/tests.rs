//! Letters between relayers on loopback, among them some that lie, fail or keep silent.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{
    letters::{self, Bounds},
    mail::Mail,
};
use axum::{http::StatusCode as Status, routing::post, Router};
use phala_protocol::keys::KeyAnswer;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::{net::TcpListener, time::timeout};

/// Its first byte makes the first of two peers, or of three, the first to ask.
const HERE: WorkerId = WorkerId([6; 32]);
const NOBODY: WorkerId = WorkerId([2; 32]);
const CHAIN: Hash = [7; 32];
const SOON: Duration = Duration::from_secs(10);
/// Less than [`SLOW`].
const DAWDLING: Duration = Duration::from_millis(1_900);

fn letter(number: u8) -> Letter {
    Letter::Answer([number; 32], KeyAnswer { encapsulated: vec![1], body: vec![2] })
}

fn addressed(number: u8) -> Addressed {
    Addressed { chain: CHAIN, to: HERE, letter: letter(number) }
}

/// A relayer's mail, and its address.
async fn relayer() -> (Arc<Mail>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mail = Arc::new(Mail::default());
    tokio::spawn(letters::serve(listener, mail.clone(), Router::new(), Bounds::default()));
    (mail, url)
}

/// A peer that answers every letter with `status` and carries none; how many it was offered.
async fn answering(status: Status) -> (Arc<AtomicUsize>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let offered = Arc::new(AtomicUsize::new(0));
    let count = offered.clone();
    let answer = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async move { status }
    };
    let router = Router::new().route(PATH, post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (offered, url)
}

/// A peer that takes connections and never says anything.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    url
}

/// A peer that takes every letter, after a time that is just short of slow, and carries none.
async fn dawdling() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = || async {
        tokio::time::sleep(DAWDLING).await;
        Status::NO_CONTENT
    };
    let router = Router::new().route(PATH, post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn carrying(urls: Vec<String>) -> (Arc<Peers>, JoinSet<()>) {
    let (peers, waiting) = Peers::new(&urls).unwrap();
    let (peers, mut tasks) = (Arc::new(peers), JoinSet::new());
    let carrier = peers.clone();
    tasks.spawn(async move { carrier.carry_all(waiting).await });
    (peers, tasks)
}

#[tokio::test]
async fn a_letter_reaches_the_relayer_that_serves_whom_it_is_for() {
    let ((other, first), (mail, second)) = (relayer().await, relayer().await);
    let arrived = mail.open(HERE, CHAIN);
    let (peers, _tasks) = carrying(vec![first, second]);
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::New);
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::Known);
    timeout(SOON, arrived.notified()).await.unwrap();
    assert_eq!(mail.take(&HERE).answers.len(), 1);
    // The second is offered to whoever took the first, and to nobody else, even if it serves it now.
    let arrived_elsewhere = other.open(HERE, CHAIN);
    assert_eq!(peers.post(&CHAIN, &HERE, letter(2)), Posted::New);
    timeout(SOON, arrived.notified()).await.unwrap();
    assert_eq!(mail.take(&HERE).answers[0].0, [2; 32]);
    assert!(timeout(Duration::from_millis(100), arrived_elsewhere.notified()).await.is_err());
}

#[tokio::test]
async fn a_letter_of_another_chain_is_not_carried() {
    let (mail, url) = relayer().await;
    mail.open(HERE, CHAIN);
    let (peers, _waiting) = Peers::new(&[url]).unwrap();
    peers.carry(&Addressed { chain: [9; 32], ..addressed(1) }).await;
    assert!(mail.take(&HERE).is_empty());
    assert_eq!(peers.post(&[9; 32], &HERE, letter(1)), Posted::Unserved);
}

#[tokio::test]
async fn whom_nobody_serves_is_not_asked_for_again_at_once_unless_a_peer_was_silent() {
    let (_mail, url) = relayer().await;
    let to_nobody = Addressed { to: NOBODY, ..addressed(1) };
    let (peers, _waiting) = Peers::new(std::slice::from_ref(&url)).unwrap();
    peers.carry(&to_nobody).await;
    assert_eq!(peers.post(&CHAIN, &NOBODY, letter(1)), Posted::Unserved);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let (peers, _waiting) = Peers::new(&[url, silent]).unwrap();
    peers.carry(&to_nobody).await;
    // While it rests nobody is left to ask; then it is.
    assert_eq!(peers.post(&CHAIN, &NOBODY, letter(1)), Posted::Unserved);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(peers.post(&CHAIN, &NOBODY, letter(1)), Posted::New);
}

#[tokio::test]
async fn a_peer_that_takes_everything_and_carries_nothing_costs_one_repetition() {
    let (offered, liar) = answering(Status::NO_CONTENT).await;
    let (mail, honest) = relayer().await;
    mail.open(HERE, CHAIN);
    let (peers, _waiting) = Peers::new(&[liar, honest]).unwrap();
    peers.carry(&addressed(1)).await;
    assert!(mail.take(&HERE).is_empty(), "it was asked first");
    peers.carry(&addressed(1)).await;
    assert_eq!(mail.take(&HERE).answers.len(), 1, "what is said again is offered to all");
    for number in 2..12 {
        peers.carry(&addressed(number)).await;
    }
    assert_eq!(mail.take(&HERE).answers.len(), 10, "nothing waits for a repetition any more");
    assert_eq!(offered.load(Ordering::SeqCst), 12);
}

#[tokio::test]
async fn a_peer_that_never_answers_and_one_that_fails_hold_up_no_letter_to_another() {
    let (failed, failing) = answering(Status::INTERNAL_SERVER_ERROR).await;
    let (mail, honest) = relayer().await;
    let arrived = mail.open(HERE, CHAIN);
    let (peers, _tasks) = carrying(vec![silent().await, failing, honest]);
    for number in 0..40 {
        assert_eq!(peers.post(&CHAIN, &HERE, letter(number)), Posted::New);
    }
    let started = Instant::now();
    let mut answers = 0;
    while answers < 40 {
        timeout(2 * TIMEOUT, arrived.notified()).await.unwrap();
        answers += mail.take(&HERE).answers.len();
    }
    // Once, and not for each letter or each four of them.
    assert!(started.elapsed() < 2 * TIMEOUT);
    assert!(failed.load(Ordering::SeqCst) <= MOST_OF_ONE + 1, "those that were on their way, and one to prove itself");
    let started = Instant::now();
    for number in 40..80 {
        assert_eq!(peers.post(&CHAIN, &HERE, letter(number)), Posted::New);
    }
    while answers < 80 {
        timeout(SOON, arrived.notified()).await.unwrap();
        answers += mail.take(&HERE).answers.len();
    }
    assert!(started.elapsed() < TIMEOUT, "by now it is known who answers");
}

#[tokio::test]
async fn a_peer_that_takes_everything_slowly_is_passed_over_and_throttles_nothing() {
    let (mail, honest) = relayer().await;
    let arrived = mail.open(HERE, CHAIN);
    let (peers, _tasks) = carrying(vec![dawdling().await, honest]);
    // The first letters go to whoever is asked first; then it says that it serves whom they are for, and is offered all that follow.
    for first in [0, 40, 80] {
        for number in first..first + 40 {
            assert_eq!(peers.post(&CHAIN, &HERE, letter(number)), Posted::New);
        }
        let started = Instant::now();
        let mut answers = 0;
        while answers < 40 - MOST_OF_ONE {
            timeout(SOON, arrived.notified()).await.unwrap();
            answers += mail.take(&HERE).answers.len();
        }
        assert!(started.elapsed() < DAWDLING, "none of them waited for one that it had");
        tokio::time::sleep(DAWDLING).await;
        mail.take(&HERE);
    }
}

#[test]
fn what_waits_is_not_sent_again_however_long_it_waits() {
    let (peers, mut waiting) = Peers::new(&["http://10.0.0.1:1".to_owned()]).unwrap();
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::New);
    for sent in peers.sent.lock().unwrap().values_mut() {
        sent.at = sent.at.checked_sub(REPEAT_AFTER).unwrap();
    }
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::Known);
    let taken = waiting.try_recv().unwrap();
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::Known, "it is being offered");
    peers.waits_no_more(&taken);
    assert_eq!(peers.post(&CHAIN, &HERE, letter(1)), Posted::New);
    assert!(waiting.try_recv().is_ok() && waiting.try_recv().is_err());
}

#[tokio::test]
async fn a_peer_without_room_is_up() {
    let (offered, busy) = answering(Status::SERVICE_UNAVAILABLE).await;
    let (peers, _waiting) = Peers::new(&[busy]).unwrap();
    for number in 0..3 {
        peers.carry(&addressed(number)).await;
    }
    assert_eq!(offered.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn where_peers_are_is_known_by_their_addresses() {
    let urls = [
        "http://192.0.2.7:8400",
        "http://192.0.2.7:8401",
        "http://192.0.2.7:8400/",
        "http://[2001:db8::7:0:0:1]:8400",
        "no address",
    ]
    .map(str::to_owned);
    let network = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]);
    let found = addresses(&urls).await;
    assert_eq!(
        found,
        BTreeMap::from([(IpAddr::from([192, 0, 2, 7]), 2), (network, 1)]),
        "of IPv6, a subscriber's network"
    );
}

#[test]
fn what_waits_for_peers_is_bounded_and_addresses_are_checked() {
    let (peers, _waiting) = Peers::new(&["http://10.0.0.1:1".to_owned()]).unwrap();
    let posted = |number: usize| {
        let mut to = [0; 32];
        to[..8].copy_from_slice(&number.to_le_bytes());
        peers.post(&CHAIN, &WorkerId(to), letter(1))
    };
    assert!((0..MOST_WAITING).all(|number| posted(number) == Posted::New));
    assert_eq!(posted(MOST_WAITING), Posted::Full);
    let (alone, _waiting) = Peers::new(&[]).unwrap();
    assert_eq!(alone.post(&CHAIN, &HERE, letter(1)), Posted::Unserved);
    for no_address in
        ["10.0.0.1:1", "localhost:1", "https://10.0.0.1:1", "http://a:b@10.0.0.1:1", "http://10.0.0.1:1/x", ""]
    {
        assert_eq!(Peers::new(&[no_address.to_owned()]).err().unwrap().code, ErrorCode::Invalid, "{no_address}");
    }
    let numbered = |port: usize| format!("http://10.0.0.1:{}", port + 1);
    let (one, _waiting) = Peers::new(&[numbered(0), format!("{}/", numbered(0))]).unwrap();
    assert_eq!(one.peers.len(), 1, "the same twice");
    assert!(Peers::new(&(0..MOST_PEERS).map(numbered).collect::<Vec<_>>()).is_ok());
    assert!(Peers::new(&(0..=MOST_PEERS).map(numbered).collect::<Vec<_>>()).is_err());
}
