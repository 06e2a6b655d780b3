//! Collateral: kept fresh on the chain, and added to workers' requests for keys.
//!
//! The files are the operator's; the chain and gatekeepers judge what is in them. A file is submitted when the chain has none for its
//! platform model or an older one. What was refused is tried again by whose fault it is: the bytes' own, never before the file changes;
//! governance's or a clock's, after a wait that doubles; the node's, with the next look. Each time the log says whose.

use crate::{
    refusal::{Refused, Waits},
    registrations::{Evidenced, Judged},
    Shared,
};
use codec::{DecodeAll, Encode};
use phala_attest::{
    claimed_measurement, claimed_model, decode_quote, verify_collateral, verify_evidence, AcceptedStatuses, Collateral,
    DevelopmentGenesis, Evidence, PlatformModel, Policy, PolicyTerms, TrustAnchor, VerifiedCollateral,
};
use phala_client::{
    chain::{map_key, ChainCall},
    Chain, ClientError, ErrorCode, Until,
};
use phala_protocol::{chain_state::WorkerRecord, hash::blake2_256, Hash};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often files and chain are compared.
const INTERVAL: Duration = Duration::from_secs(30);

/// The operator's collateral files.
pub(crate) struct Collaterals {
    files: Vec<PathBuf>,
    /// The newest readable content, by what it is collateral for.
    known: Mutex<BTreeMap<PlatformModel, Arc<Own>>>,
    /// What is on the chain already, by hash of the file's content: no reason to look again.
    settled: Mutex<BTreeMap<Hash, ()>>,
    /// What was refused, by hash of the file's content.
    waits: Mutex<Waits>,
}

/// Content of a file, and what it was verified to be.
struct Own {
    /// SCALE of [`Collateral`].
    bytes: Vec<u8>,
    verified: VerifiedCollateral,
    anchor: TrustAnchor,
}

