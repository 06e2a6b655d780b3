//! A worker's public HTTP endpoint.
//!
//! The host in front of a worker controls every answer: [`WorkerInfo`] is an allegation, and sealed answers are bytes until
//! [`crate::query`] verifies them. Answers are bounded before they are parsed.
//!
//! A refusal that is not inside a sealed answer is the host's word too: from a public endpoint it is always one of `busy`, `stale`, `timeout`
//! and `unreachable`, so that nobody takes it for what an attested worker says, and whoever knows another worker asks that one.

use crate::{ClientError, ErrorCode};
use phala_protocol::{
    ids::BlockNumber,
    limits::{IDLE_CONNECTION_SECONDS, MAX_QUERY_BYTES},
};
use serde::Deserialize;
use std::{convert::identity, time::Duration};

/// Bytes of an answer: the largest sealed answer, or an info with many clusters.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection to a worker is kept that nothing is sent over. Much less than a worker keeps it: what is sent into the end of one fails,
/// and nothing is sent twice here.
pub const IDLE: Duration = Duration::from_secs(5);
const _: () = assert!(2 * IDLE.as_secs() <= IDLE_CONNECTION_SECONDS);

/// Where a worker answers.
#[derive(Clone, Debug)]
pub struct WorkerEndpoint {
    url: String,
    http: reqwest::Client,
}

/// What `/v1/info` says. Fields that this client does not know are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkerInfo {
    /// Genesis hash of the chain that it follows, in hexadecimal.
    pub genesis: String,
    /// Its identity, in hexadecimal.
    pub identity: String,
    /// `worker` or `gatekeeper`.
    #[serde(default)]
    pub role: String,
    /// Its measurement, in hexadecimal.
    #[serde(default)]
    pub measurement: Option<String>,
    /// `simulated` or `hardware`.
    #[serde(default)]
    pub assurance: Option<String>,
    /// The finalised block that it has verified.
    #[serde(default)]
    pub height: BlockNumber,
    /// The clusters that it serves.
    #[serde(default)]
    pub clusters: Vec<ServedCluster>,
    /// SCALE of its registration, in hexadecimal.
    #[serde(default)]
    pub registration: Option<String>,
    /// SCALE of the evidence that it registered with, in hexadecimal.
    #[serde(default)]
    pub evidence: Option<String>,
}

/// A cluster that a worker says it serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServedCluster {
    /// Its id.
    pub cluster: u32,
    /// The epoch.
    #[serde(default)]
    pub epoch: u32,
    /// SCALE of a `QueryKey`, in hexadecimal; none while the worker has not the epoch's keys.
    #[serde(default)]
    pub query_key: Option<String>,
}

impl WorkerEndpoint {
    /// An endpoint such as `http://127.0.0.1:8000`. Nothing is asked yet.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::keeping(url, IDLE)
    }

    /// Keeps a connection for `idle`.
    fn keeping(url: &str, idle: Duration) -> Result<Self, ClientError> {
        let http =
            reqwest::Client::builder().timeout(TIMEOUT).pool_idle_timeout(idle).build().map_err(|error| {
                ClientError::new(ErrorCode::Internal, format!("cannot make an HTTP client: {error}"))
            })?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks who it is and what it serves.
    pub async fn info(&self) -> Result<WorkerInfo, ClientError> {
        let body = self.answer(self.http.get(format!("{}/v1/info", self.url)), from_a_host).await?;
        serde_json::from_slice(&body).map_err(|error| {
            self.error(ErrorCode::Unverified, format!("says something malformed about itself: {error}"))
        })
    }

    /// Hands over a sealed query and returns the sealed answer.
    pub async fn query(&self, sealed: Vec<u8>) -> Result<Vec<u8>, ClientError> {
        if sealed.len() > MAX_QUERY_BYTES {
            return Err(ClientError::new(ErrorCode::OverLimit, "the query is longer than a query may be"));
        }
        self.answer(self.http.post(format!("{}/v1/query", self.url)).body(sealed), from_a_host).await
    }

    /// Asks a gatekeeper, at its operator's address, for its part of a suspension: SCALE of `phala_protocol::brake::SuspensionRequest`, for SCALE of
    /// a `SignedSuspension`. The operator's own host answers: its codes are taken as they are.
    pub async fn sign_suspension(&self, request: Vec<u8>) -> Result<Vec<u8>, ClientError> {
        self.answer(self.http.post(format!("{}/operator/v1/suspension", self.url)).body(request), identity).await
    }

    /// `believed` says what the code of a refusal is worth.
    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        believed: fn(ErrorCode) -> ErrorCode,
    ) -> Result<Vec<u8>, ClientError> {
        let unreachable = |error: reqwest::Error| {
            self.error(
                ErrorCode::Unreachable,
                format!("does not answer: {}", crate::error::chain_of(&error.without_url())),
            )
            .with_hint("`phala status` shows which workers run")
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.error(ErrorCode::Unverified, "answers more than a worker may".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            Err(self.refusal(status.as_u16(), &body, believed))
        }
    }

    /// `{"error":{"code","message","hint"}}`, or whatever stands between us and the worker.
    fn refusal(&self, status: u16, body: &[u8], believed: fn(ErrorCode) -> ErrorCode) -> ClientError {
        #[derive(Deserialize)]
        struct Refusal {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            code: String,
            message: String,
            hint: Option<String>,
        }
        let said = match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error }) => {
                let code = ErrorCode::from_name(&error.code).unwrap_or(ErrorCode::Refused);
                let refusal = self.error(code, format!("refuses: {}", error.message));
                ClientError { hint: error.hint, ..refusal }
            }
            Err(_) => {
                let code = match status {
                    404 => ErrorCode::NotFound,
                    413 => ErrorCode::OverLimit,
                    429 | 503 => ErrorCode::Busy,
                    500..=599 => ErrorCode::Unreachable,
                    _ => ErrorCode::Refused,
                };
                self.error(code, format!("answers with HTTP status {status}"))
            }
        };
        let code = believed(said.code);
        if code == said.code {
            return said;
        }
        // Its hint is advice for a code that it has no say in.
        ClientError { code, ..said }.with_hint(
            "its host says so, and not the TEE: ask another worker, which `--worker URL` names, or check the address",
        )
    }

    pub(crate) fn error(&self, code: ErrorCode, what: String) -> ClientError {
        ClientError::new(code, format!("the worker at {} {what}", self.url))
    }
}

