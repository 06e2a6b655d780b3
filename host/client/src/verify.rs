//! Verifies a receipt offline: a function of its bytes, a pinned genesis hash, and entropy.
//!
//! Links are checked in order, each resting on those before, and the first that fails ends the list: what follows would be judged on
//! ground that does not hold. Holding a [`Verdict`] whose [`Verdict::holds`] is true proves that the chain with that genesis finalised a
//! state in which more than half of the cluster's replicas - registered, allow-listed TEEs - signed a result that commits this reply.
//!
//! A worker that governance or the brake had shut out in that state breaks the link `evidence and root`. Whoever made the receipt can leave
//! out the chain's list of bans: then [`Verdict::bans_unknown`] says so, and what holds is worth no more than a receipt of a worker that
//! was shut out.
//!
//! It does not prove: that the chain is still there or the newest; that replicas that lied together did not. With
//! [`Verdict::simulated`] "TEE" means "a program with a published key". Whoever made the receipt controls all of it but the pinned
//! hash and the entropy.

use crate::{bans::barred, network::finality_proof, query::is_accepted, receipt::EvidenceOf, ErrorCode, Receipt};
use codec::{Decode, DecodeAll};
use phala_attest::{
    decode_collateral, decode_evidence, verify_collateral, verify_evidence, AcceptedStatuses, Appraisal, Bans,
    DevelopmentGenesis, Policy, PolicyTerms, TrustAnchor,
};
use phala_crypto::{merkle, signature::ed25519};
use phala_light_client::{encode_proof, verify_anchor, verify_storage, LightClient, ProofError, VerifiedHeader};
use phala_protocol::{
    attestation::{Assurance, Registration, Role},
    chain_state::{AllowedMeasurement, ContractRecord, FinalRecord, WorkerRecord},
    finality::FinalityFragment,
    ids::to_hex,
    limits::MAX_FINALITY_FRAGMENTS,
    result::reply_leaf,
    storage, Hash, WorkerId,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The links' names, in their order.
pub const LINKS: [&str; 10] = [
    "genesis",
    "authority sets",
    "block finalised",
    "worker registered",
    "evidence and root",
    "measurement allow-listed",
    "result signed",
    "result finalised",
    "reply included",
    "code hash",
];

/// One link of the chain of reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Which, one of [`LINKS`].
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen, or why it does not hold.
    pub detail: String,
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The links that were checked, in order; the last one may be the one that fails.
    pub links: Vec<Link>,
    /// INSECURE: whether any of the workers is a simulation.
    pub simulated: bool,
    /// Whether the receipt leaves open if any of the workers was revoked or suspended: it has no proof of the chain's list of bans. One
    /// that was made before receipts had it, or by somebody who left it out.
    pub bans_unknown: bool,
}

impl Verdict {
    /// Whether every link holds. Look at [`Self::simulated`] and [`Self::bans_unknown`] too.
    pub fn holds(&self) -> bool {
        self.links.len() == LINKS.len() && self.links.iter().all(|link| link.ok)
    }

    /// The link that fails.
    pub fn failed(&self) -> Option<&Link> {
        self.links.iter().find(|link| !link.ok)
    }

    /// The error code that a failing link has.
    pub fn code(&self) -> Option<ErrorCode> {
        let failed = self.failed()?;
        Some(match failed.name {
            "worker registered" | "evidence and root" | "measurement allow-listed" => ErrorCode::Unattested,
            _ => ErrorCode::Unverified,
        })
    }
}

/// Verifies `receipt` for the chain whose genesis hash is `pinned`. `entropy` is fresh and unknown to whoever made the receipt.
pub fn verify(receipt: &Receipt, pinned: &Hash, entropy: &[u8; 32]) -> Verdict {
    let mut checker = Checker { receipt, pinned, entropy, development: None, simulated: false, bans_unknown: false };
    let mut links = Vec::new();
    // An error is a link that failed and was pushed already.
    let _ = checker.run(&mut links);
    Verdict { links, simulated: checker.simulated, bans_unknown: checker.bans_unknown }
}

/// [`verify`] with the system's entropy.
pub fn verify_now(receipt: &Receipt, pinned: &Hash) -> Result<Verdict, crate::ClientError> {
    Ok(verify(receipt, pinned, &crate::entropy::fresh()?))
}

