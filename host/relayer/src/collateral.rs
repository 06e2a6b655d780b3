//! Collateral: kept fresh on the chain, and added to workers' requests for keys.
//!
//! The files are the operator's; the chain and gatekeepers judge what is in them. A file is submitted when the chain has none for its
//! platform model or an older one.

use crate::Shared;
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
    time::{Duration, SystemTime, UNIX_EPOCH},
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
}

impl Collaterals {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files, known: Mutex::default(), settled: Mutex::default() }
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
                let chain = shared.link.chain().await;
                let verified = self.submit_if_newer(shared, &chain, &bytes).await;
                if let Err(error) = &verified {
                    shared.link.failed(error).await;
                }
                verified
            };
            if let Err(error) = submitted.await {
                tracing::warn!(file = %file.display(), %error, "collateral is not submitted");
            }
        }
    }

    async fn submit_if_newer(&self, shared: &Shared, chain: &Chain, bytes: &[u8]) -> Result<(), ClientError> {
        let verified = verify(bytes, chain.genesis())?;
        let model = verified.model();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(model, bytes.to_vec());
        let content = blake2_256(bytes);
        if self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&content) {
            return Ok(());
        }
        let there: Option<VerifiedCollateral> =
            chain.storage(&map_key("Attestation", "Collaterals", &model.encode()), None).await?;
        if there.is_none_or(|there| there.parts_issued() != verified.parts_issued()) {
            let call = ChainCall::submit_collateral(bytes.to_vec());
            match chain.submit(&shared.operator, &call, Until::InBlock).await {
                Ok(included) => tracing::info!(block = included.block, "collateral renewed"),
                Err(error) if error.is("Attestation", "CollateralNotNewer") => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(content, ());
        Ok(())
    }
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
