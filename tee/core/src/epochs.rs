//! Epoch keys in a worker: asking the gatekeepers for them, and deriving from their answers.
//!
//! Guarantees: keys live in memory only and are wiped when their epoch is over; every answer is checked against the root that the
//! chain records and against the request that this process made since it started, so an old answer is worth nothing.
//! Gatekeepers control whether they answer; hosts whether it arrives.

use crate::{
    identity::Identity,
    machine::{draw, Machine, MachineFault},
};
use phala_crypto::{kdf, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{open_grant, Grants};
use phala_protocol::{
    chain_state::RootRecord,
    domain,
    ids::BlockNumber,
    keys::{KeyAnswer, KeyPurpose, KeyRequest, SignedKeyRequest},
    ClusterId, Epoch, Hash,
};
use std::collections::BTreeMap;

/// Blocks after which an unanswered request is made anew.
const RETRY_BLOCKS: BlockNumber = 20;

/// The keys of one epoch; an epoch that is only taken over from gives its storage key alone.
pub(crate) struct EpochKeys {
    pub storage: Secret<[u8; 32]>,
    pub envelope: Option<DecapsulationKey>,
    pub commit: Option<Secret<[u8; 32]>>,
}

impl EpochKeys {
    /// Whether commands of the epoch can be executed.
    pub(crate) fn is_full(&self) -> bool {
        self.envelope.is_some() && self.commit.is_some()
    }
}

/// The keys a worker has and is asking for.
#[derive(Default)]
pub(crate) struct Epochs {
    keys: BTreeMap<Epoch, EpochKeys>,
    grants: BTreeMap<Epoch, Grants>,
    asked: BTreeMap<Hash, Asked>,
}

struct Asked {
    signed: SignedKeyRequest,
    at: BlockNumber,
}

impl Epochs {
    pub(crate) fn get(&self, epoch: Epoch) -> Option<&EpochKeys> {
        self.keys.get(&epoch)
    }

    /// Whether the worker can execute commands of `epoch`.
    pub(crate) fn has_full(&self, epoch: Epoch) -> bool {
        self.get(epoch).is_some_and(EpochKeys::is_full)
    }

    /// Forgets every epoch that is not wanted any more, its keys and what was asked for them.
    pub(crate) fn retain(&mut self, wanted: &[Epoch]) {
        self.keys.retain(|epoch, _| wanted.contains(epoch));
        self.grants.retain(|epoch, _| wanted.contains(epoch));
        self.asked.retain(|_, asked| wanted.contains(&asked.signed.request.epoch));
    }

    /// Makes requests for `epoch` to all seats of `root`, unless they are under way.
    #[expect(clippy::too_many_arguments, reason = "one call site, which has all of it at hand")]
    pub(crate) fn ask(
        &mut self,
        epoch: Epoch,
        cluster: ClusterId,
        genesis: &Hash,
        root: &RootRecord,
        now: BlockNumber,
        identity: &Identity,
        machine: &dyn Machine,
    ) -> Result<(), MachineFault> {
        self.asked
            .retain(|_, asked| asked.signed.request.epoch != epoch || now.saturating_sub(asked.at) < RETRY_BLOCKS);
        for gatekeeper in &root.seats {
            let under_way = self
                .asked
                .values()
                .any(|asked| asked.signed.request.epoch == epoch && asked.signed.request.gatekeeper == *gatekeeper);
            if under_way {
                continue;
            }
            let request = KeyRequest {
                genesis: *genesis,
                worker: identity.id(),
                gatekeeper: *gatekeeper,
                cluster,
                epoch,
                nonce: draw(machine)?,
            };
            let payload = request.signing_payload();
            let signed = SignedKeyRequest {
                request,
                encryption_key: identity.receiving().public_key().to_vec(),
                signature: identity.sign(&payload),
            };
            self.asked.insert(payload, Asked { signed, at: now });
        }
        Ok(())
    }

    /// Requests that wait for an answer.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &SignedKeyRequest> {
        self.asked.values().map(|asked| &asked.signed)
    }

    /// Takes an answer. Returns the epoch whose keys are complete with it. Whatever is wrong with it is the sender's matter:
    /// the request stays open.
    pub(crate) fn answered(
        &mut self,
        payload: &Hash,
        answer: &KeyAnswer,
        root: &RootRecord,
        identity: &Identity,
    ) -> Option<Epoch> {
        let request = self.asked.get(payload)?.signed.request;
        let grant = open_grant(identity.receiving(), &request, root, answer).ok()?;
        self.asked.remove(payload);
        let grants = self.grants.entry(request.epoch).or_default();
        grants.add(grant);
        let key = |purpose| grants.key(root.threshold, purpose);
        let storage = key(KeyPurpose::Storage)?;
        let envelope = key(KeyPurpose::Envelope)
            .map(|seed| DecapsulationKey::from_seed(&kdf::derive(&seed, domain::EPOCH_ENVELOPE, &[])));
        let commit = key(KeyPurpose::Commit).map(|seed| kdf::derive(&seed, domain::EPOCH_COMMIT, &[]));
        let storage = kdf::derive(&storage, domain::EPOCH_STORAGE, &[]);
        self.keys.insert(request.epoch, EpochKeys { storage, envelope, commit });
        self.grants.remove(&request.epoch);
        Some(request.epoch)
    }
}
