//! What every request to the public listener passes: cross-origin rules, a rate for each address, a time and a length.
//!
//! Guarantees: nothing behind it sees a body over the limit, waits for a body for ever, or is asked more often by one address than
//! the operator allows; every refusal is JSON with a code, a message and a hint. Anyone controls what arrives.
//! Does not: bound connections ([`crate::listener`]) or what a route does at once (the route).

use crate::limits::{Buckets, Limits};
use axum::{
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{header, HeaderName, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    Json, Router,
};
use phala_protocol::limits::MAX_QUERY_BYTES;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tower_http::cors::{Any, CorsLayer};

/// Seconds after which a request is given up.
pub(crate) const REQUEST_SECONDS: u64 = 10;

/// Who may read answers in a browser, and how.
pub(crate) struct Cors {
    pub origins: &'static str,
    pub methods: [&'static str; 2],
}

/// Everybody, without credentials: there are none, and what is asked for is public or sealed.
pub(crate) const CORS: Cors = Cors { origins: "*", methods: ["GET", "POST"] };

/// Puts the bounds around routes.
pub(crate) fn bounded<S: Clone + Send + Sync + 'static>(routes: Router<S>, limits: Limits) -> Router<S> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, HeaderName::from_static("accept")]);
    routes
        .layer(DefaultBodyLimit::max(MAX_QUERY_BYTES))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(Arc::new(Buckets::new(limits)), rate))
        .layer(cors)
}

/// Gives up on whoever sends a body too slowly, and on what takes too long; the work itself may go on where it cannot be stopped.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(Duration::from_secs(REQUEST_SECONDS), next.run(request)).await {
        Ok(response) => response,
        Err(_) => refusal(StatusCode::GATEWAY_TIMEOUT, "timeout", "the request took too long", "try again"),
    }
}

async fn rate(
    State(buckets): State<Arc<Buckets>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if buckets.take(address.ip(), Instant::now()) {
        next.run(request).await
    } else {
        refusal(StatusCode::TOO_MANY_REQUESTS, "busy", "too many requests from this address", "wait a second")
    }
}

/// A refusal as every listener gives it.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str, hint: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message, "hint": hint}}))).into_response()
}
