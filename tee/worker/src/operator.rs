//! The operator's listener: status out, deliveries in. For the relayer on the same host; it gives nobody any power over content.
//!
//! Guarantees: a delivery is bounded before it is decoded, and refused with whose fault it is. Whoever reaches this listener can
//! make the TEE work in vain, never lie to it.

use crate::{
    bounds::refusal,
    failure::chain,
    public::{no_such_method, no_such_path, unread},
    service::{blocking, Service, Stopped},
};
use axum::{
    body::Bytes,
    extract::{rejection::BytesRejection, DefaultBodyLimit, State},
    http::{header, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    Router,
};
use codec::Encode;
use phala_core::DeliveryError;
use phala_protocol::relay::{Delivery, TeeStatus, MAX_DELIVERY_BYTES};
use std::{sync::Arc, time::Duration};
use tower_http::timeout::TimeoutLayer;
use tracing::warn;

/// How long a delivery may take to arrive and to be executed; the relayer waits as long. What has begun to execute is executed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// The routes.
pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/operator/v1/status", get(status))
        .route("/operator/v1/deliver", post(deliver))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_DELIVERY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DELIVERY_TIMEOUT))
        .with_state(service)
}

async fn status(State(service): State<Arc<Service>>) -> Response {
    match blocking(service, Service::status).await {
        Ok(Ok(status)) => encoded(&status),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
}

async fn deliver(State(service): State<Arc<Service>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return unread(&rejection),
    };
    let delivery = match Delivery::decode_bounded(&body) {
        Ok(delivery) => delivery,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, "invalid", &error.to_string(), "upgrade the relayer"),
    };
    match blocking(service, move |service| service.deliver(delivery)).await {
        Ok(Ok(Ok(status))) => encoded(&status),
        Ok(Ok(Err(error))) => refused(&error),
        Ok(Err(stopped)) | Err(stopped) => internal(&stopped),
    }
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

fn encoded(status: &TeeStatus) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], status.encode()).into_response()
}
