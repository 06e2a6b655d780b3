//! Relayers of two hosts, a TEE that is played behind each: one of a cluster of which it has the state, one that is new in it. The first is
//! switched off for good; what it had made arrives at the other, part by part, by what the relayers kept.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use axum::{
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
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
    attestation::Role,
    finality::FinalityProof,
    ids::to_hex,
    relay::{Delivery, TeeStatus},
    result::Boundary,
    snapshot::{
        SnapshotHeader, SnapshotPart, SnapshotStand, MOST_SNAPSHOT_PARTS, SNAPSHOT_PART_BYTES, SNAPSHOT_TAG_BYTES,
    },
    ClusterId, Hash, WorkerId,
};
use phala_relayer::{run, RelayerConfig, TeeEndpoint};
use serde_json::json;
use std::{
    fs,
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    path::Path as FilePath,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, Mutex,
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

const GENESIS: Hash = [9; 32];
const CLUSTER: ClusterId = ClusterId(0);
const EPOCH: u32 = 4;
const PARTS: u32 = 19;
/// How long anything here may take.
const SOON: Duration = Duration::from_secs(60);

/// A node that has no block but the first.
async fn node() -> (String, ServerHandle) {
    let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let mut module = RpcModule::new(());
    let said = |value: String| Ok::<_, ErrorObjectOwned>(value);
    let proof = FinalityProof { fragments: vec![], complete: true }.encode();
    module.register_method("chain_getBlockHash", move |_, _, _| said(to_hex(&GENESIS))).unwrap();
    module.register_method("phala_finalityProof", move |_, _, _| said(to_hex(&proof))).unwrap();
    let proved = || json!({"at": to_hex(&GENESIS), "proof": ["0x01"]});
    module.register_method("state_getReadProof", move |_, _, _| Ok::<_, ErrorObjectOwned>(proved())).unwrap();
    module.register_method("state_getKeysPaged", |_, _, _| Vec::<String>::new()).unwrap();
    (url, server.start(module))
}

fn boundary() -> Boundary {
    Boundary { block: 7, count: 3, link: [2; 32] }
}

fn header() -> SnapshotHeader {
    SnapshotHeader { cluster: CLUSTER, era: 1, epoch: EPOCH, boundary: boundary(), salt: [5; 32] }
}

fn part(index: u32) -> SnapshotPart {
    let sealed = vec![index as u8; SNAPSHOT_PART_BYTES + SNAPSHOT_TAG_BYTES];
    SnapshotPart { header: header(), index, last: index + 1 == PARTS, sealed }
}

/// A worker that is played.
struct Tee {
    status: Mutex<TeeStatus>,
    /// Deliveries, taken or not.
    deliveries: AtomicUsize,
    /// Parts that it took, and deliveries with parts.
    taken: Mutex<(Vec<SnapshotPart>, usize)>,
    /// Deliveries with parts that it still refuses.
    refuses: Mutex<usize>,
}

async fn tee(identity: u8, snapshot: SnapshotStand, refuses: usize) -> (Arc<Tee>, String, JoinHandle<()>) {
    let shown = TeeStatus {
        identity: WorkerId([identity; 32]),
        role: Role::Worker,
        genesis: GENESIS,
        height: 0,
        head: GENESIS,
        wanted_keys: vec![],
        inboxes: vec![],
        wanted_codes: vec![],
        attempt: None,
        identity_attempt: None,
        signing: None,
        snapshot: Some(snapshot),
        outgoing: vec![],
    };
    let tee = Arc::new(Tee {
        status: Mutex::new(shown),
        deliveries: AtomicUsize::new(0),
        taken: Mutex::default(),
        refuses: Mutex::new(refuses),
    });
    let router = Router::new()
        .route("/operator/v1/status", get(status))
        .route("/operator/v1/deliver", post(deliver))
        .route("/operator/v1/snapshot", post(|| async { header().encode() }))
        .route("/operator/v1/snapshot/{id}/{index}", get(give))
        .layer(DefaultBodyLimit::disable())
        .with_state(tee.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (tee, url, serving)
}

async fn status(State(tee): State<Arc<Tee>>) -> Vec<u8> {
    let status = tee.status.lock().unwrap();
    status.encode()
}

async fn give(Path((id, index)): Path<(String, u32)>) -> Result<Vec<u8>, StatusCode> {
    let is_there = id == hex::encode(header().id()) && index < PARTS;
    is_there.then(|| part(index).encode()).ok_or(StatusCode::NOT_FOUND)
}

/// Takes parts in their order, as a TEE that cannot tell a good one from a bad one before it has all.
async fn deliver(State(tee): State<Arc<Tee>>, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let delivery = Delivery::decode_bounded(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    tee.deliveries.fetch_add(1, Ordering::SeqCst);
    let mut status = tee.status.lock().unwrap();
    if !delivery.snapshot.is_empty() {
        assert!(delivery.snapshot.len() <= MOST_SNAPSHOT_PARTS);
        let mut refuses = tee.refuses.lock().unwrap();
        if *refuses > 0 {
            *refuses -= 1;
            return Err(StatusCode::BAD_REQUEST);
        }
        let mut taken = tee.taken.lock().unwrap();
        taken.1 += 1;
        taken.0.extend(delivery.snapshot);
        let next = Some((header().id(), taken.0.len() as u32));
        let is_whole = taken.0.last().is_some_and(|part| part.last);
        status.snapshot = Some(match is_whole {
            true => SnapshotStand::Has { cluster: CLUSTER, epoch: EPOCH, boundary: boundary() },
            false => SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH, taking: next },
        });
    }
    Ok(status.encode())
}

async fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

async fn until(mut check: impl FnMut() -> bool) {
    let waited = async {
        while !check() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waited).await.unwrap();
}

/// A TEE wants something else four times, and is brought it each time.
async fn asks_for_more(tee: &Tee) {
    for wanted in 1..5u8 {
        let before = tee.deliveries.load(Ordering::SeqCst);
        tee.status.lock().unwrap().wanted_keys = vec![vec![wanted]];
        until(|| tee.deliveries.load(Ordering::SeqCst) > before).await;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Whole snapshots in a folder.
fn kept(folder: &FilePath) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "snapshot")).count()
}

fn has() -> SnapshotStand {
    SnapshotStand::Has { cluster: CLUSTER, epoch: EPOCH, boundary: boundary() }
}

fn lacks() -> SnapshotStand {
    SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH, taking: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_is_brought_the_state_of_one_that_is_switched_off_by_two_relayers() {
    let (node, _node) = node().await;
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let (former, former_url, serving) = tee(1, has(), 0).await;
    let (new, new_url, _serving) = tee(2, lacks(), 0).await;
    let (first, second) = (free_port().await, free_port().await);
    let config = |tee: &str, folder: &FilePath, own: SocketAddr, other: SocketAddr| RelayerConfig {
        listen: Some(own),
        peers: vec![format!("http://{other}")],
        snapshots: Some(folder.to_owned()),
        ..RelayerConfig::new(node.clone(), vec![TeeEndpoint::new(tee)], Account::development("alice").unwrap())
    };
    let story = async {
        until(|| kept(&one) == 1).await;
        assert_eq!(former.taken.lock().unwrap().1, 0, "whoever has it is brought none");
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        let arrived = until(|| new.status.lock().unwrap().snapshot == Some(has()));
        tokio::select! {
            ended = run(config(&new_url, &other, second, first), pending::<()>()) => panic!("it ended: {ended:?}"),
            () = arrived => {}
        }
    };
    tokio::select! {
        ended = run(config(&former_url, &one, first, second), pending::<()>()) => panic!("it ended: {ended:?}"),
        () = story => {}
    }
    let taken = new.taken.lock().unwrap();
    assert_eq!(taken.0, (0..PARTS).map(part).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(taken.1, 3, "as many at once as may be");
    assert!(kept(&other) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relaying_goes_on_where_nothing_can_be_kept_and_where_parts_are_refused() {
    let (node, _node) = node().await;
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("snapshots");
    let config = |tee: &str, folder: &FilePath| RelayerConfig {
        snapshots: Some(folder.to_owned()),
        ..RelayerConfig::new(node.clone(), vec![TeeEndpoint::new(tee)], Account::development("alice").unwrap())
    };
    // A file is where the folder should be.
    fs::write(&folder, b"").unwrap();
    let (former, former_url, _serving) = tee(1, has(), 0).await;
    // It is asked for a snapshot again and again meanwhile, and served.
    let served = asks_for_more(&former);
    tokio::select! {
        ended = run(config(&former_url, &folder), pending::<()>()) => panic!("it ended: {ended:?}"),
        () = served => {}
    }
    fs::remove_file(&folder).unwrap();
    // Kept now; a TEE that refuses the parts once is not brought them again at once, and served meanwhile.
    tokio::select! {
        ended = run(config(&former_url, &folder), pending::<()>()) => panic!("it ended: {ended:?}"),
        () = until(|| kept(&folder) == 1) => {}
    }
    let (new, new_url, _serving) = tee(2, lacks(), 1).await;
    let refused = async {
        until(|| *new.refuses.lock().unwrap() == 0).await;
        asks_for_more(&new).await;
    };
    tokio::select! {
        ended = run(config(&new_url, &folder), pending::<()>()) => panic!("it ended: {ended:?}"),
        () = refused => {}
    }
    assert_eq!(new.taken.lock().unwrap().1, 0, "it rests");
    // Another process does not know of the refusal: what is kept is what it was.
    tokio::select! {
        ended = run(config(&new_url, &folder), pending::<()>()) => panic!("it ended: {ended:?}"),
        () = until(|| new.status.lock().unwrap().snapshot == Some(has())) => {}
    }
    assert_eq!(new.taken.lock().unwrap().0.len(), PARTS as usize);
}
