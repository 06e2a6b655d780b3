//! Relayers of two hosts, a TEE that is played behind each, and around them whoever means them ill: peers that take everything and
//! carry nothing, keep silent, or talk nonsense, and strangers that flood, forge and hold connections. Letters arrive all the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
    Router,
};
use codec::Encode;
use jsonrpsee::{
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
    RpcModule,
};
use phala_client::Account;
use phala_protocol::{
    attestation::{Registration, Role},
    finality::FinalityProof,
    ids::to_hex,
    keys::{KeyAnswer, KeyRequest, SignedKeyRequest},
    relay::{Delivery, KeyInquiry, Outgoing, TeeStatus},
    AccountId, ClusterId, Hash, WorkerId,
};
use phala_relayer::{run, RelayerConfig, TeeEndpoint};
use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex,
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

const GENESIS: Hash = [9; 32];
/// Their first bytes make the first of four peers the first to ask.
const GATEKEEPER: WorkerId = WorkerId([4; 32]);
const WORKER: WorkerId = WorkerId([8; 32]);
/// What is in the worker's own requests, and in nobody else's.
const EVIDENCE: &[u8] = b"the worker's own";
const PATH: &str = "/mail/v1/letters";

/// A node that has no block but the first.
async fn node() -> (String, ServerHandle) {
    let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let mut module = RpcModule::new(());
    let said = |value: String| Ok::<_, ErrorObjectOwned>(value);
    let proof = FinalityProof { fragments: vec![], complete: true }.encode();
    module.register_method("chain_getBlockHash", move |_, _, _| said(to_hex(&GENESIS))).unwrap();
    module.register_method("phala_finalityProof", move |_, _, _| said(to_hex(&proof))).unwrap();
    module.register_method("state_getKeysPaged", |_, _, _| Vec::<String>::new()).unwrap();
    (url, server.start(module))
}

/// A TEE that is played.
struct Tee {
    status: Mutex<TeeStatus>,
    heard: Mutex<Vec<Delivery>>,
    delivered: Notify,
    react: fn(&Delivery, &mut TeeStatus),
}

async fn tee(identity: WorkerId, role: Role, react: fn(&Delivery, &mut TeeStatus)) -> (Arc<Tee>, String) {
    let shown = TeeStatus {
        identity,
        role,
        genesis: GENESIS,
        height: 0,
        head: GENESIS,
        wanted_keys: vec![],
        inboxes: vec![],
        wanted_codes: vec![],
        attempt: None,
        identity_attempt: None,
        signing: None,
        snapshot: None,
        outgoing: vec![],
    };
    let tee = Arc::new(Tee { status: Mutex::new(shown), heard: Mutex::default(), delivered: Notify::new(), react });
    let router = Router::new()
        .route("/operator/v1/status", get(status))
        .route("/operator/v1/deliver", post(deliver))
        .layer(DefaultBodyLimit::disable())
        .with_state(tee.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (tee, url)
}

async fn status(State(tee): State<Arc<Tee>>) -> Vec<u8> {
    let status = tee.status.lock().unwrap();
    status.encode()
}

async fn deliver(State(tee): State<Arc<Tee>>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let delivery = Delivery::decode_bounded(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut status = tee.status.lock().unwrap();
    (tee.react)(&delivery, &mut status);
    tee.heard.lock().unwrap().push(delivery);
    tee.delivered.notify_one();
    Ok(status.encode())
}

/// What it answers to a request: both are told by its hash.
fn key_answer(request: &Hash) -> KeyAnswer {
    KeyAnswer { encapsulated: request.to_vec(), body: vec![1] }
}

/// A gatekeeper answers the worker, and nobody who forges.
fn gatekeeper_reacts(delivery: &Delivery, status: &mut TeeStatus) {
    for inquiry in delivery.inquiries.iter().filter(|inquiry| inquiry.evidence == EVIDENCE) {
        let request = inquiry.request.request.signing_payload();
        let answer = Outgoing::AnswerKeys { worker: WORKER, request, answer: key_answer(&request) };
        if !status.outgoing.contains(&answer) {
            status.outgoing.push(answer);
        }
    }
}

/// A worker repeats what was not answered.
fn worker_reacts(delivery: &Delivery, status: &mut TeeStatus) {
    status.outgoing.retain(|item| match item {
        Outgoing::AskKeys(inquiry) => {
            let request = inquiry.request.request.signing_payload();
            !delivery.answers.contains(&(request, key_answer(&request)))
        }
        _ => true,
    });
}

fn inquiry(epoch: u32, nonce: u64, evidence: &[u8]) -> KeyInquiry {
    let mut fresh = [0; 32];
    fresh[..8].copy_from_slice(&nonce.to_le_bytes());
    let request = KeyRequest {
        genesis: GENESIS,
        worker: WORKER,
        gatekeeper: GATEKEEPER,
        cluster: ClusterId(0),
        era: 0,
        epoch,
        nonce: fresh,
        answer_key: [0; 32],
        at: 0,
    };
    let registration = Registration {
        role: Role::Worker,
        identity: WORKER,
        encryption_key: [0; 32],
        operator: AccountId([0; 32]),
        block: 0,
        block_hash: GENESIS,
    };
    KeyInquiry {
        request: SignedKeyRequest { request, public_key: vec![], signature: [0; 64] },
        registration,
        evidence: evidence.to_vec(),
        collateral: vec![1],
    }
}

/// Has the worker ask for the keys of these epochs, and waits until all are answered; how long that took.
async fn ask(worker: &Tee, epochs: std::ops::Range<u32>) -> Duration {
    let started = Instant::now();
    let asked = epochs.map(|epoch| Outgoing::AskKeys(inquiry(epoch, epoch.into(), EVIDENCE)));
    worker.status.lock().unwrap().outgoing.extend(asked);
    let answered = async {
        while !worker.status.lock().unwrap().outgoing.is_empty() {
            worker.delivered.notified().await;
        }
    };
    timeout(Duration::from_secs(100), answered).await.unwrap();
    started.elapsed()
}

async fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

/// A peer that says that it took every letter; how many it was brought.
async fn liar() -> (Arc<AtomicUsize>, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let brought = Arc::new(AtomicUsize::new(0));
    let count = brought.clone();
    let take = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { StatusCode::NO_CONTENT }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route(PATH, post(take))).await });
    (brought, url)
}

