//! Collateral: kept fresh on the chain, and added to workers' requests for keys.
//!
//! It comes from the operator's files, and from provisioning services where the operator named some (`fetching.rs`); the chain and
//! gatekeepers judge what is in it. It is submitted when the chain has none for its platform model or an older one - what was fetched only
//! if it is worth the fee -, once: while it is under way, or was taken a short while ago, nobody submits the same again. What was refused is
//! tried again by whose fault it is: the bytes' own, never before the file changes; governance's or a clock's, after a wait that doubles;
//! the node's, with the next look. Each time the log says whose. It also says when what is on the chain ends soon for a platform that is
//! served here (`alarm.rs`).

pub(crate) mod alarm;
pub(crate) mod fetching;
mod ledger;

use crate::{
    refusal::{Refused, Waits, Whose},
    registrations::{Evidenced, Judged},
    Shared,
};
use alarm::Warnings;
use ledger::{Ledger, OnChain};
use phala_attest::{
    claimed_measurement, claimed_model, decode_collateral, decode_evidence, decode_quote, verify_collateral,
    verify_evidence, AcceptedStatuses, DevelopmentGenesis, Evidence, PlatformModel, Policy, PolicyTerms, TrustAnchor,
    Vendor, VerifiedCollateral,
};
use phala_client::{ClientError, ErrorCode};
use phala_protocol::{
    chain_state::WorkerRecord,
    hash::blake2_256,
    relay::{Outgoing, TeeStatus},
    Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often files and chain are compared.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long what the chain took, or had, is not looked for again: long enough to be finalised, or lost with a fork.
const SETTLED_FOR: Duration = Duration::from_secs(600);
/// Contents that are remembered as settled.
const MOST_SETTLED: usize = 1_024;
/// Identities and models of TEEs that are remembered as served here, each.
const MOST_SERVED: usize = 256;

/// A technology, and a platform model of it.
type Platform = (Vendor, [u8; 6]);

/// The collateral of this relayer.
pub(crate) struct Collaterals {
    /// The operator's.
    files: Vec<PathBuf>,
    /// The newest good content, by what it is collateral for.
    known: Mutex<BTreeMap<PlatformModel, Arc<Own>>>,
    /// When content was seen to be on the chain, by its hash: no reason to look again for a while.
    settled: Mutex<BTreeMap<Hash, Instant>>,
    /// What was refused, by hash of the file's content.
    waits: Mutex<Waits>,
    /// Held while something is submitted, so that nothing is submitted twice at once.
    submitting: tokio::sync::Mutex<()>,
    served: Mutex<Served>,
}

/// Whom this relayer serves.
#[derive(Default)]
struct Served {
    identities: BTreeSet<WorkerId>,
    /// What their evidence says that they are, by hash of the evidence.
    models: BTreeMap<Hash, PlatformModel>,
}

/// Collateral, and what it was verified to be.
struct Own {
    /// SCALE of [`phala_attest::Collateral`].
    bytes: Vec<u8>,
    verified: VerifiedCollateral,
    anchor: TrustAnchor,
}

/// How collateral stands to what the chain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The chain has the same documents.
    There,
    /// The chain has newer ones, in some part at least, and would refuse it.
    Older,
    /// It was published ahead of a release that governance has not let in yet, under this cap.
    TooEarly(u32),
    /// The chain would take it.
    Newer,
}

