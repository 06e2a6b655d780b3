//! The gatekeeper's role: its seat, and the inquiries it has to answer.
//!
//! Guarantees: an inquiry is answered only from records proved against this TEE's own finalised head; a seat is made only on a
//! development network, until there is a key generation among many. Anyone may inquire: what waits is bounded, for each worker too, and is
//! signed by the worker that it names. The signature does not cover evidence and collateral, so that whoever saw a request can send it
//! with others: each copy that differs is judged on its own, and none stands in for another. Each request is answered once, the same
//! bytes being repeated until they are forgotten. Does not: keep a relayer, or many askers with keys of their own, from filling the room
//! until the next proof.

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
    listed::Listed,
    machine::{draw, draw_secret, Machine, MachineFault},
    tee::Notice,
};
use phala_attest::{AdvisoryPolicy, Bans, PolicyTerms};
use phala_crypto::Secret;
use phala_gatekeeper::{check_request, Facts, Refusal, Seat};
use phala_protocol::{
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    ids::BlockNumber,
    relay::{KeyInquiry, Outgoing},
    storage, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

const SEAT: &str = "seat";
/// Inquiries that wait for their facts, and that one delivery brings.
const MAX_WAITING: usize = 64;
/// Of them, those that name one worker.
const MAX_WAITING_OF_ONE: usize = 8;
/// Blocks for which an answer is repeated.
const REPEAT_BLOCKS: BlockNumber = 20;

/// What the head's state says about evidence, whosoever it is.
struct Rules {
    /// Chain time in Unix seconds.
    now: u64,
    terms: PolicyTerms,
    advisories: AdvisoryPolicy,
    bans: Bans,
}

impl Rules {
    /// Nothing unless the proof shows all of them: what is not shown is not empty.
    fn of(records: &Records<'_>) -> Result<Option<Self>, ChainError> {
        let shown = (records.now()?, records.terms()?, records.advisories()?, records.bans()?);
        let (Some(now), Some(terms), Some(advisories), Some(bans)) = shown else { return Ok(None) };
        Ok(Some(Self { now, terms, advisories, bans }))
    }
}

/// The gatekeeper's part of a TEE.
#[derive(Default)]
pub(crate) struct Gate {
    seat: Option<Seat>,
    /// By the worker that asks.
    waiting: BTreeMap<WorkerId, Vec<KeyInquiry>>,
    /// Measurements of workers that wait, whose allow-list entries have to be proved.
    measurements: BTreeSet<Hash>,
    /// Since when it has itself seen what is listed.
    listed: Listed,
    answered: BTreeMap<Hash, (BlockNumber, Outgoing)>,
}

impl Gate {
    /// Restores the seat that this machine keeps, or, on a development network, makes the only one.
    pub(crate) fn open(chain: &Chain, machine: &dyn Machine) -> Result<Self, MachineFault> {
        let name = format!("{SEAT}-{}", phala_protocol::ids::to_hex(chain.genesis().get(..8).unwrap_or_default()));
        let kept = machine.kept(&name)?;
        let mut seat = kept.as_ref().and_then(|bytes: &Secret<Vec<u8>>| Seat::from_secret_bytes(bytes).ok());
        if let (None, Some(token)) = (seat.as_ref(), chain.development()) {
            let made = Seat::lone(token, 0, &draw_secret(machine)?).ok();
            if let Some(made) = made {
                machine.keep(&name, &made.to_secret_bytes())?;
                seat = Some(made);
            }
        }
        Ok(Self { seat, listed: Listed::open(chain, machine)?, ..Self::default() })
    }

    pub(crate) fn has_seat(&self) -> bool {
        self.seat.is_some()
    }

    /// Takes inquiries that are for this gatekeeper and signed by the worker that they name; the others are refused at once.
    pub(crate) fn inquire(
        &mut self,
        inquiries: Vec<KeyInquiry>,
        genesis: &Hash,
        gatekeeper: &WorkerId,
        notices: &mut Vec<Notice>,
    ) {
        for inquiry in inquiries.into_iter().take(MAX_WAITING) {
            let (worker, payload) = (inquiry.request.request.worker, inquiry.request.request.signing_payload());
            if self.answered.contains_key(&payload) {
                continue;
            }
            if let Err(refusal) = check_request(&inquiry.request, genesis, gatekeeper) {
                notices.push(Notice::KeysRefused { worker, refusal });
                continue;
            }
            let all: usize = self.waiting.values().map(Vec::len).sum();
            let of_one = self.waiting.get(&worker).map(Vec::as_slice).unwrap_or_default();
            if all < MAX_WAITING && of_one.len() < MAX_WAITING_OF_ONE && !of_one.contains(&inquiry) {
                self.wait(inquiry);
            }
        }
    }

    fn wait(&mut self, inquiry: KeyInquiry) {
        self.waiting.entry(inquiry.request.request.worker).or_default().push(inquiry);
    }

    pub(crate) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = vec![storage::TERMS.to_vec(), storage::BANS.to_vec(), storage::ADVISORIES.to_vec()];
        let asked: BTreeSet<_> =
            self.waiting.values().flatten().map(|inquiry| inquiry.request.request.cluster).collect();
        keys.extend(asked.into_iter().map(storage::cluster_key));
        keys.extend(self.waiting.keys().map(storage::worker_key));
        keys.extend(self.measurements.iter().map(storage::measurement_key));
        keys.extend(self.listed.wanted_keys());
        keys
    }

    /// Answers or refuses every inquiry whose facts the proof shows.
    pub(crate) fn observe(
        &mut self,
        records: &Records<'_>,
        chain: &Chain,
        identity: &Identity,
        machine: &dyn Machine,
        root: Option<&RootRecord>,
        notices: &mut Vec<Notice>,
    ) -> Result<(), ChainError> {
        let (now, _) = chain.head();
        self.answered.retain(|_, (at, _)| now.saturating_sub(*at) < REPEAT_BLOCKS);
        self.listed.observe(records, chain, machine)?;
        let Some(rules) = Rules::of(records)? else { return Ok(()) };
        let mut measurements = BTreeSet::new();
        for inquiry in std::mem::take(&mut self.waiting).into_values().flatten() {
            let payload = inquiry.request.request.signing_payload();
            if self.answered.contains_key(&payload) {
                continue;
            }
            match self.facts(&inquiry, records, chain, identity, &rules, root)? {
                Ok(facts) => match self.judge(&inquiry, &facts, machine) {
                    Ok(Ok(outgoing)) => {
                        let request = &inquiry.request.request;
                        let (worker, epoch) = (request.worker, request.epoch);
                        notices.push(Notice::KeysGiven { worker, cluster: request.cluster, epoch });
                        self.answered.insert(payload, (now, outgoing));
                    }
                    Ok(Err(refusal)) => {
                        notices.push(Notice::KeysRefused { worker: inquiry.request.request.worker, refusal });
                    }
                    // No entropy now: the inquiry waits.
                    Err(_) => self.wait(inquiry),
                },
                Err(measurement) => {
                    measurements.extend(measurement);
                    self.wait(inquiry);
                }
            }
        }
        self.measurements = measurements;
        Ok(())
    }

    /// The facts about an inquiry, or the measurement that has to be proved too; none when records are missing altogether.
    fn facts(
        &self,
        inquiry: &KeyInquiry,
        records: &Records<'_>,
        chain: &Chain,
        identity: &Identity,
        rules: &Rules,
        root: Option<&RootRecord>,
    ) -> Result<Result<Facts, Option<Hash>>, ChainError> {
        let request = &inquiry.request.request;
        let worker = records.get::<WorkerRecord>(&storage::worker_key(&request.worker))?;
        let cluster = records.get::<ClusterRecord>(&storage::cluster_key(request.cluster))?;
        if worker == Shown::Nothing || cluster == Shown::Nothing {
            return Ok(Err(None));
        }
        let worker = worker.value();
        let (mut measurement, mut seen_since) = (None, None);
        if let Some(record) = worker.as_ref() {
            match records.get::<AllowedMeasurement>(&storage::measurement_key(&record.measurement))? {
                Shown::Nothing => return Ok(Err(Some(record.measurement))),
                Shown::Absent => {}
                Shown::Value(entry) => {
                    seen_since = self.listed.since(&record.measurement, &entry);
                    measurement = Some(entry);
                }
            }
        }
        Ok(Ok(Facts {
            genesis: *chain.genesis(),
            gatekeeper: identity.id(),
            head: chain.head(),
            now: rules.now,
            development: chain.development(),
            terms: rules.terms,
            advisories: rules.advisories.clone(),
            bans: rules.bans.clone(),
            root: root.cloned(),
            cluster: cluster.value(),
            worker,
            measurement,
            seen_since,
        }))
    }

    fn judge(
        &self,
        inquiry: &KeyInquiry,
        facts: &Facts,
        machine: &dyn Machine,
    ) -> Result<Result<Outgoing, Refusal>, MachineFault> {
        let Some(seat) = self.seat.as_ref() else { return Ok(Err(Refusal::RootNotRecorded)) };
        let answer = seat.answer(inquiry, facts, &draw(machine)?, &draw(machine)?);
        let request = &inquiry.request.request;
        Ok(answer.map(|answer| Outgoing::AnswerKeys {
            worker: request.worker,
            request: request.signing_payload(),
            answer,
        }))
    }

    /// What the gatekeeper has for chain and workers. `registered` says that the chain knows it.
    pub(crate) fn outgoing(
        &self,
        chain: &Chain,
        identity: &Identity,
        root: &Shown<RootRecord>,
        registered: bool,
    ) -> Vec<Outgoing> {
        let mut outgoing: Vec<_> = self.answered.values().map(|(_, outgoing)| outgoing.clone()).collect();
        if let (Some(seat), Shown::Absent, true) = (self.seat.as_ref(), root, registered) {
            let root = seat.root_record(vec![identity.id()]);
            let signature = identity.sign(&root.signing_payload(chain.genesis()));
            outgoing.push(Outgoing::RecordRoot { root, signature });
        }
        outgoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_crypto::signature::ed25519::IdentityKey;
    use phala_protocol::{
        attestation::{Registration, Role},
        keys::{KeyRequest, SignedKeyRequest},
        AccountId, ClusterId,
    };

    const GENESIS: Hash = [1; 32];
    const GATEKEEPER: WorkerId = WorkerId([2; 32]);

    /// A worker's inquiry, as it signs it, with some evidence.
    fn inquiry(seed: u8, evidence: u8) -> KeyInquiry {
        let key = IdentityKey::from_seed(&Secret::new([seed; 32]));
        let worker = WorkerId(key.public());
        let (cluster, epoch) = (ClusterId(0), 1);
        let request =
            KeyRequest { genesis: GENESIS, worker, gatekeeper: GATEKEEPER, cluster, epoch, nonce: [seed; 32] };
        let signature = key.sign(&request.signing_payload());
        let registration = Registration {
            role: Role::Worker,
            identity: worker,
            encryption_key: [0; 32],
            operator: AccountId([0; 32]),
            block: 0,
            block_hash: [0; 32],
        };
        KeyInquiry {
            request: SignedKeyRequest { request, encryption_key: Vec::new(), signature },
            registration,
            evidence: vec![evidence],
            collateral: Vec::new(),
        }
    }

    fn refusals(gate: &mut Gate, inquiries: Vec<KeyInquiry>) -> Vec<Refusal> {
        let mut notices = Vec::new();
        gate.inquire(inquiries, &GENESIS, &GATEKEEPER, &mut notices);
        let refusal = |notice| match notice {
            Notice::KeysRefused { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        };
        notices.into_iter().map(refusal).collect()
    }

    fn of_one(gate: &Gate, inquiry: &KeyInquiry) -> Vec<KeyInquiry> {
        gate.waiting.get(&inquiry.request.request.worker).cloned().unwrap_or_default()
    }

    #[test]
    fn what_is_not_signed_by_whom_it_names_takes_no_room() {
        let mut gate = Gate::default();
        let forged = |seed| {
            let mut forged = inquiry(seed, 0);
            forged.request.signature[0] ^= 1;
            forged
        };
        let all = (0..64).map(forged).collect();
        assert_eq!(refusals(&mut gate, all), vec![Refusal::BadSignature; 64]);
        let mut elsewhere = inquiry(1, 0);
        elsewhere.request.request.gatekeeper = WorkerId([3; 32]);
        assert_eq!(refusals(&mut gate, vec![elsewhere]), [Refusal::WrongAddressee]);
        assert!(gate.waiting.is_empty());
        assert!(refusals(&mut gate, vec![inquiry(1, 0)]).is_empty());
        assert_eq!(of_one(&gate, &inquiry(1, 0)), [inquiry(1, 0)]);
    }

    #[test]
    fn a_copy_with_other_evidence_replaces_nothing_and_takes_its_own_workers_room_only() {
        let mut gate = Gate::default();
        let honest = inquiry(1, 0);
        let copies: Vec<_> = (0..60).map(|evidence| inquiry(1, evidence)).collect();
        assert!(refusals(&mut gate, copies.clone()).is_empty() && refusals(&mut gate, copies).is_empty());
        let waiting = of_one(&gate, &honest);
        assert_eq!(waiting.len(), MAX_WAITING_OF_ONE);
        assert_eq!(waiting.first(), Some(&honest));
        let other = inquiry(2, 0);
        refusals(&mut gate, vec![other.clone(), other.clone()]);
        assert_eq!(of_one(&gate, &other), [other], "once");
        // Askers with keys of their own, as many as anybody likes.
        refusals(&mut gate, (3..63).map(|seed| inquiry(seed, 0)).collect());
        let all: usize = gate.waiting.values().map(Vec::len).sum();
        assert_eq!(all, MAX_WAITING);
    }
}