impl Collaterals {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, known: Mutex::default(), settled: Mutex::default(), waits: Mutex::default() }
    }

    /// The collateral that this evidence is verified with; nothing when there is none.
    pub(crate) fn for_evidence(&self, evidence: &[u8]) -> Vec<u8> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Evidence::decode_all(&mut &evidence[..])
            .ok()
            .and_then(|evidence| claimed_model(&evidence).ok())
            .and_then(|model| known.get(&model).map(|own| own.bytes.clone()))
            .unwrap_or_default()
    }

    /// What the newest collateral of ours says of evidence that stands beside a registration on the chain of this genesis hash. Whether
    /// the platform's status and advisories pass is not asked: the chain has decided that.
    pub(crate) fn judge(&self, (registration, evidence): &Evidenced, record: &WorkerRecord, genesis: &Hash) -> Judged {
        let Ok(evidence) = Evidence::decode_all(&mut &evidence[..]) else { return Judged::Foreign };
        let (Evidence::TdxDcap(quote) | Evidence::SgxDcap(quote)) = &evidence;
        let bound = registration.report_data(genesis);
        let binds = decode_quote(quote).is_ok_and(|quote| *quote.report.report_data() == bound);
        if !binds || claimed_measurement(&evidence).ok() != Some(record.measurement) {
            return Judged::Foreign;
        }
        let Ok(model) = claimed_model(&evidence) else { return Judged::Foreign };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&model).cloned();
        let now = unix_now();
        let Some(own) = known.filter(|own| own.verified.is_good_at(now)) else { return Judged::Unknown };
        let terms = PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };
        match verify_evidence(&evidence, &own.verified, &Policy { anchor: own.anchor, terms }, now) {
            Ok(report) if report.report_data() == bound && report.measurement() == record.measurement => Judged::Proved,
            _ => Judged::Refused,
        }
    }

    /// Compares files and chain for ever.
    pub(crate) async fn keep_fresh(&self, shared: &Shared) {
        loop {
            self.submit_newer(shared).await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Submits what the chain does not have.
    pub(crate) async fn submit_newer(&self, shared: &Shared) {
        for file in &self.files {
            let submitted = async {
                let bytes = tokio::fs::read(file).await.map_err(|error| {
                    ClientError::new(ErrorCode::Invalid, format!("cannot read {}: {error}", file.display()))
                })?;
                let content = blake2_256(&bytes);
                if !self.waits.lock().unwrap_or_else(PoisonError::into_inner).is_due(&content, Instant::now()) {
                    return Ok(());
                }
                let chain = shared.link.chain().await;
                match self.submit_if_newer(shared, &chain, &bytes).await {
                    Ok(()) => {
                        self.waits.lock().unwrap_or_else(PoisonError::into_inner).forget(&content);
                        Ok(())
                    }
                    Err(Refused { whose, error }) => {
                        let now = Instant::now();
                        let wait =
                            self.waits.lock().unwrap_or_else(PoisonError::into_inner).refused(content, whose, now);
                        let again = wait.map_or_else(
                            || String::from("when the file changes"),
                            |wait| format!("in {} s", wait.as_secs()),
                        );
                        tracing::warn!(file = %file.display(), %error, %whose, again, "collateral is refused");
                        shared.link.failed(&error).await;
                        Ok::<(), ClientError>(())
                    }
                }
            };
            if let Err(error) = submitted.await {
                tracing::warn!(file = %file.display(), %error, "collateral is not submitted");
            }
        }
    }

    /// Takes a file's content for what evidence is verified with.
    fn learn(&self, bytes: &[u8], genesis: &Hash) -> Result<VerifiedCollateral, ClientError> {
        let (verified, anchor) = verify(bytes, genesis)?;
        let own = Own { bytes: bytes.to_vec(), verified: verified.clone(), anchor };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(verified.model(), Arc::new(own));
        Ok(verified)
    }

    async fn submit_if_newer(&self, shared: &Shared, chain: &Chain, bytes: &[u8]) -> Result<(), Refused> {
        let verified = self.learn(bytes, chain.genesis()).map_err(Refused::here)?;
        let content = blake2_256(bytes);
        if self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&content) {
            return Ok(());
        }
        if !is_there(chain, &verified).await? {
            let call = ChainCall::submit_collateral(bytes.to_vec());
            match chain.submit(&shared.operator, &call, Until::InBlock).await {
                Ok(included) => tracing::info!(block = included.block, "collateral renewed"),
                Err(error) => {
                    // Somebody else may have brought the same meanwhile.
                    let same = error.is("Attestation", "CollateralNotNewer") && is_there(chain, &verified).await?;
                    if !same {
                        return Err(Refused::by_chain(error));
                    }
                }
            }
        }
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(content, ());
        Ok(())
    }
}

/// Whether the chain has the same documents.
async fn is_there(chain: &Chain, verified: &VerifiedCollateral) -> Result<bool, Refused> {
    let key = map_key("Attestation", "Collaterals", &verified.model().encode());
    let there: Option<VerifiedCollateral> = chain.storage(&key, None).await.map_err(Refused::by_node)?;
    Ok(there.is_some_and(|there| there.parts_issued() == verified.parts_issued()))
}

/// Unix seconds.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Judges collateral as the chain will, under either root: which one counts is the chain's decision. Gives the root too.
fn verify(bytes: &[u8], genesis: &Hash) -> Result<(VerifiedCollateral, TrustAnchor), ClientError> {
    let invalid = |why: String| {
        ClientError::new(ErrorCode::Invalid, format!("the file is no good collateral: {why}"))
            .with_hint("fetch it again")
    };
    let collateral = Collateral::decode_all(&mut &bytes[..]).map_err(|error| invalid(error.to_string()))?;
    let now = unix_now();
    let intel = match verify_collateral(&collateral, &TrustAnchor::Intel, now) {
        Ok(verified) => return Ok((verified, TrustAnchor::Intel)),
        Err(refusal) => invalid(refusal.to_string()),
    };
    let token = DevelopmentGenesis::for_genesis(*genesis, &[*genesis]).ok_or(intel.clone())?;
    let anchor = TrustAnchor::InsecureDevelopment(token);
    verify_collateral(&collateral, &anchor, now).map(|verified| (verified, anchor)).map_err(|_| intel)
}

#[cfg(test)]
mod tests;
