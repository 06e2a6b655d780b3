//! What the chain holds of the gatekeepers in the ceremony under way, of a root's or of identities, of which their introductions can be put
//! together.
//!
//! A registration and its evidence stand in the extrinsic that registered them, in the block that the record names; the key under which a
//! gatekeeper receives in the attempt, announced under its identity, stands beside a seat's or holder's first complaint, where the chain took
//! it. So whoever accuses a dealer is introduced to it although its own letters reach nobody, and an introduction that somebody sent is told from a forged one. What does not stand on chain is
//! collateral: this relayer has it for the platforms of its own files.
//!
//! Anybody can put anything into a block, and an operator can hide its evidence among others: of all that looks like a registration,
//! whoever signed it, one is taken that this relayer's collateral proves. Where it has none for the platform, what stands there alone is
//! taken, and of several none.
//!
//! Guarantees: bounded memory, and a bounded look at the chain every few seconds, whatever node and TEEs say. What is found is the
//! node's word; gatekeepers judge the evidence. Does not find: what was registered by a call that does not stand in the block itself, what
//! stands behind more forgeries with good documents than are verified, nor what was in a block that the node has no more.

use crate::mail::Registered;
use codec::{Decode, DecodeWithMemLimit, Encode};
use phala_attest::Evidence;
use phala_client::{Chain, ClientError, ErrorCode};
use phala_protocol::{
    attestation::{encryption_key_hash, Registration, Role},
    ceremony::{AnnouncedKey, CeremonyRecord, Introduction, MAX_SEATS},
    chain_state::WorkerRecord,
    identities::IdentityCeremonyRecord,
    ids::BlockNumber,
    limits::MAX_EVIDENCE_BYTES,
    storage, Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How often the chain is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// Blocks that are read at one look; the rest is read at the next.
const MOST_BLOCKS: usize = 16;
/// Bytes of memory that evidence takes, decoded.
const MAX_EVIDENCE_MEMORY: usize = 2 * MAX_EVIDENCE_BYTES as usize;

/// Registrations of one identity that are kept while there is no collateral to tell which is true.
const MOST_CANDIDATES: usize = 8;
/// Registrations in one block that are verified in vain for one identity: a few tenths of a second.
const MOST_REFUSED: usize = 128;

/// A registration, and SCALE of the evidence beside it.
pub(crate) type Evidenced = (Registration, Vec<u8>);

/// What this relayer can say of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is that registration's, and of the machine in the record.
    Proved,
    /// There is no collateral of its platform here, or none that is good now.
    Unknown,
    /// It is none, and nothing had to be verified to see that.
    Foreign,
    /// It was verified, and is refused.
    Refused,
}

/// Where it is looked. [`Chain`] is one; tests have another.
pub(crate) trait Registry {
    /// The ceremony of a root under way.
    async fn ceremony(&self) -> Result<Option<CeremonyRecord>, ClientError>;
    /// The ceremony of identities under way.
    async fn identity_ceremony(&self) -> Result<Option<IdentityCeremonyRecord>, ClientError>;
    async fn worker(&self, identity: &WorkerId) -> Result<Option<WorkerRecord>, ClientError>;
    /// A block's extrinsics; nothing when the node does not have them.
    async fn extrinsics(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError>;
}

impl Registry for Chain {
    async fn ceremony(&self) -> Result<Option<CeremonyRecord>, ClientError> {
        self.storage(&storage::ceremony_key(), None).await
    }

    async fn identity_ceremony(&self) -> Result<Option<IdentityCeremonyRecord>, ClientError> {
        self.storage(&storage::identity_ceremony_key(), None).await
    }

    async fn worker(&self, identity: &WorkerId) -> Result<Option<WorkerRecord>, ClientError> {
        self.storage(&storage::worker_key(identity), None).await
    }

    async fn extrinsics(&self, number: BlockNumber) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
        let body = async { self.body(&self.block_hash(Some(number)).await?).await };
        match body.await {
            Ok(extrinsics) => Ok(Some(extrinsics)),
            Err(error) if error.code == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The ceremonies under way and what the chain holds of those in them.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    record: Option<CeremonyRecord>,
    of_identities: Option<IdentityCeremonyRecord>,
    pub registered: Arc<BTreeMap<WorkerId, Registered>>,
}

impl Seats {
    /// Introductions to `own` of seats that lack something of a dealer, as far as nothing is lacking in them; `keys` are what stands beside
    /// complaints of `attempt`, by the index of the seat.
    pub(crate) fn accusers(
        &self,
        own: &WorkerId,
        attempt: (u32, u32),
        keys: &[(u16, AnnouncedKey)],
    ) -> Vec<Introduction> {
        let record = self.record.as_ref().filter(|record| (record.era, record.attempt) == attempt);
        let seats = record.into_iter().flat_map(|record| (1..=u16::MAX).zip(&record.seats));
        let lacking = seats.filter(|(_, seat)| seat.confirmed.is_none() && seat.left_out.is_none());
        self.introduce(lacking.map(|(index, seat)| (index, &seat.gatekeeper, seat.key)), own, keys)
    }

