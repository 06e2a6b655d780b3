//! Snapshots for other relayers: `GET /v1/snapshots/{cluster}/{epoch}`, the SCALE of what is here whole with the number of its parts, and
//! `GET /v1/snapshots/{cluster}/{id}/{index}`, the SCALE of a part; an id in hexadecimal without `0x`.
//!
//! Guarantees: on the listener of letters, with its bounds of connections and time; an address asks as often as a bucket of its own
//! allows, which is less than for letters, because a part is half a megabyte; of parts that are on their way a bounded number is in
//! memory, some of which only relayers get that the operator named. What a TEE here refused is not listed while it rests, nor ever if a peer
//! gave it. Answers: 400 nothing that could be here, 404 it is not here, or not any more, 429 and 503 later, 500 the disk. Anyone asks;
//! what is given only TEEs of the cluster's replicas can open. Does not: hide how large a state is, or how far it is.

use super::{Origin, Snapshots};
use crate::{
    mail::Mail,
    rates::{subscriber, Rates},
};
use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
    Router,
};
use codec::Encode;
use phala_protocol::{snapshot::SnapshotHeader, ClusterId, Hash};
use std::{net::SocketAddr, sync::Arc, time::Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Parts on their way to strangers at once, and as many to relayers that the operator named: half a megabyte of memory each.
const MOST_PARTS: usize = 16;

/// What the routes work with.
struct Counter {
    snapshots: Arc<Snapshots>,
    mail: Arc<Mail>,
    strangers: (Rates, Arc<Semaphore>),
    peers: (Rates, Arc<Semaphore>),
}

/// What whoever asked in vain is told.
type Refusal = (StatusCode, &'static str);

/// Bytes on their way, and the place that they take.
struct OnItsWay {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The routes; none where no snapshots are kept.
pub(crate) fn router(snapshots: Arc<Snapshots>, mail: Arc<Mail>) -> Router {
    if !snapshots.are_kept() {
        return Router::new();
    }
    let places = || Arc::new(Semaphore::new(MOST_PARTS));
    let (strangers, peers) = ((Rates::of_parts(), places()), (Rates::usual(), places()));
    Router::new()
        .route("/v1/snapshots/{cluster}/{of}", get(list))
        .route("/v1/snapshots/{cluster}/{of}/{index}", get(part))
        .with_state(Arc::new(Counter { snapshots, mail, strangers, peers }))
}

impl Counter {
    /// The places for parts of whoever asks, if he may ask now.
    fn admit(&self, address: SocketAddr) -> Result<&Arc<Semaphore>, Refusal> {
        let address = subscriber(address.ip());
        let (rates, places) = if self.mail.names(&address) { &self.peers } else { &self.strangers };
        if !rates.take(address, Instant::now()) {
            return Err((StatusCode::TOO_MANY_REQUESTS, "too many requests from this address; wait a second"));
        }
        Ok(places)
    }
}

fn number(text: &str) -> Result<u32, Refusal> {
    // A sign is no digit.
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or((StatusCode::BAD_REQUEST, "a number is expected in the path"))
}

async fn list(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Path((cluster, epoch)): Path<(String, String)>,
) -> Result<Vec<u8>, Refusal> {
    counter.admit(address)?;
    let (cluster, epoch) = (ClusterId(number(&cluster)?), number(&epoch)?);
    let mut listed: Vec<(SnapshotHeader, u32)> = Vec::new();
    for kept in counter.snapshots.good(cluster, epoch, Instant::now()) {
        let may_be_a_lie = kept.origin == Origin::Peer && counter.snapshots.is_doubted(&kept);
        if !may_be_a_lie && listed.iter().all(|(header, _)| *header != kept.header) {
            listed.push((kept.header, kept.parts));
        }
    }
    Ok(listed.encode())
}

async fn part(
    State(counter): State<Arc<Counter>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Path((cluster, id, index)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    const NOT_HERE: Refusal = (StatusCode::NOT_FOUND, "it is not here, or not any more; ask for the list again");
    let places = counter.admit(address)?;
    let (cluster, index) = (ClusterId(number(&cluster)?), number(&index)?);
    let id: Option<Hash> = hex::decode(id).ok().and_then(|bytes| bytes.try_into().ok());
    let id = id.ok_or((StatusCode::BAD_REQUEST, "64 hexadecimal digits are expected in the path"))?;
    let folder = counter.snapshots.folder.as_ref().ok_or(NOT_HERE)?;
    let kept = folder.get(&id).filter(|kept| kept.header.cluster == cluster && index < kept.parts).ok_or(NOT_HERE)?;
    let place = places.clone().try_acquire_owned();
    let place =
        place.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "as many parts are on their way as may; repeat it"))?;
    match folder.part(&kept, index).await {
        Ok(Some(part)) => {
            let bytes = Bytes::from_owner(OnItsWay { bytes: part.encode(), _place: place });
            Ok(Body::from(bytes).into_response())
        }
        Ok(None) => Err(NOT_HERE),
        Err(error) => {
            tracing::warn!(id = hex::encode(id), %error, "cannot read a snapshot");
            Err((StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read here"))
        }
    }
}

#[cfg(test)]
mod tests;
