//! Signing extrinsics, handing them over, and seeing what became of them.
//!
//! The account's next index comes from the node and counts what waits in its pool. Two submitters can still be told the same one; the
//! pool then takes one extrinsic and names the reason to the other, which signs again with a newer index. An extrinsic is mortal: it is
//! in a block within [`LIFETIME_BLOCKS`] or never, so that giving up is safe.

use super::{errors, params, Chain, ChainCall, SubmitError};
use crate::{account::ss58, Account, ClientError, ErrorCode};
use phala_protocol::{hash::blake2_256, ids::BlockNumber, Hash};
use std::time::Duration;
use subxt::{
    backend::BlockRef,
    client::OnlineClientAtBlockImpl,
    config::{polkadot::PolkadotExtrinsicParamsBuilder, PolkadotConfig},
    error::{BackendError, DispatchError, ExtrinsicError, RpcError},
    events::Phase,
    transactions::{TransactionInBlock, TransactionProgress, TransactionStatus},
    utils::{AccountId32, MultiSignature},
};

/// Blocks within which an extrinsic can be included.
const LIFETIME_BLOCKS: u64 = 64;
/// How often an extrinsic is signed again because its nonce was taken.
const MAX_ATTEMPTS: u32 = 12;
/// How long to wait for inclusion or finality, where nobody says otherwise.
const WAIT: Duration = Duration::from_secs(180);

/// How far to follow an extrinsic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// In a block, which may still be replaced by another.
    InBlock,
    /// In a finalised block.
    Finalised,
}

/// An event of an extrinsic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEvent {
    /// The pallet.
    pub pallet: String,
    /// The event's variant.
    pub name: String,
    /// SCALE of its fields.
    pub fields: Vec<u8>,
}

/// An extrinsic that had its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The block.
    pub block: BlockNumber,
    /// Its hash.
    pub block_hash: Hash,
    /// What the extrinsic deposited, in order.
    pub events: Vec<ChainEvent>,
}

impl Included {
    /// The fields of the first event of this name.
    pub fn event(&self, pallet: &str, name: &str) -> Option<&[u8]> {
        self.events.iter().find(|event| event.pallet == pallet && event.name == name).map(|event| &event.fields[..])
    }
}

type Progress = TransactionProgress<PolkadotConfig, OnlineClientAtBlockImpl<PolkadotConfig>>;
type InBlock = TransactionInBlock<PolkadotConfig, OnlineClientAtBlockImpl<PolkadotConfig>>;

impl Chain {
    /// Signs `call` as `account`, submits it, and follows it to where `until` says.
    pub async fn submit(&self, account: &Account, call: &ChainCall, until: Until) -> Result<Included, SubmitError> {
        self.submit_within(account, call, until, WAIT).await
    }

