//! A TEE's operator endpoint: `GET /operator/v1/status`, `POST /operator/v1/deliver`, and `/operator/v1/snapshot`, where a worker makes a
//! snapshot of its cluster's state and gives its parts one after the other.

use crate::snapshots::MAX_PART_MESSAGE;
use codec::{Decode, DecodeLimit, Encode};
use phala_client::{worker::IDLE, ClientError, ErrorCode};
use phala_protocol::{
    relay::{Delivery, TeeStatus, MAX_DELIVERY_BYTES},
    snapshot::{SnapshotHeader, SnapshotPart},
    Hash,
};
use std::time::Duration;

/// A delivery may hold megabytes of commands to execute.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of an answer that is neither a status nor a part.
const MAX_SHORT_BYTES: usize = 64 * 1024;

/// Where a TEE takes deliveries.
pub(crate) struct Operator {
    url: String,
    http: reqwest::Client,
}

impl Operator {
    pub(crate) fn new(url: &str) -> Result<Self, ClientError> {
        let http =
            reqwest::Client::builder().timeout(TIMEOUT).pool_idle_timeout(IDLE).build().map_err(|error| {
                ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}"))
            })?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn status(&self) -> Result<TeeStatus, ClientError> {
        self.answer(self.http.get(format!("{}/operator/v1/status", self.url)), MAX_DELIVERY_BYTES).await
    }

    pub(crate) async fn deliver(&self, delivery: &Delivery) -> Result<TeeStatus, ClientError> {
        let request = self.http.post(format!("{}/operator/v1/deliver", self.url)).body(delivery.encode());
        self.answer(request, MAX_DELIVERY_BYTES).await
    }

    /// Has a worker make a snapshot. Its parts are asked for in their order; another is begun when one is refused.
    pub(crate) async fn make_snapshot(&self) -> Result<SnapshotHeader, ClientError> {
        self.answer(self.http.post(format!("{}/operator/v1/snapshot", self.url)), MAX_SHORT_BYTES).await
    }

    /// The part at `index` of the snapshot that it made last.
    pub(crate) async fn snapshot_part(&self, id: &Hash, index: u32) -> Result<SnapshotPart, ClientError> {
        let url = format!("{}/operator/v1/snapshot/{}/{index}", self.url, hex::encode(id));
        self.answer(self.http.get(url), MAX_PART_MESSAGE).await
    }

    /// The answer, of at most `most` bytes.
    async fn answer<T: Decode>(&self, request: reqwest::RequestBuilder, most: usize) -> Result<T, ClientError> {
        let unreachable = |error: reqwest::Error| {
            ClientError::new(ErrorCode::Unreachable, format!("the TEE at {} does not answer: {error}", self.url))
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > most {
                return Err(ClientError::new(ErrorCode::Unverified, "the TEE's answer is too long"));
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
        T::decode_all_with_depth_limit(16, &mut body.as_slice())
            .map_err(|_| ClientError::new(ErrorCode::Unverified, "the TEE's answer is malformed"))
    }
}
