//! A TEE's operator endpoint: `GET /operator/v1/status`, `POST /operator/v1/deliver`.

use codec::{DecodeLimit, Encode};
use phala_client::{ClientError, ErrorCode};
use phala_protocol::relay::{Delivery, TeeStatus, MAX_DELIVERY_BYTES};
use std::time::Duration;

/// A delivery may hold megabytes of commands to execute.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Where a TEE takes deliveries.
pub(crate) struct Operator {
    url: String,
    http: reqwest::Client,
}

impl Operator {
    pub(crate) fn new(url: &str) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn status(&self) -> Result<TeeStatus, ClientError> {
        self.answer(self.http.get(format!("{}/operator/v1/status", self.url))).await
    }

    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Result<TeeStatus, ClientError> {
        self.answer(self.http.post(format!("{}/operator/v1/deliver", self.url)).body(delivery.encode())).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<TeeStatus, ClientError> {
        let unreachable = |error: reqwest::Error| {
            ClientError::new(ErrorCode::Unreachable, format!("the TEE at {} does not answer: {error}", self.url))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_DELIVERY_BYTES {
                return Err(ClientError::new(ErrorCode::Unverified, "the TEE's status is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(ClientError::new(
                ErrorCode::Refused,
                format!("the TEE at {} refuses: {status} {text}", self.url),
            ));
        }
        TeeStatus::decode_all_with_depth_limit(16, &mut body.as_slice())
            .map_err(|_| ClientError::new(ErrorCode::Unverified, "the TEE's status is malformed"))
    }
}