/// A peer that takes connections, says `word` on each, and holds it.
async fn holder(word: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(word).await;
            held.push(stream);
        }
    });
    url
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((IpAddr::V4(from), 0).into()).ok()?;
    socket.connect(to).await.ok()
}

/// Brings a relayer what it should not take, from an address of its own, for ever.
async fn flood(from: Ipv4Addr, to: SocketAddr) {
    for round in 0u64.. {
        // A letter is the chain, whom it is for, and its kind: a request for keys is 0.
        let nonce = (u64::from(from.to_bits()) << 32) | round;
        let forged = (GENESIS, GATEKEEPER, 0u8, inquiry(0, nonce, b"forged")).encode();
        let foreign = ([1u8; 32], GATEKEEPER, 0u8, inquiry(0, nonce, b"foreign")).encode();
        let body = match round % 4 {
            0 | 1 => forged,
            2 => foreign,
            _ => vec![0xff; 300_000],
        };
        let head =
            format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        if let Some(mut stream) = connect(from, to).await {
            let talk = async {
                stream.write_all(&[head.into_bytes(), body].concat()).await?;
                stream.read(&mut [0; 64]).await
            };
            let _ = timeout(Duration::from_secs(1), talk).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Holds as many connections as an address may have, on each of which a request begins and does not go on.
async fn hoard(from: Ipv4Addr, to: SocketAddr) {
    loop {
        let mut held = Vec::new();
        for _ in 0..16 {
            if let Some(mut stream) = connect(from, to).await {
                let _ = stream.write_all(b"POST /mail/v1/letters HTTP/1.1\r\nx: ").await;
                held.push(stream);
            }
        }
        sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_arrive_between_two_hosts_whatever_third_ones_do() {
    let (node, _node) = node().await;
    let (gatekeeper, gatekeeper_url) = tee(GATEKEEPER, Role::Gatekeeper, gatekeeper_reacts).await;
    let (worker, worker_url) = tee(WORKER, Role::Worker, worker_reacts).await;
    let (brought, liar) = liar().await;
    let (silent, nonsense) = (holder(b"").await, holder(b"\0\x01 nonsense \r\n\r\n").await);
    let (first, second) = (free_port().await, free_port().await);
    let config = |tee: String, own: SocketAddr, other: SocketAddr| RelayerConfig {
        listen: Some(own),
        peers: vec![liar.clone(), silent.clone(), nonsense.clone(), format!("http://{other}")],
        ..RelayerConfig::new(node.clone(), vec![TeeEndpoint::new(tee)], Account::development("alice").unwrap())
    };

    let mut strangers = JoinSet::new();
    for last in 1..5 {
        strangers.spawn(flood(Ipv4Addr::new(127, 0, 2, last), first));
        strangers.spawn(flood(Ipv4Addr::new(127, 0, 2, last), second));
    }
    // More together than one relayer has places.
    for last in 1..18 {
        strangers.spawn(hoard(Ipv4Addr::new(127, 0, 3, last), first));
    }
    let story = async {
        // The liar is asked first: the first letters take repetitions.
        ask(&worker, 1..2).await;
        assert!(brought.load(Ordering::SeqCst) >= 2, "both relayers asked the liar");
        // By now both know who takes anything and who keeps silent: nothing waits any more.
        let took = ask(&worker, 2..9).await;
        assert!(took < Duration::from_secs(15), "{took:?}");
        sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        ended = run(config(gatekeeper_url, first, second), pending::<()>()) => panic!("the first relayer ended: {ended:?}"),
        ended = run(config(worker_url, second, first), pending::<()>()) => panic!("the second relayer ended: {ended:?}"),
        () = story => {}
    }

    let heard = gatekeeper.heard.lock().unwrap();
    assert!(heard.iter().all(|delivery| delivery.inquiries.len() <= 64));
    let inquiries = || heard.iter().flat_map(|delivery| &delivery.inquiries);
    let of = |evidence: &[u8]| inquiries().filter(|inquiry| inquiry.evidence == evidence).count();
    assert!(of(b"forged") > 20, "the flood came in, and was no hindrance");
    assert!(of(EVIDENCE) >= 8);
    assert_eq!(of(b"foreign"), 0, "what is of another chain is not carried");
    assert!(
        worker.heard.lock().unwrap().iter().all(|delivery| delivery.inquiries.is_empty()),
        "none was for the worker"
    );
}
