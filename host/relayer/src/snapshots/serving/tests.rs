//! What whoever asks is told, and how often.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::{
    super::tests::{header, make, part_of, relayer, CLUSTER, EPOCH},
    *,
};
use axum::body::to_bytes;
use codec::Decode as _;
use std::{collections::BTreeMap, net::IpAddr};

const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 1);

fn counter(snapshots: Arc<Snapshots>) -> Arc<Counter> {
    let places = || Arc::new(Semaphore::new(MOST_PARTS));
    let mail = Arc::new(Mail::new(BTreeMap::from([(PEER.ip(), 1)])));
    Arc::new(Counter { snapshots, mail, strangers: (Rates::of_parts(), places()), peers: (Rates::usual(), places()) })
}

async fn ask(counter: &Arc<Counter>, from: SocketAddr, path: [&str; 3]) -> Result<Response, Refusal> {
    let path = path.map(str::to_owned);
    let [cluster, id, index] = path;
    part(State(counter.clone()), ConnectInfo(from), Path((cluster, id, index))).await
}

async fn listed(counter: &Arc<Counter>, cluster: &str, epoch: &str) -> Result<Vec<(SnapshotHeader, u32)>, Refusal> {
    let path = Path((cluster.to_owned(), epoch.to_owned()));
    let bytes = list(State(counter.clone()), ConnectInfo(PEER), path).await?;
    Ok(Vec::decode(&mut bytes.as_slice()).unwrap())
}

#[tokio::test]
async fn what_is_here_is_given_and_all_else_is_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Arc::new(relayer(folder.path(), &[]));
    let made = header(100, 1);
    make(&snapshots, made, 2).await;
    let counter = counter(snapshots.clone());
    let (cluster, epoch, id) = (CLUSTER.to_string(), EPOCH.to_string(), hex::encode(made.id()));
    let (cluster, epoch, id) = (cluster.as_str(), epoch.as_str(), id.as_str());
    assert_eq!(listed(&counter, cluster, epoch).await, Ok(vec![(made, 2)]));
    assert_eq!(listed(&counter, cluster, "9").await, Ok(vec![]));
    assert_eq!(listed(&counter, "9", epoch).await, Ok(vec![]));
    for (cluster, epoch) in [("x", "1"), ("1", "-1"), ("+1", "1"), ("", "1"), ("4294967296", "1"), ("1", "\0")] {
        assert_eq!(listed(&counter, cluster, epoch).await.unwrap_err().0, StatusCode::BAD_REQUEST, "{cluster} {epoch}");
    }

    for (index, text) in [(0, "0"), (1, "1")] {
        let answer = ask(&counter, PEER, [cluster, id, text]).await.unwrap();
        let bytes = to_bytes(answer.into_body(), super::super::MAX_PART_MESSAGE).await.unwrap();
        assert_eq!(bytes, part_of(made, index, 2).encode());
    }
    let unknown = "00".repeat(32);
    for path in [[cluster, id, "2"], ["9", id, "0"], [cluster, unknown.as_str(), "0"]] {
        assert_eq!(ask(&counter, PEER, path).await.unwrap_err().0, StatusCode::NOT_FOUND, "{path:?}");
    }
    for path in [[cluster, id, "x"], [cluster, &id[1..], "0"], [cluster, "../../etc/passwd", "0"], ["", "", ""]] {
        assert_eq!(ask(&counter, PEER, path).await.unwrap_err().0, StatusCode::BAD_REQUEST, "{path:?}");
    }
    // What a TEE here refused is not handed on.
    snapshots.refused(&snapshots.folder.as_ref().unwrap().get(&made.id()).unwrap());
    assert_eq!(listed(&counter, cluster, epoch).await, Ok(vec![]));
}

#[tokio::test]
async fn strangers_are_held_to_a_rate_and_to_places_and_named_relayers_have_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Arc::new(relayer(folder.path(), &[]));
    let made = header(100, 1);
    make(&snapshots, made, 1).await;
    let counter = counter(snapshots);
    let (cluster, id) = (CLUSTER.to_string(), hex::encode(made.id()));
    let path = [cluster.as_str(), id.as_str(), "0"];
    let mut on_their_way = Vec::new();
    for _ in 0..MOST_PARTS {
        on_their_way.push(ask(&counter, STRANGER, path).await.unwrap());
    }
    assert_eq!(ask(&counter, STRANGER, path).await.unwrap_err().0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ask(&counter, PEER, path).await.is_ok(), "it has places of its own");
    on_their_way.pop();
    assert!(ask(&counter, STRANGER, path).await.is_ok(), "one has arrived");
    let mut refused = 0;
    for _ in 0..200 {
        if let Err((StatusCode::TOO_MANY_REQUESTS, _)) = ask(&counter, STRANGER, [path[0], path[1], "x"]).await {
            refused += 1;
        }
    }
    assert!(refused >= 100, "{refused}");
    assert!(ask(&counter, PEER, path).await.is_ok());
}
