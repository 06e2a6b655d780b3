//! The public listener: health, information, metrics and sealed queries.
//!
//! Guarantees: bodies, rates, time and concurrent work are bounded and stated in `/v1/info`; every refusal is JSON with a code, a
//! message and a hint; a query's content is never logged. Anyone controls what arrives.

use crate::{
    bounds::{bounded, refusal},
    info,
    service::{Service, Stopped},
};
use axum::{
    body::Bytes,
    extract::{rejection::BytesRejection, State},
    http::{header, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    Json, Router,
};
use codec::Encode;
use phala_core::{Executors, QueryFault, MAX_QUERIES_AT_ONCE};
use std::{io, sync::Arc};
use tokio::sync::{oneshot, Semaphore};

/// Queries executed at once: as many as the engine has room for, each on a thread of its own.
pub(crate) const MAX_CONCURRENT_QUERIES: usize = MAX_QUERIES_AT_ONCE;
/// Queries that wait for their turn; one more is refused.
pub(crate) const MAX_WAITING_QUERIES: usize = 64;

struct Public {
    service: Arc<Service>,
    /// Where queries are executed; no delivery ever is.
    executors: Executors,
    /// Queries that are executed.
    turns: Arc<Semaphore>,
    /// Queries that are here.
    places: Arc<Semaphore>,
}

/// The routes, and the threads behind them; an error when those do not start.
pub(crate) fn router(service: Arc<Service>) -> io::Result<Router> {
    let limits = service.limits;
    let executors = Executors::start(MAX_CONCURRENT_QUERIES)?;
    let turns = Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES));
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES + MAX_WAITING_QUERIES));
    let public = Arc::new(Public { service, executors, turns, places });
    let routes = Router::new()
        .route("/v1/health", get(health))
        .route("/v1/info", get(information))
        .route("/v1/query", post(query))
        .route("/metrics", get(metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method);
    Ok(bounded(routes, limits).with_state(public))
}

async fn health(State(public): State<Arc<Public>>) -> Response {
    match info::health(&public.service) {
        Ok((true, detail)) => Json(detail).into_response(),
        Ok((false, detail)) => (StatusCode::SERVICE_UNAVAILABLE, Json(detail)).into_response(),
        Err(stopped) => internal(&stopped),
    }
}

async fn information(State(public): State<Arc<Public>>) -> Response {
    match info::info(&public.service) {
        Ok(detail) => Json(detail).into_response(),
        Err(stopped) => internal(&stopped),
    }
}

async fn metrics(State(public): State<Arc<Public>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], public.service.metrics.text()).into_response()
}

async fn query(State(public): State<Arc<Public>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unread(&rejection),
    };
    // The place first: whoever has none does not wait. A turn is never refused, for its semaphore is never closed.
    let place = public.places.clone().try_acquire_owned();
    let held = match place {
        Ok(place) => public.turns.clone().acquire_owned().await.map(|turn| (place, turn)).ok(),
        Err(_) => None,
    };
    let Some(held) = held else {
        public.service.metrics.queried(false);
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "enough queries wait for the worker", "try again");
    };
    let present = match public.service.present() {
        Ok(present) => present,
        Err(stopped) => return internal(&stopped),
    };
    let Some(serving) = present.serving.clone() else {
        public.service.metrics.queried(false);
        return without_state(present.cluster.as_ref().is_some_and(|health| health.closed));
    };
    let (service, (give, given)) = (public.service.clone(), oneshot::channel());
    public.executors.submit(move || {
        // Held as long as the work, not as long as the asker waits.
        let _held = held;
        // Whoever asked may have gone away.
        let _ = give.send(serving.answer(&body, &service.seen));
    });
    let answered = given.await;
    public.service.metrics.queried(matches!(answered, Ok(Ok(_))));
    match answered {
        Ok(Ok(answer)) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer.encode()).into_response(),
        Ok(Err(fault)) => query_refusal(&fault),
        // It panicked: a defect of ours.
        Err(_) => internal(&Stopped),
    }
}

/// There is nothing to answer from: not yet, or never again.
fn without_state(closed: bool) -> Response {
    if closed {
        return refusal(
            StatusCode::GONE,
            "refused",
            "governance has closed the cluster for good: its state is lost, and no query is answered any more",
            "use another cluster; replies and receipts of before stay valid",
        );
    }
    refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "stale",
        "the worker has no final state to answer from yet",
        "wait until /v1/health says healthy",
    )
}

fn query_refusal(fault: &QueryFault) -> Response {
    let (status, code, hint) = match fault {
        QueryFault::Malformed(_) | QueryFault::NotAQuery => {
            (StatusCode::BAD_REQUEST, "invalid", "make the query with the SDK or `phala contract query`")
        }
        QueryFault::WrongKey => (StatusCode::CONFLICT, "stale", "fetch the query key from /v1/info and seal again"),
        QueryFault::Undecryptable => {
            (StatusCode::BAD_REQUEST, "refused", "fetch the query key from /v1/info and seal again")
        }
        QueryFault::TooLong => (StatusCode::UNPROCESSABLE_ENTITY, "over_limit", "ask for less at once"),
        QueryFault::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "try again, or another worker"),
    };
    // The fault's causes may name state: the asker gets its first line only.
    refusal(status, code, &fault.to_string(), hint)
}

fn internal(stopped: &Stopped) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &stopped.to_string(), "tell the operator")
}

/// A path that does not exist.
pub(crate) async fn no_such_path() -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", "there is no such path", "see /v1/info")
}

/// A path that does not take the request's method.
pub(crate) async fn no_such_method() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "invalid", "the path does not take this method", "see /v1/info")
}

/// A body that was not read to its end: too long, or its sender hung up.
pub(crate) fn unread(rejection: &BytesRejection) -> Response {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "over_limit",
            "the body is over the limit",
            "/v1/info states the limits",
        ),
        status => refusal(status, "invalid", "the body could not be read", "send it whole"),
    }
}
