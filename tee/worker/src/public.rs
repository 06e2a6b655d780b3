//! The public listener: health, information, metrics and sealed queries.
//!
//! Guarantees: bodies, rates, time and concurrent work are bounded and stated in `/v1/info`; every refusal is JSON with a code, a
//! message and a hint; a query's content is never logged. Anyone controls what arrives.

use crate::{
    info,
    limits::Buckets,
    service::{blocking, Service, Stopped},
};
use axum::{
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{header, HeaderName, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
    Json, Router,
};
use codec::Encode;
use phala_core::QueryFault;
use phala_protocol::limits::MAX_QUERY_BYTES;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tower_http::{
    cors::{Any, CorsLayer},
    timeout::TimeoutLayer,
};

/// Queries executed at once.
pub(crate) const MAX_CONCURRENT_QUERIES: usize = 4;
/// Seconds after which a request is given up.
pub(crate) const QUERY_SECONDS: u64 = 10;

struct Public {
    service: Arc<Service>,
    buckets: Buckets,
    queries: Arc<Semaphore>,
}

/// The routes.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let public = Arc::new(Public {
        service,
        buckets: Buckets::default(),
        queries: Arc::new(Semaphore::new(MAX_CONCURRENT_QUERIES)),
    });
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, HeaderName::from_static("accept")]);
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/info", get(information))
        .route("/v1/query", post(query))
        .route("/metrics", get(metrics))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "not_found", "there is no such path", "see /v1/info") })
        .layer(DefaultBodyLimit::max(MAX_QUERY_BYTES))
        .layer(middleware::from_fn_with_state(public.clone(), rate))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(QUERY_SECONDS)))
        .layer(cors)
        .with_state(public)
}

async fn rate(
    State(public): State<Arc<Public>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if public.buckets.take(address.ip(), Instant::now()) {
        next.run(request).await
    } else {
        refusal(StatusCode::TOO_MANY_REQUESTS, "busy", "too many requests from this address", "wait a second")
    }
}

async fn health(State(public): State<Arc<Public>>) -> Response {
    match blocking(public.service.clone(), info::health).await {
        Ok(Ok((true, detail))) => Json(detail).into_response(),
        Ok(Ok((false, detail))) => (StatusCode::SERVICE_UNAVAILABLE, Json(detail)).into_response(),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

async fn information(State(public): State<Arc<Public>>) -> Response {
    match blocking(public.service.clone(), info::info).await {
        Ok(Ok(detail)) => Json(detail).into_response(),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

async fn metrics(State(public): State<Arc<Public>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], public.service.metrics.text()).into_response()
}

async fn query(State(public): State<Arc<Public>>, body: Bytes) -> Response {
    let Ok(permit) = public.queries.clone().try_acquire_owned() else {
        public.service.metrics.queried(false);
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "the worker executes enough queries", "try again");
    };
    let Some(serving) = public.service.serving() else {
        public.service.metrics.queried(false);
        return refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "stale",
            "the worker has no final state to answer from yet",
            "wait until /v1/health says healthy",
        );
    };
    let answered = blocking(public.service.clone(), move |service| {
        // Held as long as the work, not as long as the asker waits.
        let _permit = permit;
        serving.answer(&body, &service.seen)
    })
    .await;
    public.service.metrics.queried(matches!(answered, Ok(Ok(_))));
    match answered {
        Ok(Ok(answer)) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer.encode()).into_response(),
        Ok(Err(fault)) => query_refusal(&fault),
        Err(stopped) => internal(&stopped),
    }
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
        QueryFault::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "try again in a minute"),
        QueryFault::TooLong => (StatusCode::UNPROCESSABLE_ENTITY, "over_limit", "ask for less at once"),
        QueryFault::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "try again, or another worker"),
    };
    // The fault's causes may name state: the asker gets its first line only.
    refusal(status, code, &fault.to_string(), hint)
}

fn internal(stopped: &Stopped) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", &stopped.to_string(), "tell the operator")
}

/// A refusal as every listener gives it.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str, hint: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message, "hint": hint}}))).into_response()
}