impl Collaterals {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            known: Mutex::default(),
            settled: Mutex::default(),
            waits: Mutex::default(),
            submitting: tokio::sync::Mutex::default(),
            served: Mutex::default(),
        }
    }

    /// Takes note of a TEE that is served here: its identity, and what its evidence says that it runs on.
    pub(crate) fn note_served(&self, status: &TeeStatus) {
        let evidences = status.outgoing.iter().filter_map(|item| match item {
            Outgoing::Register { evidence, .. } => Some(evidence),
            Outgoing::AskKeys(inquiry) => Some(&inquiry.evidence),
            _ => None,
        });
        let mut served = lock(&self.served);
        // A host may show another identity each time: then what was noted is not worth more than what is.
        if served.identities.len() >= MOST_SERVED && !served.identities.contains(&status.identity) {
            served.identities.clear();
        }
        served.identities.insert(status.identity);
        for evidence in evidences {
            let name = blake2_256(evidence);
            if served.models.contains_key(&name) {
                continue;
            }
            let model = decode_evidence(evidence).ok().and_then(|found| claimed_model(&found).ok());
            let Some(model) = model else { continue };
            if served.models.len() >= MOST_SERVED {
                served.models.clear();
            }
            served.models.insert(name, model);
        }
    }

    /// Models that TEEs which are served here say that they are, and platforms that the chain knows them to be.
    async fn served(&self, ledger: &impl Ledger) -> Result<(BTreeSet<PlatformModel>, BTreeSet<Platform>), ClientError> {
        let (identities, models) = {
            let served = lock(&self.served);
            (served.identities.clone(), served.models.values().copied().collect())
        };
        let mut platforms = BTreeSet::new();
        for identity in identities {
            platforms.extend(ledger.platform_of(&identity).await?);
        }
        Ok((models, platforms))
    }

    /// The collateral that this evidence is verified with; nothing when there is none.
    pub(crate) fn for_evidence(&self, evidence: &[u8]) -> Vec<u8> {
        let known = lock(&self.known);
        decode_evidence(evidence)
            .ok()
            .and_then(|evidence| claimed_model(&evidence).ok())
            .and_then(|model| known.get(&model).map(|own| own.bytes.clone()))
            .unwrap_or_default()
    }

    /// What the newest collateral of ours says of evidence that stands beside a registration on the chain of this genesis hash. Whether
    /// the platform's status and advisories pass is not asked: the chain has decided that.
    pub(crate) fn judge(&self, (registration, evidence): &Evidenced, record: &WorkerRecord, genesis: &Hash) -> Judged {
        let Ok(evidence) = decode_evidence(evidence) else { return Judged::Foreign };
        let (Evidence::TdxDcap(quote) | Evidence::SgxDcap(quote)) = &evidence;
        let bound = registration.report_data(genesis);
        let binds = decode_quote(quote).is_ok_and(|quote| *quote.report.report_data() == bound);
        if !binds || claimed_measurement(&evidence).ok() != Some(record.measurement) {
            return Judged::Foreign;
        }
        let Ok(model) = claimed_model(&evidence) else { return Judged::Foreign };
        let known = self.own(&model);
        let now = unix_now();
        let Some(own) = known.filter(|own| own.verified.is_good_at(now)) else { return Judged::Unknown };
        let terms = PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };
        match verify_evidence(&evidence, &own.verified, &Policy { anchor: own.anchor, terms }, now) {
            Ok(report) if report.report_data() == bound && report.measurement() == record.measurement => Judged::Proved,
            _ => Judged::Refused,
        }
    }

    /// The newest collateral of ours for a model.
    fn own(&self, model: &PlatformModel) -> Option<Arc<Own>> {
        lock(&self.known).get(model).cloned()
    }

    /// Compares files and chain for ever.
    pub(crate) async fn keep_fresh(&self, shared: &Shared) {
        let mut warnings = Warnings::default();
        loop {
            let ledger = OnChain { chain: shared.link.chain().await, operator: shared.operator.clone() };
            let submitted = self.submit_newer(&ledger).await;
            let warned = self.warn(&ledger, &mut warnings).await;
            if let Err(error) = submitted.and(warned) {
                tracing::warn!(%error, "cannot look at collateral on the chain");
                shared.link.failed(&error).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Submits what is newer now, for a registration that is about to be: its evidence may need it.
    pub(crate) async fn submit_before_registration(&self, shared: &Shared) {
        let ledger = OnChain { chain: shared.link.chain().await, operator: shared.operator.clone() };
        if let Err(error) = self.submit_newer(&ledger).await {
            tracing::warn!(%error, "cannot look at collateral on the chain");
        }
    }

    /// Says in the log what ends soon of what is served here.
    async fn warn(&self, ledger: &impl Ledger, warnings: &mut Warnings) -> Result<(), ClientError> {
        let (models, platforms) = self.served(ledger).await?;
        let known: BTreeSet<PlatformModel> = lock(&self.known).keys().copied().collect();
        let mut ends = ledger.ends().await?;
        ends.retain(|(model, _)| {
            known.contains(model) || models.contains(model) || platforms.contains(&(model.vendor, model.fmspc))
        });
        let now = ledger.now().await?;
        for (model, valid_until) in warnings.due(&ends, now, Instant::now()) {
            alarm::say(&model, valid_until, now);
        }
        Ok(())
    }

    /// Submits what is in the files and not on the chain. Fails when the node does not answer; the rest is said in the log.
    async fn submit_newer(&self, ledger: &impl Ledger) -> Result<(), ClientError> {
        let mut unreachable = None;
        for file in &self.files {
            let bytes = match tokio::fs::read(file).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "collateral cannot be read, and is not submitted");
                    continue;
                }
            };
            let content = blake2_256(&bytes);
            let refused = match self.learn(&bytes, ledger.genesis()) {
                Ok(own) => self.submit_when_due(ledger, content, &own, Whose::File).await,
                Err(error) => self.wait_for(content, Refused::here(error)),
            };
            if let Some((error, whose, again)) = refused {
                tracing::warn!(file = %file.display(), %error, %whose, again, "collateral is refused");
                unreachable = Some(error).filter(|_| whose == Whose::Node).or(unreachable);
            }
        }
        unreachable.map_or(Ok(()), Err)
    }

    /// Submits collateral unless what is remembered under `name` says that it is not worth a try now; gives what to say of a refusal. What
    /// is the bytes' own fault counts as `at_fault`'s.
    async fn submit_when_due(
        &self,
        ledger: &impl Ledger,
        name: Hash,
        own: &Own,
        at_fault: Whose,
    ) -> Option<(ClientError, Whose, String)> {
        if !lock(&self.waits).is_due(&name, Instant::now()) {
            return None;
        }
        match self.submit_if_newer(ledger, own).await {
            Ok(()) => {
                lock(&self.waits).forget(&name);
                None
            }
            Err(Refused { whose: Whose::File, error }) => self.wait_for(name, Refused { whose: at_fault, error }),
            Err(refused) => self.wait_for(name, refused),
        }
    }

    /// Remembers a refusal; gives it, and when it is tried again. Nothing while what is remembered is not due: it was said.
    fn wait_for(&self, name: Hash, Refused { whose, error }: Refused) -> Option<(ClientError, Whose, String)> {
        let now = Instant::now();
        let mut waits = lock(&self.waits);
        if !waits.is_due(&name, now) {
            return None;
        }
        let wait = waits.refused(name, whose, now);
        let again =
            wait.map_or_else(|| String::from("when the file changes"), |wait| format!("in {} s", wait.as_secs()));
        Some((error, whose, again))
    }

    /// Verifies collateral, and takes it for what evidence is verified with unless there is newer.
    fn learn(&self, bytes: &[u8], genesis: &Hash) -> Result<Arc<Own>, ClientError> {
        let (verified, anchor) = verify(bytes, genesis)?;
        Ok(self.take(Own { bytes: bytes.to_vec(), verified, anchor }))
    }

    /// Takes what is verified unless there is newer that is good now.
    fn take(&self, own: Own) -> Arc<Own> {
        let (own, now) = (Arc::new(own), unix_now());
        let mut known = lock(&self.known);
        let newer = |present: &Arc<Own>| present.verified.is_good_at(now) && is_newer(&present.verified, &own.verified);
        if !known.get(&own.verified.model()).is_some_and(newer) {
            known.insert(own.verified.model(), own.clone());
        }
        own
    }

    async fn submit_if_newer(&self, ledger: &impl Ledger, own: &Own) -> Result<(), Refused> {
        let _alone = self.submitting.lock().await;
        let content = blake2_256(&own.bytes);
        let is_settled = |at: &Instant| at.elapsed() < SETTLED_FOR;
        if lock(&self.settled).get(&content).is_some_and(is_settled) {
            return Ok(());
        }
        let refused = |whose, why: String| Err(Refused { whose, error: ClientError::new(ErrorCode::Refused, why) });
        match standing(ledger, &own.verified).await.map_err(Refused::by_node)? {
            Standing::There => {}
            Standing::Older => return refused(Whose::File, "the chain has newer documents".to_owned()),
            Standing::TooEarly(cap) => {
                return refused(Whose::Governance, format!("its evaluation number is over the chain's cap of {cap}"))
            }
            Standing::Newer => match ledger.submit(&own.bytes).await {
                Ok(block) => tracing::info!(block, model = %alarm::name(&own.verified.model()), "collateral renewed"),
                Err(error) => {
                    // Somebody else may have brought the same meanwhile.
                    let may_be_there = error.is("Attestation", "CollateralNotNewer");
                    let after = async { standing(ledger, &own.verified).await.map_err(Refused::by_node) };
                    if !may_be_there || after.await? != Standing::There {
                        return Err(Refused::by_chain(error));
                    }
                }
            },
        }
        let mut settled = lock(&self.settled);
        if settled.len() >= MOST_SETTLED {
            settled.clear();
        }
        settled.insert(content, Instant::now());
        Ok(())
    }
}

