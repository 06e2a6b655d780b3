//! What the chain holds of collateral and of the platforms that need it, as the relayer asks for it: the node's word.

use super::Platform;
use codec::Encode;
use phala_attest::{Appraisal, PlatformModel, Root, VerifiedCollateral};
use phala_client::{
    chain::{map_key, short_map_key, ChainCall, SubmitError},
    Account, Chain, ClientError, ErrorCode, Until,
};
use phala_protocol::{
    chain_state::WorkerRecord,
    ids::BlockNumber,
    storage::{self, Prefix},
    Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How long after a registration lapsed its platform still counts as registered, in seconds: the longest grace that governance can set.
const LAPSED_COUNTS_SECONDS: u64 = 7 * 86_400;

/// Where it is asked. [`OnChain`] is one; tests have another.
pub(crate) trait Ledger {
    /// The chain's genesis hash.
    fn genesis(&self) -> &Hash;
    /// Of each model when its collateral ends, in Unix seconds, and whether the chain's alarm is up.
    async fn ends(&self) -> Result<Vec<(PlatformModel, (u64, bool))>, ClientError>;
    /// The chain's time, in Unix seconds.
    async fn now(&self) -> Result<u64, ClientError>;
    /// What a registered TEE runs on.
    async fn platform_of(&self, worker: &WorkerId) -> Result<Option<Platform>, ClientError>;
    /// What TEEs run on whose registration has not lapsed for long, as far as a listing shows it.
    async fn registered(&self) -> Result<BTreeSet<Platform>, ClientError>;
    /// The collateral of a model.
    async fn present(&self, model: &PlatformModel) -> Result<Option<VerifiedCollateral>, ClientError>;
    /// The highest evaluation number that governance lets in, where it has set one.
    async fn cap(&self) -> Result<Option<u32>, ClientError>;
    /// When the newest revocation list of a root was issued, in Unix seconds; 0 for none.
    async fn newest_root_list(&self, root: Root) -> Result<u64, ClientError>;
    /// Submits collateral, and pays for it. Gives the block that it came into.
    async fn submit(&self, collateral: &[u8]) -> Result<BlockNumber, SubmitError>;
}

/// The chain, and the account that pays.
pub(crate) struct OnChain {
    pub chain: Chain,
    pub operator: Arc<Account>,
}

impl Ledger for OnChain {
    fn genesis(&self) -> &Hash {
        self.chain.genesis()
    }

    async fn ends(&self) -> Result<Vec<(PlatformModel, (u64, bool))>, ClientError> {
        let key = map_key("Attestation", "Expiries", &[]);
        let prefix: &Prefix = key
            .first_chunk()
            .ok_or_else(|| ClientError::new(ErrorCode::Internal, "the key of a map is shorter than its prefix"))?;
        self.chain.entries(prefix, None).await
    }

    async fn now(&self) -> Result<u64, ClientError> {
        Ok(self.chain.storage::<u64>(&storage::TIMESTAMP_NOW, None).await?.unwrap_or_default() / 1_000)
    }

    async fn platform_of(&self, worker: &WorkerId) -> Result<Option<Platform>, ClientError> {
        let appraisal: Option<Appraisal> = self.chain.storage(&storage::appraisal_key(worker), None).await?;
        Ok(appraisal.as_ref().map(platform))
    }

    async fn registered(&self) -> Result<BTreeSet<Platform>, ClientError> {
        let now = self.now().await?;
        let records: Vec<(WorkerId, WorkerRecord)> = self.chain.entries(&storage::WORKERS, None).await?;
        let appraisals: Vec<(WorkerId, Appraisal)> = self.chain.entries(&storage::APPRAISALS, None).await?;
        let appraisals: BTreeMap<WorkerId, Appraisal> = appraisals.into_iter().collect();
        let counts = |record: &WorkerRecord| record.valid_until.saturating_add(LAPSED_COUNTS_SECONDS) > now;
        let counting = records.iter().filter(|(_, record)| counts(record));
        Ok(counting.filter_map(|(worker, _)| appraisals.get(worker).map(platform)).collect())
    }

    async fn present(&self, model: &PlatformModel) -> Result<Option<VerifiedCollateral>, ClientError> {
        self.chain.storage(&map_key("Attestation", "Collaterals", &model.encode()), None).await
    }

    async fn cap(&self) -> Result<Option<u32>, ClientError> {
        self.chain.storage(&storage::EVALUATION_CAP, None).await
    }

    async fn newest_root_list(&self, root: Root) -> Result<u64, ClientError> {
        let key = short_map_key("Attestation", "NewestRootLists", &root.encode());
        Ok(self.chain.storage(&key, None).await?.unwrap_or_default())
    }

    async fn submit(&self, collateral: &[u8]) -> Result<BlockNumber, SubmitError> {
        let call = ChainCall::submit_collateral(collateral.to_vec());
        Ok(self.chain.submit(&self.operator, &call, Until::InBlock).await?.block)
    }
}

fn platform(appraisal: &Appraisal) -> Platform {
    (appraisal.origin.vendor, appraisal.origin.fmspc)
}
