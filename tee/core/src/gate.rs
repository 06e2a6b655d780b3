//! The gatekeeper's role: its seat, and the inquiries it has to answer.
//!
//! Guarantees: an inquiry is answered only from records proved against this TEE's own finalised head; a seat is made only on a
//! development network, until there is a key generation among many. Anyone may inquire: what waits is bounded, and each request is
//! answered once, the same bytes being repeated until they are forgotten.

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
    machine::{draw, draw_secret, Machine, MachineFault},
    tee::Notice,
};
use phala_attest::{AdvisoryPolicy, Bans, PolicyTerms};
use phala_crypto::Secret;
use phala_gatekeeper::{Facts, Refusal, Seat};
use phala_protocol::{
    chain_state::{AllowedMeasurement, ClusterRecord, RootRecord, WorkerRecord},
    ids::BlockNumber,
    relay::{KeyInquiry, Outgoing},
    storage, Hash,
};
use std::collections::{BTreeMap, BTreeSet};

const SEAT: &str = "seat";
/// Inquiries that wait for their facts.
const MAX_WAITING: usize = 64;
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
    waiting: BTreeMap<Hash, KeyInquiry>,
    /// Measurements of workers that wait, whose allow-list entries have to be proved.
    measurements: BTreeSet<Hash>,
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
        Ok(Self { seat, ..Self::default() })
    }

    pub(crate) fn has_seat(&self) -> bool {
        self.seat.is_some()
    }

    pub(crate) fn inquire(&mut self, inquiries: Vec<KeyInquiry>) {
        for inquiry in inquiries {
            let payload = inquiry.request.request.signing_payload();
            if self.waiting.len() < MAX_WAITING && !self.answered.contains_key(&payload) {
                self.waiting.insert(payload, inquiry);
            }
        }
    }

    pub(crate) fn wanted_keys(&self) -> Vec<Vec<u8>> {
        let mut keys = vec![storage::TERMS.to_vec(), storage::BANS.to_vec(), storage::ADVISORIES.to_vec()];
        for inquiry in self.waiting.values() {
            keys.push(storage::cluster_key(inquiry.request.request.cluster));
            keys.push(storage::worker_key(&inquiry.request.request.worker));
        }
        keys.extend(self.measurements.iter().map(storage::measurement_key));
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
        let Some(rules) = Rules::of(records)? else { return Ok(()) };
        let mut measurements = BTreeSet::new();
        for (payload, inquiry) in std::mem::take(&mut self.waiting) {
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
                    Err(_) => {
                        self.waiting.insert(payload, inquiry);
                    }
                },
                Err(measurement) => {
                    measurements.extend(measurement);
                    self.waiting.insert(payload, inquiry);
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
        let mut measurement = None;
        if let Some(record) = worker.as_ref() {
            match records.get::<AllowedMeasurement>(&storage::measurement_key(&record.measurement))? {
                Shown::Nothing => return Ok(Err(Some(record.measurement))),
                Shown::Absent => {}
                Shown::Value(entry) => measurement = Some(entry),
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