/// What the chain would say to collateral, by its state: what it would refuse anyway costs no fee then.
async fn standing(ledger: &impl Ledger, verified: &VerifiedCollateral) -> Result<Standing, ClientError> {
    let cap = ledger.cap().await?;
    if let Some(cap) = cap.filter(|cap| verified.latest_evaluation_number() > *cap) {
        return Ok(Standing::TooEarly(cap));
    }
    let present = ledger.present(&verified.model()).await?;
    if present.as_ref().is_some_and(|present| present.parts_issued() == verified.parts_issued()) {
        return Ok(Standing::There);
    }
    // What is over the cap was early when it came, and gives way to what is not.
    let present = present.filter(|present| cap.is_none_or(|cap| present.latest_evaluation_number() <= cap));
    let is_older = present.is_some_and(|present| !is_newer(verified, &present))
        || verified.root_list_issued() < ledger.newest_root_list(verified.root()).await?;
    Ok(if is_older { Standing::Older } else { Standing::Newer })
}

/// Whether `new` takes the place of `present`, as the chain asks it: no part may be older, and one must be newer.
fn is_newer(new: &VerifiedCollateral, present: &VerifiedCollateral) -> bool {
    let (new_parts, present_parts) = (new.parts_issued(), present.parts_issued());
    let raised = new.tcb_evaluation_number() >= present.tcb_evaluation_number();
    raised && new_parts != present_parts && new_parts.iter().zip(&present_parts).all(|(new, present)| new >= present)
}