/// The code of a refusal that no TEE has sealed. What passes is what a host can bring about by itself.
const fn from_a_host(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::Busy | ErrorCode::Stale | ErrorCode::Timeout => code,
        _ => ErrorCode::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// A host that answers one question after another, and how many connections it had.
    async fn host() -> (String, Arc<AtomicUsize>) {
        const BODY: &str = r#"{"genesis":"0x00","identity":"0x01"}"#;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, count) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
                    let mut heard = Vec::new();
                    while let Ok(1..) = stream.read_buf(&mut heard).await {
                        if heard.ends_with(b"\r\n\r\n") {
                            heard.clear();
                            stream.write_all(answer.as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
        (url, count)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_and_not_when_its_worker_may_be_about_to_end_it() {
        let (url, count) = host().await;
        let idle = Duration::from_secs(2);
        let endpoint = WorkerEndpoint::keeping(&url, idle).unwrap();
        for _ in 0..3 {
            endpoint.info().await.unwrap();
            // It is kept as soon as the answer was read, by another task.
            tokio::time::sleep(idle / 20).await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        tokio::time::sleep(idle * 3 / 2).await;
        endpoint.info().await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn refusals_keep_the_workers_code_and_hint() {
        let endpoint = WorkerEndpoint::new("http://127.0.0.1:1/").unwrap();
        assert_eq!(endpoint.url(), "http://127.0.0.1:1");
        let body = br#"{"error":{"code":"busy","message":"too many queries","hint":"wait"}}"#;
        let error = endpoint.refusal(429, body, from_a_host);
        assert_eq!((error.code, error.hint.as_deref()), (ErrorCode::Busy, Some("wait")));
        assert!(error.message.contains("too many queries"));
        assert_eq!(endpoint.refusal(503, b"<html>", from_a_host).code, ErrorCode::Busy);
        assert_eq!(endpoint.refusal(418, b"", identity).code, ErrorCode::Refused, "an operator's own host");
    }

    #[test]
    fn no_host_speaks_for_its_worker() {
        let endpoint = WorkerEndpoint::new("http://127.0.0.1:1/").unwrap();
        for code in ErrorCode::ALL {
            let body = format!(r#"{{"error":{{"code":"{}","message":"no","hint":"theirs"}}}}"#, code.as_str());
            let told = endpoint.refusal(404, body.as_bytes(), from_a_host);
            let passes = matches!(code, ErrorCode::Busy | ErrorCode::Stale | ErrorCode::Timeout);
            assert_eq!(told.code, if passes { code } else { ErrorCode::Unreachable });
            assert!(passes || code == ErrorCode::Unreachable || told.what_to_do().contains("another worker"));
            assert_eq!(endpoint.refusal(404, body.as_bytes(), identity).code, code);
        }
        for status in [400, 401, 403, 404, 405, 413, 418, 500, 502] {
            assert_eq!(endpoint.refusal(status, b"", from_a_host).code, ErrorCode::Unreachable, "{status}");
        }
        assert_eq!(endpoint.refusal(404, b"", identity).code, ErrorCode::NotFound);
    }

    #[test]
    fn info_needs_little_and_ignores_the_rest() {
        let json =
            r#"{"genesis":"0x00","identity":"0x01","new":1,"clusters":[{"cluster":0,"epoch":3,"query_key":"0x02"}]}"#;
        let info: WorkerInfo = serde_json::from_str(json).unwrap();
        assert_eq!((info.clusters[0].epoch, info.evidence), (3, None));
    }
}