    /// The same of holders of identities, who are dealt shares of both keys; dealers are introduced to them by nobody but themselves.
    pub(crate) fn accusers_of_identities(
        &self,
        own: &WorkerId,
        attempt: (u32, u32),
        keys: &[(u16, AnnouncedKey)],
    ) -> Vec<Introduction> {
        let record = self.of_identities.as_ref().filter(|record| (record.era, record.attempt) == attempt);
        let holders = record.into_iter().flat_map(|record| (1..=u16::MAX).zip(&record.holders));
        let lacking = holders.filter(|(_, holder)| holder.confirmed.is_none() && holder.left_out.is_none());
        self.introduce(lacking.map(|(index, holder)| (index, &holder.gatekeeper, holder.key)), own, keys)
    }

    /// Of those that complained, by index, with the hash of the key under which they did.
    fn introduce<'a>(
        &self,
        lacking: impl Iterator<Item = (u16, &'a WorkerId, Option<Hash>)>,
        own: &WorkerId,
        keys: &[(u16, AnnouncedKey)],
    ) -> Vec<Introduction> {
        let accusers = lacking.filter(|(_, gatekeeper, key)| *gatekeeper != own && key.is_some());
        let introductions = accusers.filter_map(|(index, gatekeeper, hash)| {
            let mut its_own = keys.iter().filter(|(of, _)| *of == index).map(|(_, key)| key);
            let key = its_own.find(|announced| Some(encryption_key_hash(&announced.key)) == hash)?;
            Some(self.registered.get(gatekeeper)?.announcing(key))
        });
        introductions.filter(|introduction| !introduction.collateral.is_empty()).collect()
    }

    /// Those that take part in either ceremony.
    fn taking_part(&self) -> BTreeSet<WorkerId> {
        let seats = self.record.iter().flat_map(|record| &record.seats).take(MAX_SEATS);
        let dealers = self.of_identities.iter().flat_map(|record| &record.dealers).take(MAX_SEATS);
        let holders = self.of_identities.iter().flat_map(|record| &record.holders).take(MAX_SEATS);
        let seats = seats.filter(|seat| seat.left_out.is_none()).map(|seat| seat.gatekeeper);
        let dealers = dealers.filter(|dealer| dealer.left_out.is_none()).map(|dealer| dealer.gatekeeper);
        let holders = holders.filter(|holder| holder.left_out.is_none()).map(|holder| holder.gatekeeper);
        seats.chain(dealers).chain(holders).collect()
    }
}

/// What was found.
#[derive(Default)]
pub(crate) struct Registrations(Mutex<Found>);

#[derive(Default)]
struct Found {
    looked: Option<Instant>,
    seats: Arc<Seats>,
    /// By identity: since which block it is registered, and what may be what it registered with.
    known: BTreeMap<WorkerId, (BlockNumber, Candidates)>,
}

/// What may be an identity's registration.
#[derive(Debug, Default, PartialEq, Eq)]
struct Candidates {
    all: Vec<Evidenced>,
    /// There is one, and it was verified.
    is_proved: bool,
}

impl Candidates {
    /// Takes one of them; false when no other need be looked at.
    fn add(&mut self, candidate: Evidenced, refused: &mut usize, judged: Judged) -> bool {
        match judged {
            Judged::Proved => {
                *self = Self { all: vec![candidate], is_proved: true };
                return false;
            }
            Judged::Unknown if self.all.len() < MOST_CANDIDATES && !self.all.contains(&candidate) => {
                self.all.push(candidate);
            }
            Judged::Unknown | Judged::Foreign => {}
            Judged::Refused => *refused += 1,
        }
        *refused < MOST_REFUSED
    }

