//! What governance decides on a network that a test runs, and what the chain proves of it.
//!
//! By the sudo key of a development network, which is published. Guarantees: what is read is proved against a finalised head that was
//! verified from the pinned genesis on; every wait is bounded; a connection that is lost is made again. The node controls whether it
//! answers. Does not: repeat what the chain refuses, unless it is told what passes.

use crate::{
    load::link::{Link, NetworkFile},
    wait_until, Network,
};
use codec::Decode;
use phala_client::{
    chain::{ChainCall, Included, SubmitError},
    Account, ClientError, ErrorCode, Until,
};
use phala_protocol::{
    attestation::{Listing, Role, Version},
    ids::BlockNumber,
    Hash,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// For a release to be listed.
const LISTED_WITHIN: Duration = Duration::from_secs(60);
/// For an answer, and for a call to be in a finalised block.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Who has the sudo key.
const SUDO: &str = "alice";

/// Governance of a development network, and a proved view of its chain.
pub struct Governance {
    runtime: Runtime,
    link: Link,
    sudo: Account,
}

impl Governance {
    /// Of a network that runs. Nothing is connected yet.
    ///
    /// # Panics
    /// When the network's file is none.
    pub fn of(network: &Network) -> Self {
        let file = NetworkFile::read(&network.base).expect("the network has its file");
        let link = Link::new(file.node().expect("it names a node"), file.pin().expect("it pins a chain"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
        Self { runtime, link, sudo: Account::development(SUDO).expect("a development account") }
    }

    /// Has the chain's root make a call. Returns when it is in a finalised block.
    ///
    /// # Errors
    /// What the chain says against it; a timeout when nothing was heard of it, and it may be included yet.
    pub fn decide(&self, call: &ChainCall) -> Result<Included, SubmitError> {
        let submitted = async {
            let network = self.link.network().await;
            let decided = network.chain().submit_sudo(&self.sudo, call, Until::Finalised).await;
            if let Err(SubmitError::Client(error)) = &decided {
                self.link.failed(&network, error).await;
            }
            decided
        };
        let late = || ClientError::new(ErrorCode::Timeout, "nothing was heard of governance's call in time");
        self.bounded(submitted).unwrap_or_else(|| Err(late().into()))
    }

    /// [`Self::decide`] until the chain takes it, or `is_done` says that it is not needed any more. Made again when nothing is heard of it,
    /// and while the chain refuses it for one of these reasons of `pallet`'s, which pass.
    ///
    /// # Panics
    /// When the chain refuses it for another reason, or neither is so in time.
    pub fn decide_within(
        &self,
        what: &str,
        within: Duration,
        call: &ChainCall,
        (pallet, passing): (&str, &[&str]),
        mut is_done: impl FnMut() -> bool,
    ) {
        wait_until(what, within, || match self.decide(call) {
            Ok(_) => true,
            Err(error) => {
                let passes = passing.iter().any(|reason| error.is(pallet, reason));
                let unheard = matches!(error, SubmitError::Client(_) | SubmitError::Rejected { .. });
                assert!(passes || unheard, "{what}: {error}");
                is_done()
            }
        });
    }

    /// Allows a release, for one role. What is simulated has no source that anybody could reproduce it from.
    ///
    /// # Panics
    /// As [`Self::decide_within`].
    pub fn allow(&self, measurement: Hash, role: Role) {
        let (source, version) = ([0; 32], Version(0, 0, 2));
        let listing = Listing { source, version, role: Some(role), not_before: 0, sunset: None };
        let call = ChainCall::allow_measurement(measurement, &listing);
        let passing: &[&str] = &[];
        self.decide_within("governance to list a release", LISTED_WITHIN, &call, ("Attestation", passing), || false);
    }

    /// The fields of all events of this name that `pallet` deposited from block `from` on, oldest first. *The node's word.*
    ///
    /// # Panics
    /// When the node does not answer in time, or has a block's state no more.
    pub fn events_since(&self, pallet: &'static str, name: &str, from: BlockNumber) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for number in from..=self.height() {
            let told = self.ask(|network| async move { network.chain().events_of(pallet, number).await });
            let events = told.expect("the node has the state of the block");
            found.extend(events.into_iter().filter(|event| event.name == name).map(|event| event.fields));
        }
        found
    }

    /// The record under `key` in the newest finalised state, or its absence.
    ///
    /// # Panics
    /// When the node does not answer in time, or its answer does not hold.
    pub fn read<T: Decode>(&self, key: &[u8]) -> Option<T> {
        self.ask(|network| {
            let key = key.to_vec();
            async move { network.read(std::slice::from_ref(&key)).await?.get::<T>(&key) }
        })
    }

    /// Genesis hash of the chain that is pinned.
    pub fn genesis(&self) -> Hash {
        self.ask(|network| async move { Ok(*network.genesis()) })
    }

    /// The newest finalised block.
    pub fn height(&self) -> BlockNumber {
        self.ask(|network| async move { Ok(network.sync().await?.number()) })
    }

    /// What `ask` answers; asked again for as long as the node does not answer.
    ///
    /// # Panics
    /// As [`Self::read`].
    pub fn ask<T, F>(&self, ask: impl FnMut(Arc<phala_client::Network>) -> F) -> T
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let answer = self.bounded(self.link.answer(ask)).expect("the node answers in time");
        answer.expect("what the node answers holds")
    }

    fn bounded<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async { tokio::time::timeout(ANSWERED_WITHIN, what).await }).ok()
    }
}
