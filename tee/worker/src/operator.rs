//! The operator's listener: status out, deliveries in, snapshots of a cluster's state in sealed parts, and a gatekeeper's part of a
//! suspension. For the relayer and the operator on the same host; it gives nobody any power over content.
//!
//! Guarantees: what arrives is bounded before it is decoded, and refused with whose fault it is. It is decoded in its turn with the TEE
//! alone, so that of whoever hangs up before nothing stays, whatever he sent after it. Whoever reaches this listener can make the TEE work in
//! vain, never lie to it; and of a gatekeeper he has this seat's part of the brake, which counts with those of n-t others. That is the
//! operator's to have, so that the listener belongs on loopback.

use crate::{
    bounds::refusal,
    failure::chain,
    listener,
    public::{no_such_method, no_such_path, unread},
    service::{blocking, in_turn, Service, Stopped},
};
use axum::{
    body::Bytes,
    extract::{
        rejection::{BytesRejection, PathRejection},
        DefaultBodyLimit, Path, State,
    },
    http::{header, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    Router,
};
use codec::{DecodeAll, Encode};
use phala_attest::Subject;
use phala_core::{DeliveryError, SnapshotRefusal, SuspensionRefusal};
use phala_protocol::{
    brake::{SuspensionRequest, MAX_SUSPENSION_REQUEST_BYTES},
    relay::{Delivery, MAX_DELIVERY_BYTES},
    Hash,
};
use std::{sync::Arc, time::Duration};
use tower_http::timeout::TimeoutLayer;
use tracing::warn;

/// How long a delivery may take to arrive and to be executed; the relayer waits as long. What has begun to execute is executed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
// A connection that is old ends after the delivery that is under way on it.
const _: () =
    assert!(listener::OPERATOR.last.as_secs() >= DELIVERY_TIMEOUT.as_secs() + listener::OPERATOR.write.as_secs());

/// The routes.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/operator/v1/status", get(status))
        .route("/operator/v1/deliver", post(deliver))
        .route("/operator/v1/suspension", post(suspension))
        .route("/operator/v1/snapshot", post(begin_snapshot))
        .route("/operator/v1/snapshot/{id}/{index}", get(snapshot_part))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_DELIVERY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DELIVERY_TIMEOUT))
        .with_state(service)
}

async fn status(State(service): State<Arc<Service>>) -> Response {
    match in_turn(service, Service::status).await {
        Ok(Ok(status)) => encoded(&status),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

async fn deliver(State(service): State<Arc<Service>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unread(&rejection),
    };
    match in_turn(service, move |service| delivered(service, body)).await {
        Ok(answer) => answer,
        Err(stopped) => internal(&stopped),
    }
}

/// Decodes a delivery and brings it to the TEE.
fn delivered(service: &Service, body: Bytes) -> Response {
    let delivery = match Delivery::decode_bounded(&body) {
        Ok(delivery) => delivery,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "invalid", &error.to_string(), "upgrade the relayer"),
    };
    drop(body);
    match service.deliver(delivery) {
        Ok(Ok(status)) => encoded(&status),
        Ok(Err(error)) => refused(&error),
        Err(stopped) => internal(&stopped),
    }
}