    /// The registration, if it is known which it is.
    fn the_one(
        &mut self,
        worker: &WorkerRecord,
        judge: &impl Fn(&Evidenced, &WorkerRecord) -> Judged,
    ) -> Option<&Evidenced> {
        if !self.is_proved {
            let (before, mut refused) = (std::mem::take(&mut self.all), 0);
            for candidate in before {
                let judged = judge(&candidate, worker);
                if !self.add(candidate, &mut refused, judged) {
                    break;
                }
            }
        }
        match self.all.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl Registrations {
    /// What the chain holds of those in the ceremonies under way, as of some seconds ago; `collateral` has the relayer's own for evidence,
    /// and `judge` says what it proves.
    pub(crate) async fn seats(
        &self,
        node: &impl Registry,
        collateral: impl Fn(&[u8]) -> Vec<u8>,
        judge: impl Fn(&Evidenced, &WorkerRecord) -> Judged,
        now: Instant,
    ) -> Result<Arc<Seats>, ClientError> {
        let mut found = self.0.lock().await;
        if found.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= INTERVAL) {
            // Also if it fails: a node that does not answer is not asked more often.
            found.looked = Some(now);
            found.look(node, collateral, judge).await?;
        }
        Ok(found.seats.clone())
    }
}

impl Found {
    async fn look(
        &mut self,
        node: &impl Registry,
        collateral: impl Fn(&[u8]) -> Vec<u8>,
        judge: impl Fn(&Evidenced, &WorkerRecord) -> Judged,
    ) -> Result<(), ClientError> {
        let (record, of_identities) = (node.ceremony().await?, node.identity_ceremony().await?);
        let mut seats = Seats { record, of_identities, ..Seats::default() };
        let identities = seats.taking_part();
        self.known.retain(|identity, _| identities.contains(identity));
        let (mut registered, mut blocks) = (BTreeMap::new(), 0);
        for identity in identities {
            let worker = node.worker(&identity).await?.filter(|worker| worker.role == Role::Gatekeeper);
            let Some(worker) = worker else { continue };
            let is_known = self.known.get(&identity).is_some_and(|(since, _)| *since == worker.registered_at);
            if !is_known {
                if blocks >= MOST_BLOCKS {
                    continue;
                }
                blocks += 1;
                let extrinsics = node.extrinsics(worker.registered_at).await?.unwrap_or_default();
                let candidates = find(&extrinsics, &identity, &worker, &judge);
                if candidates.all.is_empty() {
                    tracing::debug!(%identity, block = worker.registered_at, "the node shows no evidence of a gatekeeper");
                }
                self.known.insert(identity, (worker.registered_at, candidates));
            }
            let known = self.known.get_mut(&identity);
            if let Some((registration, evidence)) = known.and_then(|(_, known)| known.the_one(&worker, &judge)) {
                let (registration, evidence, collateral) = (*registration, evidence.clone(), collateral(evidence));
                registered.insert(identity, Registered { registration, evidence, collateral });
            }
        }
        seats.registered = Arc::new(registered);
        self.seats = Arc::new(seats);
        Ok(())
    }
}

/// What may be the registration of `identity` in a block, whoever signed the transaction, and wherever in it: one that is proved, or what
/// nothing is known of.
fn find(
    extrinsics: &[Vec<u8>],
    identity: &WorkerId,
    worker: &WorkerRecord,
    judge: &impl Fn(&Evidenced, &WorkerRecord) -> Judged,
) -> Candidates {
    let mark = (worker.role, identity).encode();
    let (mut candidates, mut refused) = (Candidates::default(), 0);
    for extrinsic in extrinsics {
        let marked = extrinsic.windows(mark.len()).enumerate().filter(|(_, bytes)| *bytes == mark.as_slice());
        for (position, _) in marked {
            let Some(found) = extrinsic.get(position..).and_then(|rest| registration_at(rest, worker)) else {
                continue;
            };
            let judged = judge(&found, worker);
            if !candidates.add(found, &mut refused, judged) {
                return candidates;
            }
        }
    }
    candidates
}

fn registration_at(mut bytes: &[u8], worker: &WorkerRecord) -> Option<Evidenced> {
    let registration = Registration::decode(&mut bytes).ok()?;
    if (registration.encryption_key, registration.operator) != (worker.encryption_key, worker.operator) {
        return None;
    }
    let mut rest = bytes;
    Evidence::decode_with_mem_limit(&mut rest, MAX_EVIDENCE_MEMORY).ok()?;
    let evidence = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
    (evidence.len() <= MAX_EVIDENCE_BYTES as usize).then(|| (registration, evidence.to_vec()))
}

#[cfg(test)]
mod tests;
