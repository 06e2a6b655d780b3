//! The connection to the node, made again whenever it is lost, and the newest finalised height.

use phala_client::{Chain, ClientError, ErrorCode};
use phala_protocol::ids::BlockNumber;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::{watch, Mutex};

/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// A connection that heals.
pub(crate) struct NodeLink {
    url: String,
    chain: Mutex<Option<Chain>>,
    connections: AtomicU64,
    height: watch::Sender<BlockNumber>,
}

impl NodeLink {
    pub(crate) fn new(url: String) -> Self {
        Self { url, chain: Mutex::new(None), connections: AtomicU64::new(0), height: watch::Sender::new(0) }
    }

    /// The connection, waiting for the node as long as it takes.
    pub(crate) async fn chain(&self) -> Chain {
        let mut chain = self.chain.lock().await;
        if let Some(chain) = &*chain {
            return chain.clone();
        }
        let mut backoff = Backoff::default();
        loop {
            match Chain::connect(&self.url).await {
                Ok(connected) => {
                    tracing::info!(node = self.url, "connected to the node");
                    self.connections.fetch_add(1, Ordering::Relaxed);
                    *chain = Some(connected.clone());
                    return connected;
                }
                Err(error) => {
                    if backoff.is_first() {
                        tracing::warn!(%error, "waiting for the node");
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// How often it was connected. A node that was lost in between may have lost extrinsics that it had taken: its pool is in memory.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Drops the connection if the error says that it is lost.
    pub(crate) async fn failed(&self, error: &ClientError) {
        if error.code == ErrorCode::Unreachable && self.chain.lock().await.take().is_some() {
            tracing::warn!(%error, "lost the node");
        }
    }

    /// The newest finalised height, and its changes.
    pub(crate) fn height(&self) -> watch::Receiver<BlockNumber> {
        self.height.subscribe()
    }

    /// Follows finalised heads for ever.
    pub(crate) async fn follow_heads(&self) {
        let mut backoff = Backoff::default();
        loop {
            let chain = self.chain().await;
            match chain.finalised_heads().await {
                Ok(mut heads) => {
                    while let Some(height) = heads.next().await {
                        backoff = Backoff::default();
                        self.height.send_replace(height);
                    }
                    self.failed(&ClientError::new(ErrorCode::Unreachable, "the node stopped announcing heads")).await;
                }
                Err(error) => self.failed(&error).await,
            }
            backoff.wait().await;
        }
    }
}

/// Doubling pauses.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_BACKOFF)
    }
}

impl Backoff {
    pub(crate) fn is_first(&self) -> bool {
        self.0 == FIRST_BACKOFF
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(MAX_BACKOFF);
    }
}
