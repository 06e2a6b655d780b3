//! A connection to the network's node that is made again when it is lost, and what the network's file says.
//!
//! Guarantees: whoever asks for the network gets one that was connected, however long that takes; its callers bound their waits. What
//! the node answers is verified from the pinned genesis on by [`phala_client::Network`], or is the node's word where that says so.

use anyhow::{Context, Result};
use phala_client::{network::Pin, ClientError, ErrorCode, Network};
use serde_json::{json, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// `network.json` of a running `phala dev`.
#[derive(Clone, Debug)]
pub struct NetworkFile {
    path: PathBuf,
    json: Value,
}

impl NetworkFile {
    /// Reads it from the network's folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("network.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { json: serde_json::from_str(&text).context("network.json is no JSON")?, path })
    }

    /// The processes that run now: the file is read again. Empty when it is being written.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let json = std::fs::read_to_string(&self.path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let pids = json.as_ref().and_then(|json| json["pids"].as_object());
        let number = |pid: &Value| pid.as_u64().and_then(|pid| u32::try_from(pid).ok());
        pids.into_iter().flatten().filter_map(|(name, pid)| Some((name.clone(), number(pid)?))).collect()
    }

    /// The chain that is pinned.
    pub fn pin(&self) -> Result<Pin> {
        Ok(Pin::from_json(&json!({"genesisHash": self.json["genesis"], "anchor": self.json["anchor"]}))?)
    }

    /// Genesis hash, in hexadecimal.
    pub fn genesis(&self) -> Result<&str> {
        self.json["genesis"].as_str().context("network.json names no genesis")
    }

    /// The first node's address.
    pub fn node(&self) -> Result<&str> {
        self.json["node_ws"].as_str().context("network.json names no node")
    }

    /// The machines of a list, `workers` or `gatekeepers`.
    pub fn machines(&self, list: &str) -> Vec<Value> {
        self.json[list].as_array().cloned().unwrap_or_default()
    }
}

/// The connection.
pub struct Link {
    url: String,
    pin: Pin,
    current: Mutex<Option<Arc<Network>>>,
}

impl Link {
    /// To the node at `url`; nothing is connected yet.
    pub fn new(url: &str, pin: Pin) -> Self {
        Self { url: url.to_owned(), pin, current: Mutex::new(None) }
    }

    /// The network, connecting for as long as it takes.
    pub async fn network(&self) -> Arc<Network> {
        let mut current = self.current.lock().await;
        loop {
            if let Some(network) = &*current {
                return network.clone();
            }
            match Network::connect(&self.url, self.pin.clone()).await {
                Ok(network) => *current = Some(Arc::new(network)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Gives up `used` if the error says that it is lost.
    pub async fn failed(&self, used: &Arc<Network>, error: &ClientError) {
        if matches!(error.code, ErrorCode::Unreachable | ErrorCode::Timeout) {
            let mut current = self.current.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, used)) {
                *current = None;
            }
        }
    }

    /// What `ask` answers, asked again for as long as the node does not answer. Other errors are the caller's.
    pub async fn answer<T, F>(&self, mut ask: impl FnMut(Arc<Network>) -> F) -> Result<T, ClientError>
    where
        F: std::future::Future<Output = Result<T, ClientError>>,
    {
        loop {
            let network = self.network().await;
            match ask(network.clone()).await {
                Err(error) if matches!(error.code, ErrorCode::Unreachable | ErrorCode::Timeout) => {
                    self.failed(&network, &error).await;
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}
