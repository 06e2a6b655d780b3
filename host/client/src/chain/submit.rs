//! Signing extrinsics, handing them over, and seeing what became of them.
//!
//! The account's next index comes from the node and counts what waits in its pool. Two submitters can still be told the same one; the
//! pool then takes one extrinsic and names the reason to the other, which signs again with a newer index. An extrinsic is mortal: it is
//! in a block within [`LIFETIME_BLOCKS`] or never, so that giving up is safe; whoever repeats itself sooner gives it fewer
//! ([`Chain::submit_short_lived`]), and is told until when it is not known to be gone.

use super::{errors, params, Chain, ChainCall, SubmitError};
use crate::{account::ss58, Account, ClientError, ErrorCode};
use phala_protocol::{hash::blake2_256, ids::BlockNumber, Hash};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use subxt::{
    backend::BlockRef,
    client::OnlineClientAtBlockImpl,
    config::{polkadot::PolkadotExtrinsicParamsBuilder, substrate::H256, PolkadotConfig},
    error::{BackendError, DispatchError, ExtrinsicError, RpcError},
    events::Phase,
    transactions::{SubmittableTransaction, TransactionInBlock, TransactionProgress, TransactionStatus},
    utils::{AccountId32, MultiSignature},
};

/// Blocks within which an extrinsic can be included.
const LIFETIME_BLOCKS: u64 = 64;
/// Blocks within which a short-lived extrinsic can be included, counted from the newest one that its node knew. A power of two: the
/// mortality of an extrinsic has no others.
pub const SHORT_LIFETIME_BLOCKS: u32 = 8;
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

/// What became of a short-lived extrinsic.
#[derive(Debug)]
pub struct Attempted {
    /// As far as it was followed.
    pub outcome: Result<Included, SubmitError>,
    /// The last block that it can get into, or back into after a fork; none when it was never taken by a node, or can be in no block any
    /// more.
    pub possible_until: Option<BlockNumber>,
}

/// The last block that what was handed over can get into, while anything may be on its way.
#[derive(Default)]
struct OnItsWay(Mutex<Option<BlockNumber>>);

impl OnItsWay {
    /// It is one value, which no panic leaves half changed.
    fn last_block(&self) -> MutexGuard<'_, Option<BlockNumber>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many blocks an extrinsic has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    /// [`LIFETIME_BLOCKS`] from the newest finalised one.
    Usual,
    /// [`SHORT_LIFETIME_BLOCKS`] from the newest one: finality may be as far behind.
    Short,
}

type Signed = SubmittableTransaction<PolkadotConfig, OnlineClientAtBlockImpl<PolkadotConfig>>;
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
        self.follow_within(account, call, until, (Lifetime::Usual, wait), &OnItsWay::default()).await
    }

    /// Like [`Self::submit_within`], until it is in a block, of an extrinsic that has [`SHORT_LIFETIME_BLOCKS`]: for what is submitted
    /// again if it does not arrive, and may cost a fee if it arrives twice. Says until when another of the same would be a second one.
    pub async fn submit_short_lived(&self, account: &Account, call: &ChainCall, wait: Duration) -> Attempted {
        let on_its_way = OnItsWay::default();
        let outcome = self.follow_within(account, call, Until::InBlock, (Lifetime::Short, wait), &on_its_way).await;
        let possible_until = *on_its_way.last_block();
        Attempted { outcome, possible_until }
    }

    async fn follow_within(
        &self,
        account: &Account,
        call: &ChainCall,
        until: Until,
        (lifetime, wait): (Lifetime, Duration),
        on_its_way: &OnItsWay,
    ) -> Result<Included, SubmitError> {
        let follow = async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let progress = self.hand_over(account, call, lifetime, on_its_way).await?;
                match self.follow(progress, until).await? {
                    Some(block) => return self.outcome(block).await,
                    // Another extrinsic of the account took the nonce: ours can never be included.
                    None => *on_its_way.last_block() = None,
                }
                if attempt >= MAX_ATTEMPTS {
                    return Err(nonce_lost(call));
                }
                tracing::debug!(call = call.label(), "nonce was taken, signing again");
            }
        };
        let blocks = match lifetime {
            Lifetime::Usual => LIFETIME_BLOCKS,
            Lifetime::Short => SHORT_LIFETIME_BLOCKS.into(),
        };
        let hint = format!(
            "it may be included yet, up to {blocks} blocks after it was signed: before that, what is sent again can happen twice. \
             `phala status` shows whether the chain makes and finalises blocks"
        );
        tokio::time::timeout(wait, follow).await.map_err(|_| {
            ClientError::new(ErrorCode::Timeout, format!("{} was not included in time", call.label())).with_hint(hint)
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
        let (signed, _) = self.signed(account, call, 0, Lifetime::Usual).await?;
        signed.partial_fee_estimate().await.map_err(|error| errors::other(&error))
    }

    async fn hand_over(
        &self,
        account: &Account,
        call: &ChainCall,
        lifetime: Lifetime,
        on_its_way: &OnItsWay,
    ) -> Result<Progress, SubmitError> {
        let address = ss58::format(&account.id(), 42);
        for attempt in 0..MAX_ATTEMPTS {
            let _turn = self.submitting.lock().await;
            let nonce: u64 = self.request("system_accountNextIndex", params![&address]).await?;
            let (signed, last_block) = self.signed(account, call, nonce, lifetime).await?;
            // Also when no answer comes: the node may have taken it.
            *on_its_way.last_block() = Some(last_block);
            let error = match signed.submit_and_watch().await {
                Ok(progress) => return Ok(progress),
                Err(error) => error,
            };
            let ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(RpcError::ClientError(error))) = &error
            else {
                return Err(errors::other(&error).into());
            };
            if errors::is_refused_by_pool(error) {
                *on_its_way.last_block() = None;
            }
            let (error, nonce_taken) = errors::pool_error(error);
            if !nonce_taken {
                return Err(error);
            }
            tracing::debug!(call = call.label(), nonce, "nonce was taken: {error}");
            tokio::time::sleep(Duration::from_millis(40 * u64::from(attempt + 1))).await;
        }
        Err(nonce_lost(call))
    }

    /// A signed extrinsic, and the last block that it can be in.
    async fn signed(
        &self,
        account: &Account,
        call: &ChainCall,
        nonce: u64,
        lifetime: Lifetime,
    ) -> Result<(Signed, BlockNumber), ClientError> {
        let client = self.client.at_current_block().await.map_err(|error| errors::other(&error))?;
        let (blocks, from, from_hash) = match lifetime {
            Lifetime::Usual => (LIFETIME_BLOCKS, client.block_number(), client.block_hash()),
            Lifetime::Short => {
                let best = self.best_head().await?;
                (SHORT_LIFETIME_BLOCKS.into(), best.number.into(), H256(best.hash))
            }
        };
        let last_block = BlockNumber::try_from(from.saturating_add(blocks - 1)).unwrap_or(BlockNumber::MAX);
        let params = PolkadotExtrinsicParamsBuilder::<PolkadotConfig>::new()
            .nonce(nonce)
            .mortal_from_unchecked(blocks, from, from_hash)
            .build();
        let mut signable = client.tx().create_signable_offline(call, params).map_err(|error| errors::other(&error))?;
        let payload = signable.signer_payload().map_err(|error| errors::other(&error))?;
        let signature = MultiSignature::Sr25519(account.sign(&payload)?);
        let signed = signable
            .sign_with_account_and_signature(&AccountId32(account.id().0), &signature)
            .map_err(|error| errors::other(&error))?;
        Ok((signed, last_block))
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
