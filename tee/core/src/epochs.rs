//! Epoch keys in a worker: asking the gatekeepers for them, and deriving from their answers.
//!
//! Keys are of an era and an epoch: the chain says which era's root gives an epoch's keys, and while it goes over to another root the next
//! epoch can change from one era to the other after its keys were fetched.
//!
//! Guarantees: keys live in memory only and are wiped when their epoch is over, or is of another era after all; every answer is checked
//! against the root that the chain records of the era that was asked, and against the request that this process made since it started, so
//! an old answer is worth nothing. Each request has a key pair of its own that its answer is sealed to: drawn for it, never kept, and wiped
//! with an answer that gives all, with the keys that others gave, soon after another request took its place, and with the process.
//! Gatekeepers control whether they answer; hosts whether it arrives.
//!
//! An answer is not signed, and whoever saw a request can make one. So a request is answered when all that its seat has to give is proved,
//! and by nothing less: what does not hold, or leaves something out, changes nothing that waits and takes nothing away that was given. Where `t`
//! seats are honest, and their answers arrive, the keys do, whatever comes beside them. What is opened in vain is bounded for each delivery
//! (`cluster/answers.rs`), counted, and told once for each request.
//!
//! Does not: help against whoever takes the machine while a request waits, who has its key, and is given that epoch's keys anyway.

use crate::{
    chain::Chain,
    identity::Identity,
    machine::{draw, draw_secret, Machine, MachineFault},
    roots::Roots,
};
use codec::Encode;
use phala_crypto::{kdf, xwing::DecapsulationKey, Secret};
use phala_gatekeeper::{open_grant, GrantError, Grants};
use phala_protocol::{
    chain_state::{ClusterRecord, RootRecord},
    domain,
    hash::blake2_256,
    ids::BlockNumber,
    keys::{answer_key_hash, KeyAnswer, KeyPurpose, KeyRequest, SignedKeyRequest},
    limits::KEY_REQUEST_BLOCKS,
    ClusterId, Epoch, Hash, WorkerId,
};
use std::{collections::BTreeMap, sync::Arc};

/// Blocks after which a request that is not answered in full is made anew, and a seat is asked again whose answer was not enough with others'.
const RETRY_BLOCKS: BlockNumber = 20;
/// Blocks for which an answer to a request is taken: it may be on its way while another request has taken the place of its own.
const ANSWER_BLOCKS: BlockNumber = 2 * RETRY_BLOCKS;
// No gatekeeper finds a request too old whose answer is still taken, unless it knows of more blocks than are between two requests.
const _: () = assert!(ANSWER_BLOCKS + RETRY_BLOCKS <= KEY_REQUEST_BLOCKS);

/// An epoch, and the era whose root gives its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EpochOf {
    pub era: u32,
    pub epoch: Epoch,
}

impl EpochOf {
    /// The open epoch or the one before, of the era that the record gives it to. None for all others.
    pub(crate) fn begun(record: &ClusterRecord, epoch: Epoch) -> Option<Self> {
        // Without the next, whose era the record alone does not say.
        let era = record.era_of(epoch, record.era).filter(|_| epoch <= record.epoch)?;
        Some(Self { era, epoch })
    }
}

/// The keys of one epoch; an epoch that is only taken over from gives its storage key alone.
pub(crate) struct EpochKeys {
    pub storage: Secret<[u8; 32]>,
    pub envelope: Option<DecapsulationKey>,
    pub commit: Option<Secret<[u8; 32]>>,
    /// What contracts draw from ([`crate::random`]); shared, not copied, with the items that are executed.
    pub entropy: Option<Arc<Secret<[u8; 32]>>>,
}

