//! A node that is busy with one inbox for ever, and a relayer that brings a TEE everything else meanwhile: the chain's head, the items of
//! its other inbox, and its mail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
    Router,
};
use codec::{Compact, Encode};
use jsonrpsee::{
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
    RpcModule,
};
use phala_client::Account;
use phala_protocol::{
    attestation::Role,
    finality::{FinalityFragment, FinalityProof},
    gas::GasClass,
    ids::{to_hex, BlockNumber},
    inbox::{Head, Item, ItemHeader, ItemKind, ItemOrigin},
    keys::KeyAnswer,
    relay::{Delivery, InboxCursor, Outgoing, TeeStatus},
    AccountId, ClusterId, Hash, WorkerId,
};
use phala_relayer::{run, RelayerConfig, TeeEndpoint};
use serde_json::{json, Value};
use std::{
    future::pending,
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        Arc, Mutex,
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, time::sleep};

const GENESIS: Hash = [9; 32];
const GATEKEEPER: WorkerId = WorkerId([4; 32]);
const WORKER: WorkerId = WorkerId([8; 32]);
/// With which the node is busy: the one that would be the first.
const BUSY: ClusterId = ClusterId(1);
const OTHER: ClusterId = ClusterId(2);
/// The finalised head.
const HEIGHT: BlockNumber = 9;
/// Items of an inbox by block, of which an answer holds [`PAGE`].
const BLOCKS: [BlockNumber; 7] = [3, 3, 5, 5, 5, 5, 6];
const PAGE: usize = 4;

fn items() -> Vec<Vec<u8>> {
    let item = |(sequence, block): (usize, &BlockNumber)| {
        let header = ItemHeader {
            kind: ItemKind::Envelope(GasClass::Small),
            origin: ItemOrigin::Account(AccountId([1; 32])),
            sequence: sequence as u64,
            block: *block,
            time_ms: 1,
            fee: 1,
        };
        Item { previous: [0; 32], header, message: vec![7; 40] }.encode()
    };
    BLOCKS.iter().enumerate().map(item).collect()
}

/// The node, and how often it was asked for what it is busy with.
async fn node() -> (String, Arc<AtomicUsize>, ServerHandle) {
    let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let (asked, items) = (Arc::new(AtomicUsize::new(0)), items());
    let counted = asked.clone();
    let mut module = RpcModule::new(());
    let said = |value: String| Ok::<_, ErrorObjectOwned>(value);
    module.register_method("chain_getBlockHash", move |_, _, _| said(to_hex(&GENESIS))).unwrap();
    module
        .register_method("phala_finalityProof", |params, _, _| {
            let [from] = params.parse::<[BlockNumber; 1]>()?;
            let fragment =
                FinalityFragment { header: (GENESIS, Compact(HEIGHT), [0u8; 64]).encode(), justification: vec![] };
            let fragments = if from < HEIGHT { vec![fragment] } else { vec![] };
            Ok::<_, ErrorObjectOwned>(to_hex(&FinalityProof { fragments, complete: true }.encode()))
        })
        .unwrap();
    module
        .register_method("phala_inboxItems", move |params, _, _| -> Result<Value, ErrorObjectOwned> {
            let (cluster, from, _) = params.parse::<(u32, usize, u32)>()?;
            if cluster == BUSY.0 {
                counted.fetch_add(1, SeqCst);
                return Err(ErrorObjectOwned::owned(7008, "ask again", None::<()>));
            }
            let given: Vec<String> = items.iter().skip(from).take(PAGE).map(|item| to_hex(item)).collect();
            Ok(json!({"block": HEIGHT, "count": items.len(), "items": given}))
        })
        .unwrap();
    module
        .register_method("state_getReadProof", |_, _, _| {
            Ok::<_, ErrorObjectOwned>(json!({"at": to_hex(&GENESIS), "proof": ["0x01"]}))
        })
        .unwrap();
    module.register_method("state_getKeysPaged", |_, _, _| Vec::<String>::new()).unwrap();
    (url, asked, server.start(module))
}

