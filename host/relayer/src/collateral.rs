//! Collateral: kept fresh on the chain, and added to workers' requests for keys.
//!
//! The files are the operator's; the chain and gatekeepers judge what is in them. A file is submitted when the chain has none for its
//! platform model or an older one. What was refused is tried again by whose fault it is: the bytes' own, never before the file changes;
//! governance's or a clock's, after a wait that doubles; the node's, with the next look. Each time the log says whose.

use crate::{
    refusal::{Refused, Waits},
    Shared,
};
use codec::{DecodeAll, Encode};
use phala_attest::{
    claimed_model, verify_collateral, Collateral, DevelopmentGenesis, Evidence, PlatformModel, TrustAnchor,
    VerifiedCollateral,
};
use phala_client::{
    chain::{map_key, ChainCall},
    Chain, ClientError, ErrorCode, Until,
};
use phala_protocol::{hash::blake2_256, Hash};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often files and chain are compared.
const INTERVAL: Duration = Duration::from_secs(30);

/// The operator's collateral files.
pub(crate) struct Collaterals {
    files: Vec<PathBuf>,
    /// SCALE of the newest readable content, by what it is collateral for.
    known: Mutex<BTreeMap<PlatformModel, Vec<u8>>>,
    /// What is on the chain already, by hash of the file's content: no reason to look again.
    settled: Mutex<BTreeMap<Hash, ()>>,
    /// What was refused, by hash of the file's content.
    waits: Mutex<Waits>,
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
            .and_then(|model| known.get(&model).cloned())
            .unwrap_or_default()
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

    async fn submit_if_newer(&self, shared: &Shared, chain: &Chain, bytes: &[u8]) -> Result<(), Refused> {
        let verified = verify(bytes, chain.genesis()).map_err(Refused::here)?;
        let model = verified.model();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(model, bytes.to_vec());
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

/// Judges collateral as the chain will, under either root: which one counts is the chain's decision.
fn verify(bytes: &[u8], genesis: &Hash) -> Result<VerifiedCollateral, ClientError> {
    let invalid = |why: String| {
        ClientError::new(ErrorCode::Invalid, format!("the file is no good collateral: {why}"))
            .with_hint("fetch it again")
    };
    let collateral = Collateral::decode_all(&mut &bytes[..]).map_err(|error| invalid(error.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let intel = match verify_collateral(&collateral, &TrustAnchor::Intel, now) {
        Ok(verified) => return Ok(verified),
        Err(refusal) => invalid(refusal.to_string()),
    };
    let token = DevelopmentGenesis::for_genesis(*genesis, &[*genesis]).ok_or(intel.clone())?;
    verify_collateral(&collateral, &TrustAnchor::InsecureDevelopment(token), now).map_err(|_| intel)
}