impl EpochKeys {
    /// From the root's output for each purpose: none without that of the storage key.
    fn derive(output: impl Fn(KeyPurpose) -> Option<Secret<[u8; 32]>>) -> Option<Self> {
        let storage = kdf::derive(&output(KeyPurpose::Storage)?, domain::EPOCH_STORAGE, &[]);
        let envelope = output(KeyPurpose::Envelope)
            .map(|seed| DecapsulationKey::from_seed(&kdf::derive(&seed, domain::EPOCH_ENVELOPE, &[])));
        let commit = output(KeyPurpose::Commit).map(|seed| kdf::derive(&seed, domain::EPOCH_COMMIT, &[]));
        let entropy = output(KeyPurpose::Entropy).map(|seed| Arc::new(kdf::derive(&seed, domain::EPOCH_ENTROPY, &[])));
        Some(Self { storage, envelope, commit, entropy })
    }

    /// Whether commands of the epoch can be executed.
    pub(crate) fn is_full(&self) -> bool {
        self.envelope.is_some() && self.commit.is_some() && self.entropy.is_some()
    }
}

/// The keys a worker has and is asking for.
#[derive(Default)]
pub(crate) struct Epochs {
    keys: BTreeMap<EpochOf, EpochKeys>,
    gathered: BTreeMap<EpochOf, Gathered>,
    asked: BTreeMap<Hash, Asked>,
}

struct Asked {
    signed: SignedKeyRequest,
    /// Seed of the pair that the answer is sealed to, of this request alone.
    answer_seed: Secret<[u8; 32]>,
    at: BlockNumber,
    /// Another one of the same seat has taken its place: it is not sent any more.
    superseded: bool,
    /// Hash of the last answer that was taken and did not give all: its sender repeats it, and it is not opened again.
    partial: Option<Hash>,
    /// Whether an answer to it was refused.
    refused: bool,
}

impl Asked {
    fn of(&self) -> EpochOf {
        EpochOf { era: self.signed.request.era, epoch: self.signed.request.epoch }
    }
}

/// Answers that are not enough yet, and when each seat gave all it has.
#[derive(Default)]
struct Gathered {
    grants: Grants,
    answered: BTreeMap<WorkerId, BlockNumber>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It says nothing new: the same was taken before, or the root of its era is not known now.
    Nothing,
    /// It was taken. Names the epoch whose keys are here with it: all of them, or the storage key of one that is only taken over from.
    Taken(Option<Epoch>),
    /// It proves nothing, or not all that it says: the request waits as before.
    Refused {
        /// Of whose answer it was said to be.
        gatekeeper: WorkerId,
        of: EpochOf,
        error: GrantError,
        /// Whether it is the first that was refused to this request.
        first: bool,
    },
}

impl Epochs {
    pub(crate) fn get(&self, of: EpochOf) -> Option<&EpochKeys> {
        self.keys.get(&of)
    }

    /// The keys of the open epoch or of the one before.
    pub(crate) fn begun(&self, record: &ClusterRecord, epoch: Epoch) -> Option<&EpochKeys> {
        self.get(EpochOf::begun(record, epoch)?)
    }

    /// Forgets every epoch that is not wanted any more, its keys and what was asked for them: one of a former era too, when the epoch is
    /// of another.
    pub(crate) fn retain(&mut self, wanted: &[EpochOf]) {
        self.keys.retain(|of, _| wanted.contains(of));
        self.gathered.retain(|of, _| wanted.contains(of));
        self.asked.retain(|_, asked| wanted.contains(&asked.of()));
    }