    /// Like [`Self::submit`], for no longer than `wait`.
    pub async fn submit_within(
        &self,
        account: &Account,
        call: &ChainCall,
        until: Until,
        wait: Duration,
    ) -> Result<Included, SubmitError> {
        let follow = async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let progress = self.hand_over(account, call).await?;
                match self.follow(progress, until).await? {
                    Some(block) => return self.outcome(block).await,
                    // Another extrinsic of the account took the nonce: ours can never be included.
                    None if attempt < MAX_ATTEMPTS => {
                        tracing::debug!(call = call.label(), "nonce was taken, signing again")
                    }
                    None => return Err(nonce_lost(call)),
                }
            }
        };
        tokio::time::timeout(wait, follow).await.map_err(|_| {
            ClientError::new(ErrorCode::Timeout, format!("{} was not included in time", call.label()))
                .with_hint(format!(
                    "it may be included yet, up to {LIFETIME_BLOCKS} blocks after it was signed: before that, what is sent again \
                     can happen twice. `phala status` shows whether the chain makes and finalises blocks"
                ))
        })?
    }

    /// Like [`Self::submit`] through `Sudo`: as the chain's root, on networks that have a sudo key.
    pub async fn submit_sudo(
        &self,
        account: &Account,
        call: &ChainCall,
        until: Until,
    ) -> Result<Included, SubmitError> {
        let client = self.client.at_current_block().await.map_err(|error| errors::other(&error))?;
        let inner = client.tx().call_data(call).map_err(|error| errors::other(&error))?;
        let included = self.submit(account, &ChainCall::raw("Sudo", "sudo", inner), until).await?;
        // The outer call succeeds whatever becomes of the inner one, whose result stands in the event: 0, or 1 and its error.
        match included.event("Sudo", "Sudid") {
            Some([0, ..]) => Ok(included),
            Some([1, error @ ..]) => {
                let error =
                    DispatchError::decode_from(error, client.metadata()).map_err(|error| errors::other(&error))?;
                Err(errors::dispatch_error(&error))
            }
            _ => {
                Err(ClientError::new(ErrorCode::Unverified, "the runtime does not say what became of the sudo call")
                    .into())
            }
        }
    }

    /// What the extrinsic is expected to cost, in 10^-12 PHA, without what its call transfers.
    pub async fn fee_estimate(&self, account: &Account, call: &ChainCall) -> Result<u128, ClientError> {
        let signed = self.signed(account, call, 0).await?;
        signed.partial_fee_estimate().await.map_err(|error| errors::other(&error))
    }

    async fn hand_over(&self, account: &Account, call: &ChainCall) -> Result<Progress, SubmitError> {
        let address = ss58::format(&account.id(), 42);
        for attempt in 0..MAX_ATTEMPTS {
            let _turn = self.submitting.lock().await;
            let nonce: u64 = self.request("system_accountNextIndex", params![&address]).await?;
            let signed = self.signed(account, call, nonce).await?;
            let error = match signed.submit_and_watch().await {
                Ok(progress) => return Ok(progress),
                Err(error) => error,
            };
            let ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(RpcError::ClientError(error))) = &error
            else {
                return Err(errors::other(&error).into());
            };
            let (error, nonce_taken) = errors::pool_error(error);
            if !nonce_taken {
                return Err(error);
            }
            tracing::debug!(call = call.label(), nonce, "nonce was taken: {error}");
            tokio::time::sleep(Duration::from_millis(40 * u64::from(attempt + 1))).await;
        }
        Err(nonce_lost(call))
    }

    async fn signed(
        &self,
        account: &Account,
        call: &ChainCall,
        nonce: u64,
    ) -> Result<
        subxt::transactions::SubmittableTransaction<PolkadotConfig, OnlineClientAtBlockImpl<PolkadotConfig>>,
        ClientError,
    > {
        let client = self.client.at_current_block().await.map_err(|error| errors::other(&error))?;
        let params = PolkadotExtrinsicParamsBuilder::<PolkadotConfig>::new()
            .nonce(nonce)
            .mortal_from_unchecked(LIFETIME_BLOCKS, client.block_number(), client.block_hash())
            .build();
        let mut signable = client.tx().create_signable_offline(call, params).map_err(|error| errors::other(&error))?;
        let payload = signable.signer_payload().map_err(|error| errors::other(&error))?;
        let signature = MultiSignature::Sr25519(account.sign(&payload)?);
        signable
            .sign_with_account_and_signature(&AccountId32(account.id().0), &signature)
            .map_err(|error| errors::other(&error))
    }

    /// The block it got into, or none when another extrinsic took its nonce.
    async fn follow(&self, mut progress: Progress, until: Until) -> Result<Option<InBlock>, SubmitError> {
        while let Some(status) = progress.next().await {
            match status.map_err(|error| errors::other(&error))? {
                TransactionStatus::InBestBlock(block) if until == Until::InBlock => return Ok(Some(block)),
                TransactionStatus::InFinalizedBlock(block) => return Ok(Some(block)),
                TransactionStatus::Invalid { .. } => return Ok(None),
                TransactionStatus::Error { message } | TransactionStatus::Dropped { message } => {
                    return Err(SubmitError::Rejected { code: ErrorCode::Busy, message })
                }
                _ => {}
            }
        }
        Err(ClientError::new(ErrorCode::Unreachable, "the node stopped telling what became of the extrinsic").into())
    }

    /// What became of an extrinsic that is in a block. The body is read here and not by subxt, which takes extrinsics in
    /// hexadecimal only: a node whose block type is not `OpaqueBlock` lists their bytes as numbers.
    async fn outcome(&self, in_block: InBlock) -> Result<Included, SubmitError> {
        let (block_hash, extrinsic_hash) = (in_block.block_hash().0, in_block.extrinsic_hash().0);
        let block = self.height(&block_hash).await?;
        let body = self.body(&block_hash).await?;
        let index = body.iter().position(|extrinsic| blake2_256(extrinsic) == extrinsic_hash).ok_or_else(|| {
            ClientError::new(ErrorCode::Unverified, "the node names a block that does not hold the extrinsic")
        })?;
        let reference = BlockRef::from_hash(in_block.block_hash());
        let at = self
            .client
            .at_block_hash_and_number(reference, block.into())
            .await
            .map_err(|error| errors::other(&error))?;
        let all = at.events().fetch().await.map_err(|error| errors::other(&error))?;
        let mut events = Vec::new();
        for event in all.iter() {
            let event = event.map_err(|error| errors::other(&error))?;
            if !matches!(event.phase(), Phase::ApplyExtrinsic(of) if of as usize == index) {
                continue;
            }
            if event.pallet_name() == "System" && event.event_name() == "ExtrinsicFailed" {
                let error = DispatchError::decode_from(event.field_bytes(), at.metadata())
                    .map_err(|error| errors::other(&error))?;
                return Err(errors::dispatch_error(&error));
            }
            events.push(ChainEvent {
                pallet: event.pallet_name().to_owned(),
                name: event.event_name().to_owned(),
                fields: event.field_bytes().to_vec(),
            });
        }
        Ok(Included { block, block_hash, events })
    }
}

fn nonce_lost(call: &ChainCall) -> SubmitError {
    SubmitError::Rejected {
        code: ErrorCode::Busy,
        message: format!("other extrinsics of this account take every nonce before {}; try again", call.label()),
    }
}