/// What is behind a lock is one value, or a map, which no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix seconds.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// INSECURE: the development root, for a chain that may be marked as a development one: whether it is, the chain decides.
fn development(genesis: &Hash) -> Option<TrustAnchor> {
    DevelopmentGenesis::for_genesis(*genesis, &[*genesis]).map(TrustAnchor::InsecureDevelopment)
}

/// Judges collateral as the chain will, under either root: which one counts is the chain's decision. Gives the root too.
fn verify(bytes: &[u8], genesis: &Hash) -> Result<(VerifiedCollateral, TrustAnchor), ClientError> {
    let invalid = |why: String| {
        ClientError::new(ErrorCode::Invalid, format!("the file is no good collateral: {why}"))
            .with_hint("fetch it again")
    };
    let collateral = decode_collateral(bytes).map_err(|fault| invalid(fault.to_string()))?;
    let now = unix_now();
    let intel = match verify_collateral(&collateral, &TrustAnchor::Intel, now) {
        Ok(verified) => return Ok((verified, TrustAnchor::Intel)),
        Err(refusal) => invalid(refusal.to_string()),
    };
    let anchor = development(genesis).ok_or(intel.clone())?;
    verify_collateral(&collateral, &anchor, now).map(|verified| (verified, anchor)).map_err(|_| intel)
}

#[cfg(test)]
mod tests;