/// This seat's part of a suspension.
async fn suspension(State(service): State<Arc<Service>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unread(&rejection),
    };
    let mut bounded = body.get(..MAX_SUSPENSION_REQUEST_BYTES.min(body.len())).unwrap_or_default();
    let decoded = SuspensionRequest::<Subject>::decode_all(&mut bounded);
    let Some(request) = decoded.ok().filter(|_| body.len() <= MAX_SUSPENSION_REQUEST_BYTES) else {
        let message = "the body is no request for a suspension";
        return refusal(StatusCode::BAD_REQUEST, "invalid", message, "make it with `phala gatekeeper suspend`");
    };
    match in_turn(service, move |service| service.sign_suspension(&request)).await {
        Ok(Ok(Ok(signed))) => encoded(&signed),
        Ok(Ok(Err(refused))) => not_signed(&refused),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

/// Begins a snapshot. Whatever the body is, nothing is read of it.
async fn begin_snapshot(State(service): State<Arc<Service>>) -> Response {
    match in_turn(service, Service::begin_snapshot).await {
        Ok(Ok(Ok(header))) => encoded(&header),
        Ok(Ok(Err(refused))) => not_snapped(&refused),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

/// A part of the snapshot that is handed out.
async fn snapshot_part(
    State(service): State<Arc<Service>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let asked = path.ok().and_then(|Path((id, index))| Some((named(&id)?, index.parse::<u32>().ok()?)));
    let Some((id, index)) = asked else {
        let message = "the path names no part of a snapshot";
        let hint = "ask for /operator/v1/snapshot/<the header's id, 64 hexadecimal digits>/<index from 0>";
        return refusal(StatusCode::BAD_REQUEST, "invalid", message, hint);
    };
    match blocking(service, move |service| service.snapshot_part(&id, index)).await {
        Ok(Ok(Ok(part))) => encoded(&part),
        Ok(Ok(Err(refused))) => not_snapped(&refused),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

/// A snapshot's id in hexadecimal, with 0x or without.
fn named(text: &str) -> Option<Hash> {
    let mut id = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut id).ok()?;
    Some(id)
}

fn not_snapped(refused: &SnapshotRefusal) -> Response {
    let (status, code, hint) = match refused {
        SnapshotRefusal::NotAWorker => {
            (StatusCode::FORBIDDEN, "refused", "ask a worker: this address is a gatekeeper's")
        }
        SnapshotRefusal::NoState => {
            (StatusCode::SERVICE_UNAVAILABLE, "stale", "ask when the status has a final state of the open epoch")
        }
        SnapshotRefusal::Rationed { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "take the parts of the one that is handed out, or wait for that block",
        ),
        SnapshotRefusal::Unknown => (StatusCode::NOT_FOUND, "not_found", "begin one: POST /operator/v1/snapshot"),
        SnapshotRefusal::Passed { .. } => {
            (StatusCode::GONE, "refused", "begin another one: POST /operator/v1/snapshot")
        }
        SnapshotRefusal::NotYet { .. } => (StatusCode::BAD_REQUEST, "invalid", "ask for the parts in order, from 0"),
        SnapshotRefusal::Ended { .. } => {
            (StatusCode::NOT_FOUND, "not_found", "the part marked as the last is the last")
        }
        SnapshotRefusal::TooLarge => {
            (StatusCode::UNPROCESSABLE_ENTITY, "over_limit", "the cluster cannot be taken over by snapshot")
        }
        SnapshotRefusal::Read(_) | SnapshotRefusal::Machine(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "look after the machine, then ask again")
        }
    };
    refusal(status, code, &chain(refused), hint)
}

fn not_signed(refused: &SuspensionRefusal) -> Response {
    let (status, code, hint) = match refused {
        SuspensionRefusal::NotAGatekeeper => {
            (StatusCode::FORBIDDEN, "refused", "ask a gatekeeper: this address is a worker's")
        }
        SuspensionRefusal::NoSeat { .. } => {
            (StatusCode::FORBIDDEN, "refused", "only seats of the root that answers count: `phala gatekeeper status`")
        }
        SuspensionRefusal::Root => (StatusCode::BAD_REQUEST, "refused", "suspend the vendor, a model or a measurement"),
        SuspensionRefusal::Past { .. } => (StatusCode::BAD_REQUEST, "expired", "name a block that is to come"),
        SuspensionRefusal::TooFarAhead { .. } => {
            (StatusCode::BAD_REQUEST, "over_limit", "name a block within a day; sign again when it has passed")
        }
        SuspensionRefusal::NoRoot => {
            (StatusCode::SERVICE_UNAVAILABLE, "stale", "wait until its relayer has brought it to the chain's head")
        }
        SuspensionRefusal::Unproved => {
            (StatusCode::SERVICE_UNAVAILABLE, "stale", "ask again when its relayer has been here, in a few seconds")
        }
        SuspensionRefusal::Rationed { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "busy", "look who asks: an operator needs few; then wait for that block")
        }
    };
    refusal(status, code, &refused.to_string(), hint)
}

fn refused(error: &DeliveryError) -> Response {
    let message = chain(error);
    warn!(%message, "delivery was not taken whole");
    if error.is_the_relayers() {
        refusal(StatusCode::BAD_REQUEST, "refused", &message, "ask for the status again and bring what it names")
    } else {
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &message, "look after the machine, then bring it again")
    }
}

fn internal(stopped: &Stopped) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &stopped.to_string(), "restart the process")
}

fn encoded(answer: &impl Encode) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], answer.encode()).into_response()
}