/// A TEE that takes everything.
struct Tee {
    status: Mutex<TeeStatus>,
    heard: Mutex<Vec<Delivery>>,
}

impl Tee {
    fn heard<T>(&self, of: impl Fn(&Delivery) -> Vec<T>) -> Vec<T> {
        self.heard.lock().unwrap().iter().flat_map(of).collect()
    }
}

async fn tee(
    identity: WorkerId,
    role: Role,
    clusters: &[ClusterId],
    outgoing: Vec<Outgoing>,
) -> (Arc<Tee>, TeeEndpoint) {
    let inbox = |cluster: &ClusterId| InboxCursor { cluster: *cluster, head: Head::empty(*cluster), ready: true };
    let status = TeeStatus {
        identity,
        role,
        genesis: GENESIS,
        height: 0,
        head: GENESIS,
        wanted_keys: vec![],
        inboxes: clusters.iter().map(inbox).collect(),
        wanted_codes: vec![],
        attempt: None,
        identity_attempt: None,
        signing: None,
        snapshot: None,
        outgoing,
    };
    let tee = Arc::new(Tee { status: Mutex::new(status), heard: Mutex::default() });
    let router = Router::new()
        .route("/operator/v1/status", get(status_of))
        .route("/operator/v1/deliver", post(deliver))
        .layer(DefaultBodyLimit::disable())
        .with_state(tee.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = TeeEndpoint::new(format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (tee, endpoint)
}

async fn status_of(State(tee): State<Arc<Tee>>) -> Vec<u8> {
    let status = tee.status.lock().unwrap();
    status.encode()
}

async fn deliver(State(tee): State<Arc<Tee>>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let delivery = Delivery::decode_bounded(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut status = tee.status.lock().unwrap();
    if !delivery.finality.is_empty() {
        status.height = HEIGHT;
    }
    for brought in &delivery.items {
        let mut inboxes = status.inboxes.iter_mut();
        let inbox = inboxes.find(|inbox| inbox.cluster == brought.cluster).ok_or(StatusCode::BAD_REQUEST)?;
        inbox.head.count += brought.items.len() as u64;
    }
    tee.heard.lock().unwrap().push(delivery);
    Ok(status.encode())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_reaches_a_tee_while_the_node_is_busy_with_one_of_its_inboxes_for_ever() {
    let (node, asked, _node) = node().await;
    let answer = KeyAnswer { encapsulated: vec![2], body: vec![3] };
    let letter = Outgoing::AnswerKeys { worker: WORKER, request: [5; 32], answer: answer.clone() };
    let (worker, of_worker) = tee(WORKER, Role::Worker, &[BUSY, OTHER], vec![]).await;
    let (_gatekeeper, of_gatekeeper) = tee(GATEKEEPER, Role::Gatekeeper, &[], vec![letter]).await;
    let config = RelayerConfig::new(node, vec![of_worker, of_gatekeeper], Account::development("alice").unwrap());
    let begun = Instant::now();
    let story = async {
        let expected = items();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "everything else waits for what the node is busy with");
            let other =
                worker.heard(|delivery| delivery.items.iter().flat_map(|brought| brought.items.clone()).collect());
            let letters = worker.heard(|delivery| delivery.answers.clone());
            if other == expected && letters.contains(&([5; 32], answer.clone())) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        // It is come back to, and no more often than its wait allows: 1.55 seconds for the first five, then a second each.
        sleep(Duration::from_secs(3)).await;
        let asked = asked.load(SeqCst);
        let turns = 7 + begun.elapsed().as_secs() as usize;
        assert!(asked > 9 && asked <= 9 * turns, "asked {asked} times in {turns} turns at most");
    };
    tokio::select! {
        ended = run(config, pending::<()>()) => panic!("the relayer ended: {ended:?}"),
        () = story => {}
    }
    assert_eq!(worker.status.lock().unwrap().height, HEIGHT);
    let brought = worker.heard(|delivery| delivery.items.iter().map(|brought| brought.cluster).collect());
    assert!(brought.iter().all(|cluster| *cluster == OTHER) && brought.len() >= 2, "{brought:?}");
}