struct Checker<'a> {
    receipt: &'a Receipt,
    pinned: &'a Hash,
    entropy: &'a [u8; 32],
    /// The token of a chain whose genesis state is marked as a development one; only there a worker may be simulated.
    development: Option<DevelopmentGenesis>,
    simulated: bool,
    bans_unknown: bool,
}

/// A link failed and is in the list.
struct Stop;

type Found<T> = Result<(T, String), String>;

fn link<T>(links: &mut Vec<Link>, name: &'static str, found: Found<T>) -> Result<T, Stop> {
    match found {
        Ok((value, detail)) => {
            links.push(Link { name, ok: true, detail });
            Ok(value)
        }
        Err(detail) => {
            links.push(Link { name, ok: false, detail });
            Err(Stop)
        }
    }
}

fn text(error: impl std::error::Error) -> String {
    crate::error::chain_of(&error)
}

impl Checker<'_> {
    fn run(&mut self, links: &mut Vec<Link>) -> Result<(), Stop> {
        let [genesis, sets, block, registered, evidence, measurement, signed, finalised, included, code] = LINKS;
        let mut light = link(links, genesis, self.genesis())?;
        let head = link(links, sets, self.authority_sets(&mut light))?;
        let header = link(links, block, self.block(&mut light, head))?;
        let state = State { header: &header, proof: encode_proof(&self.receipt.proof) };
        let workers = link(links, registered, self.workers(&state))?;
        link(links, evidence, self.evidence(&state, &workers))?;
        link(links, measurement, self.measurements(&state, &workers))?;
        link(links, signed, self.signed())?;
        link(links, finalised, self.finalised(&state))?;
        link(links, included, self.included())?;
        link(links, code, self.code(&state))
    }

    fn genesis(&mut self) -> Found<LightClient> {
        if self.receipt.genesis != *self.pinned {
            return Err(format!(
                "the receipt is of the chain {}, not of {}",
                to_hex(&self.receipt.genesis),
                to_hex(self.pinned)
            ));
        }
        let light = verify_anchor(self.pinned, &self.receipt.anchor).map_err(text)?;
        let genesis = State { header: light.head(), proof: encode_proof(&self.receipt.anchor.authorities_proof) };
        let marked = genesis.get::<u8>(&storage::DEVELOPMENT)? == Some(1);
        self.development = marked.then(|| DevelopmentGenesis::for_genesis(*self.pinned, &[*self.pinned])).flatten();
        Ok((light, to_hex(self.pinned)))
    }

    /// All fragments but the last end a set; returns the last.
    fn authority_sets(&self, light: &mut LightClient) -> Found<FinalityFragment> {
        let (head, ended) = self.receipt.finality.split_last().ok_or("the receipt has no finality proof")?;
        for fragments in ended.chunks(MAX_FINALITY_FRAGMENTS) {
            let before = light.authorities().id();
            let advance = light.advance(&finality_proof(fragments), self.entropy).map_err(text)?;
            if light.authorities().id().checked_sub(before) != Some(fragments.len() as u64) {
                return Err(format!("block {} ends no authority set", advance.head.number()));
            }
        }
        let authorities = light.authorities();
        Ok((head.clone(), format!("set {} of {} authorities", authorities.id(), authorities.keys().len())))
    }

    fn block(&self, light: &mut LightClient, head: FinalityFragment) -> Found<VerifiedHeader> {
        let header = light.advance(&finality_proof(&[head]), self.entropy).map_err(text)?.head;
        let detail = format!("block {} {}", header.number(), to_hex(header.hash()));
        Ok((header, detail))
    }

    fn workers(&mut self, state: &State<'_>) -> Found<BTreeMap<WorkerId, WorkerRecord>> {
        let record = &self.receipt.record;
        let now_ms: u64 = state.get(&storage::TIMESTAMP_NOW)?.ok_or("the state has no time")?;
        let mut workers = BTreeMap::new();
        for (worker, _) in &record.votes {
            let known: WorkerRecord =
                state.get(&storage::worker_key(worker))?.ok_or(format!("{worker} is not registered"))?;
            if known.role != Role::Worker {
                return Err(format!("{worker} is registered in another role"));
            }
            if known.valid_until <= now_ms / 1000 {
                return Err(format!("the attestation of {worker} has lapsed"));
            }
            self.simulated |= known.assurance == Assurance::Simulated;
            if workers.insert(*worker, known).is_some() {
                return Err(format!("{worker} voted twice"));
            }
        }
        if workers.is_empty() {
            return Err("nobody signed the result".to_owned());
        }
        let names: Vec<String> = workers.keys().map(WorkerId::to_string).collect();
        Ok((workers, names.join(", ")))
    }

    fn evidence(&mut self, state: &State<'_>, workers: &BTreeMap<WorkerId, WorkerRecord>) -> Found<()> {
        let now_ms: u64 = state.get(&storage::TIMESTAMP_NOW)?.ok_or("the state has no time")?;
        if self.simulated && self.development.is_none() {
            return Err("a worker is simulated, and the genesis is not marked as a development one".to_owned());
        }
        let mut again = 0;
        for evidence in &self.receipt.evidence {
            let Some(record) = workers.get(&evidence.worker) else { continue };
            if evidence.collateral.is_empty() {
                continue;
            }
            self.evidence_of(evidence, record, now_ms / 1000)
                .map_err(|why| format!("the evidence of {} does not hold: {why}", evidence.worker))?;
            again += 1;
        }
        let root = if self.simulated { "INSECURE: the public development root" } else { "a vendor's root" };
        let whose = match again {
            0 => "by the chain's record".to_owned(),
            again => format!("verified again for {again} of {}", workers.len()),
        };
        Ok(((), format!("{root}, {whose}; {}", self.bans(state, workers)?)))
    }

    /// What the state says of bans: that none is about these workers, or that the receipt does not show it.
    fn bans(&mut self, state: &State<'_>, workers: &BTreeMap<WorkerId, WorkerRecord>) -> Result<&'static str, String> {
        let Some(bans) = state.shown::<Bans>(&storage::BANS)? else {
            self.bans_unknown = true;
            return Ok("bans unknown: the receipt does not prove the chain's list of them");
        };
        let (bans, height) = (bans.unwrap_or_default(), state.header.number());
        for worker in workers.keys() {
            // What is not shown is not known, and a ban in force then shuts the worker out, as it does on the chain.
            let appraisal = state.shown::<Appraisal>(&storage::appraisal_key(worker))?.flatten();
            if let Some(why) = barred(&bans, appraisal.as_ref(), height) {
                return Err(format!("{worker} is shut out at block {height}: {why}"));
            }
        }
        Ok("no ban is about them")
    }

    /// Judges a worker's evidence again, as the chain did.
    fn evidence_of(&self, evidence: &EvidenceOf, record: &WorkerRecord, now: u64) -> Result<(), String> {
        let malformed = |what: &str| format!("{what} is malformed");
        let registration =
            Registration::decode_all(&mut &evidence.registration[..]).map_err(|_| malformed("the registration"))?;
        let raw = decode_collateral(&evidence.collateral).map_err(text)?;
        let quote = decode_evidence(&evidence.evidence).map_err(text)?;
        let anchor = match record.assurance {
            Assurance::Hardware => TrustAnchor::Intel,
            // The verdict says `simulated`; it cannot become more by which root is used here.
            Assurance::Simulated => {
                TrustAnchor::InsecureDevelopment(self.development.ok_or("the genesis is no development one")?)
            }
        };
        // The governed terms decide at registration; here every status passes that can pass at all.
        let accepted = AcceptedStatuses::ALL_BUT_REVOKED;
        let policy = Policy { anchor, terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } };
        let collateral = verify_collateral(&raw, &anchor, now).map_err(text)?;
        let report = verify_evidence(&quote, &collateral, &policy, now).map_err(text)?;
        if registration.identity != evidence.worker
            || registration.operator != record.operator
            || registration.encryption_key != record.encryption_key
        {
            return Err("it was made for another identity, encryption key or operator".to_owned());
        }
        if report.report_data() != registration.report_data(self.pinned) {
            return Err("it does not bind this registration on this chain".to_owned());
        }
        if report.measurement() != record.measurement {
            return Err("it is of another measurement than the chain's record".to_owned());
        }
        Ok(())
    }

    fn measurements(&self, state: &State<'_>, workers: &BTreeMap<WorkerId, WorkerRecord>) -> Found<()> {
        let mut listed: Vec<Hash> = workers.values().map(|record| record.measurement).collect();
        listed.sort_unstable();
        listed.dedup();
        for measurement in &listed {
            let entry: AllowedMeasurement = state
                .get(&storage::measurement_key(measurement))?
                .ok_or(format!("{} is not on the allow-list", to_hex(measurement)))?;
            if !is_accepted(&entry, state.header.number()) {
                return Err(format!("{} is on the allow-list for other blocks", to_hex(measurement)));
            }
        }
        Ok(((), listed.iter().map(|measurement| to_hex(measurement)).collect::<Vec<_>>().join(", ")))
    }

    fn signed(&self) -> Found<()> {
        let FinalRecord { result, votes, replicas, .. } = &self.receipt.record;
        let payload = result.signing_payload(self.pinned);
        for (worker, signature) in votes {
            ed25519::verify(&worker.0, &payload, signature).map_err(|error| format!("{worker}: {error}"))?;
        }
        if votes.len() <= *replicas as usize / 2 {
            return Err(format!("{} of {replicas} replicas are no majority", votes.len()));
        }
        let vote = if *replicas == 1 { " (no vote)" } else { "" };
        Ok(((), format!("by {} of {replicas} replicas{vote}", votes.len())))
    }

    fn finalised(&self, state: &State<'_>) -> Found<()> {
        let record = &self.receipt.record;
        let key = storage::final_result_key(record.result.cluster, record.result.boundary.block);
        let known: FinalRecord = state.get(&key)?.ok_or("the chain has no such final result")?;
        if known != *record {
            return Err("the chain's final result is another one".to_owned());
        }
        Ok(((), format!("in block {}, for the items of block {}", record.finalised_at, record.result.boundary.block)))
    }

    fn included(&self) -> Found<()> {
        let Receipt { record, reply, salt, position: (index, count), path, .. } = self.receipt;
        let first =
            record.result.boundary.count.checked_sub((*count).into()).ok_or("there are more replies than items")?;
        if first.checked_add((*index).into()) != Some(reply.sequence) {
            return Err("the reply is to another item of the inbox".to_owned());
        }
        let leaf = reply_leaf(salt, reply);
        merkle::verify(&record.result.replies_root, (*index).into(), (*count).into(), &leaf, path).map_err(text)?;
        let caller = reply.caller.map_or("of nobody".to_owned(), |(account, nonce)| {
            format!("of {} with nonce {nonce}", crate::account::ss58::format_account(&account))
        });
        let sent = match reply.egress.len() {
            0 => String::new(),
            sent => format!(", which sends {sent} items out of the cluster"),
        };
        Ok(((), format!("item {} {caller}{sent}", reply.sequence)))
    }

    fn code(&self, state: &State<'_>) -> Found<()> {
        let Receipt { contract, code, record, reply, .. } = self.receipt;
        if reply.contract != Some(*contract) {
            return Err("the reply is of another contract".to_owned());
        }
        let known: ContractRecord =
            state.get(&storage::contract_key(contract))?.ok_or(format!("there is no contract {contract}"))?;
        if known.code != *code {
            return Err(format!("the contract's code is {}", known.code));
        }
        if known.cluster != record.result.cluster {
            return Err("the contract is in another cluster than the result".to_owned());
        }
        Ok(((), format!("{code} of contract {contract}")))
    }
}

/// Proved values at the receipt's head.
struct State<'a> {
    header: &'a VerifiedHeader,
    proof: Vec<u8>,
}

impl State<'_> {
    fn get<T: Decode>(&self, key: &[u8]) -> Result<Option<T>, String> {
        self.shown(key)?.ok_or_else(|| text(ProofError::NotCovered))
    }

    /// The same, or none when the proof says nothing of the key.
    fn shown<T: Decode>(&self, key: &[u8]) -> Result<Option<Option<T>>, String> {
        let storage = verify_storage(self.header, &self.proof).map_err(text)?;
        let value = match storage.get(key) {
            Err(ProofError::NotCovered) => return Ok(None),
            value => value.map_err(text)?,
        };
        value
            .map(|mut value| T::decode_all(&mut value).map_err(|_| "a record of the state is malformed".to_owned()))
            .transpose()
            .map(Some)
    }
}

#[cfg(test)]
mod tests;