    /// Makes requests for an epoch to all seats of its era's `root`, unless they are under way or were answered just now.
    pub(crate) fn ask(
        &mut self,
        of: EpochOf,
        cluster: ClusterId,
        root: &RootRecord,
        chain: &Chain,
        identity: &Identity,
        machine: &dyn Machine,
    ) -> Result<(), MachineFault> {
        let (now, _) = chain.head();
        let recent = |at: BlockNumber| now.saturating_sub(at) < RETRY_BLOCKS;
        self.asked.retain(|_, asked| asked.of() != of || now.saturating_sub(asked.at) < ANSWER_BLOCKS);
        for asked in self.asked.values_mut().filter(|asked| asked.of() == of) {
            asked.superseded |= !recent(asked.at);
        }
        for gatekeeper in &root.seats {
            let asks =
                |asked: &Asked| !asked.superseded && asked.of() == of && asked.signed.request.gatekeeper == *gatekeeper;
            let under_way = self.asked.values().any(asks);
            let answered = self.gathered.get(&of).and_then(|gathered| gathered.answered.get(gatekeeper));
            if under_way || answered.is_some_and(|at| recent(*at)) {
                continue;
            }
            let answer_seed = draw_secret(machine)?;
            let answers = DecapsulationKey::from_seed(&answer_seed);
            let request = KeyRequest {
                genesis: *chain.genesis(),
                worker: identity.id(),
                gatekeeper: *gatekeeper,
                cluster,
                era: of.era,
                epoch: of.epoch,
                nonce: draw(machine)?,
                answer_key: answer_key_hash(answers.public_key()),
                at: now,
            };
            let payload = request.signing_payload();
            let signed = SignedKeyRequest {
                request,
                public_key: answers.public_key().to_vec(),
                signature: identity.sign(&payload),
            };
            let asked = Asked { signed, answer_seed, at: now, superseded: false, partial: None, refused: false };
            self.asked.insert(payload, asked);
        }
        Ok(())
    }

    /// Lets go of what was asked and answered of an epoch whose keys are here, as far as they are needed.
    pub(crate) fn settle(&mut self, of: EpochOf) {
        self.gathered.remove(&of);
        self.asked.retain(|_, asked| asked.of() != of);
    }

    /// Requests that are to be sent.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &SignedKeyRequest> {
        self.asked.values().filter(|asked| !asked.superseded).map(|asked| &asked.signed)
    }

    /// Whether an answer to this request is waited for.
    pub(crate) fn waits_for(&self, payload: &Hash) -> bool {
        self.asked.contains_key(payload)
    }

    /// Takes an answer to a request that waits, seen from block `now`. Whatever is wrong with it is the sender's matter, who may be anybody.
    pub(crate) fn answered(&mut self, payload: &Hash, answer: &KeyAnswer, roots: &Roots, now: BlockNumber) -> Heard {
        let Some(asked) = self.asked.get_mut(payload) else { return Heard::Nothing };
        let (request, of) = (asked.signed.request, asked.of());
        let Some(root) = roots.of_era(of.era) else { return Heard::Nothing };
        let name = blake2_256(&answer.encode());
        if asked.partial == Some(name) {
            return Heard::Nothing;
        }
        let grant = match open_grant(&DecapsulationKey::from_seed(&asked.answer_seed), &request, root, answer) {
            Ok(grant) => grant,
            Err(error) => {
                let first = !std::mem::replace(&mut asked.refused, true);
                return Heard::Refused { gatekeeper: request.gatekeeper, of, error, first };
            }
        };
        let gathered = self.gathered.entry(of).or_default();
        if grant.is_whole() {
            self.asked.remove(payload);
            gathered.answered.insert(request.gatekeeper, now);
        } else {
            // Its seat may have more to give, and somebody else may have left that out: only all of it is the last word.
            asked.partial = Some(name);
        }
        // Keys cost as many multiplications as there are shares, and whoever knows an evaluation can seal it again and again.
        let is_news = gathered.grants.add(grant);
        Heard::Taken(if is_news { self.combine(of, root) } else { None })
    }

    /// Makes keys of what was gathered of an epoch. Returns it if that is more than was here.
    fn combine(&mut self, of: EpochOf, root: &RootRecord) -> Option<Epoch> {
        let gathered = self.gathered.get(&of)?;
        let keys = EpochKeys::derive(|purpose| gathered.grants.key(root.threshold, purpose))?;
        // Seats at different heads give different purposes: what some left out, others may still give.
        let full = keys.is_full();
        if full {
            self.settle(of);
        }
        let had = self.keys.get(&of).map(EpochKeys::is_full);
        if had == Some(true) || (had == Some(false) && !full) {
            return None;
        }
        self.keys.insert(of, keys);
        Some(of.epoch)
    }
}

#[cfg(test)]
mod tests;
