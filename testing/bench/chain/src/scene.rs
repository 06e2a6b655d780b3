//! The chain before the block: a development genesis, funded senders, clusters with an open epoch; and the transactions.

use crate::SENDERS;
use anyhow::{anyhow, Context, Result};
use codec::Encode;
use phala_pallet_contracts::Clusters;
use phala_protocol::{
    chain_state::ClusterRecord,
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, PUBLIC_KEY_BYTES, VERSION},
    gas::{GasClass, BACKLOG_LIMIT},
    ClusterId, WorkerId,
};
use phala_runtime::{
    currency::UNIT, genesis, AccountId, Address, Nonce, Runtime, RuntimeCall, RuntimeGenesisConfig, SignedPayload,
    TxExtension, UncheckedExtrinsic,
};
use sp_core::{crypto::Ss58Codec, sr25519, Pair};
use sp_runtime::{generic::Era, BuildStorage, MultiSignature};

/// Clusters that there are: the block's transactions are of the smallest gas class, of which one takes two thousand.
const CLUSTERS: u32 = 8;

/// What fills the block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// Plain transfers: the baseline.
    Transfers,
    /// Pushes of `batch` envelopes of one size class.
    Commands { size: SizeClass, batch: u32 },
}

impl Workload {
    /// Commands in one transaction.
    pub(crate) fn batch(self) -> u32 {
        match self {
            Self::Transfers => 1,
            Self::Commands { batch, .. } => batch,
        }
    }

    /// Bytes of a message; nothing for transfers.
    pub(crate) fn message(self) -> Option<Vec<u8>> {
        match self {
            Self::Transfers => None,
            Self::Commands { size, .. } => Some(envelope(ClusterId(0), size)),
        }
    }
}

pub(crate) struct Scene {
    storage: sp_core::storage::Storage,
    senders: Vec<(sr25519::Pair, AccountId)>,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        let patch = genesis::preset(&genesis::DEV.into()).context("the runtime has no preset dev")?;
        let mut config = serde_json::to_value(RuntimeGenesisConfig::default())?;
        merge(&mut config, serde_json::from_slice(&patch)?);
        let config: RuntimeGenesisConfig = serde_json::from_value(config)?;
        let storage = config.build_storage().map_err(|error| anyhow!(error))?;
        let senders = (0..SENDERS)
            .map(|number| {
                let pair = sr25519::Pair::from_string(&format!("//bench/{number}"), None)?;
                let account = AccountId::from(pair.public());
                Ok((pair, account))
            })
            .collect::<Result<Vec<_>, sp_core::crypto::SecretStringError>>()
            .map_err(|error| anyhow!("a development key cannot be made: {error:?}"))?;
        Ok(Self { storage, senders })
    }

    /// The state before the block, committed.
    pub(crate) fn state(&self) -> Result<sp_io::TestExternalities> {
        let mut state = sp_io::TestExternalities::new(self.storage.clone());
        state.execute_with(|| {
            for (_, account) in &self.senders {
                frame_system::Account::<Runtime>::insert(account, funded());
            }
            for cluster in 0..CLUSTERS {
                Clusters::<Runtime>::insert(ClusterId(cluster), open_cluster());
            }
        });
        state.commit_all().map_err(|error| anyhow!(error))?;
        Ok(state)
    }

    /// The block's transaction number `index`; inside the state's externalities, which its signature commits to.
    pub(crate) fn transaction(&self, workload: Workload, index: u32) -> Result<UncheckedExtrinsic> {
        let who = (index % SENDERS) as usize;
        let (pair, account) = self.senders.get(who).context("no such sender")?;
        let call = match workload {
            Workload::Transfers => {
                let (_, to) = self.senders.get((who + 1) % self.senders.len()).context("no such receiver")?;
                let dest = Address::Id(to.clone());
                RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest, value: UNIT })
            }
            Workload::Commands { size, batch } => {
                let room = u32::try_from(BACKLOG_LIMIT / GasClass::Small.gas())? / batch;
                let cluster = ClusterId(index / room);
                let message = envelope(cluster, size).try_into().map_err(|_| anyhow!("the envelope is too long"))?;
                let envelopes =
                    vec![message; batch as usize].try_into().map_err(|_| anyhow!("too many envelopes in a push"))?;
                RuntimeCall::Inbox(phala_pallet_inbox::Call::push {
                    cluster,
                    gas_class: GasClass::Small,
                    envelopes,
                    max_fee: u128::MAX,
                })
            }
        };
        let extension = TxExtension::new((
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            frame_system::CheckEra::from(Era::Immortal),
            frame_system::CheckNonce::from(Nonce::from(index / SENDERS)),
            frame_system::CheckWeight::new(),
            pallet_transaction_payment::ChargeTransactionPayment::from(0),
            frame_metadata_hash_extension::CheckMetadataHash::new(false),
            frame_system::WeightReclaim::new(),
        ));
        let payload = SignedPayload::new(call.clone(), extension.clone())
            .map_err(|error| anyhow!("{}: no payload: {error:?}", account.to_ss58check()))?;
        let signature = MultiSignature::Sr25519(payload.using_encoded(|bytes| pair.sign(bytes)));
        Ok(UncheckedExtrinsic::new_signed(call, Address::Id(account.clone()), signature, extension))
    }
}

/// JSON merge patch (RFC 7396) without removals: how every node applies a preset.
fn merge(into: &mut serde_json::Value, patch: serde_json::Value) {
    match (into, patch) {
        (serde_json::Value::Object(into), serde_json::Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

fn funded() -> frame_system::AccountInfo<Nonce, pallet_balances::AccountData<u128>> {
    let data = pallet_balances::AccountData { free: 1_000_000 * UNIT, ..Default::default() };
    frame_system::AccountInfo { providers: 1, data, ..Default::default() }
}

fn open_cluster() -> ClusterRecord {
    ClusterRecord {
        era: 0,
        era_before: 0,
        epoch: 1,
        opened_at: 0,
        opened_count: 0,
        final_count: 0,
        bound_epoch: 0,
        epoch_length: 3_600,
        envelope_key: vec![1; PUBLIC_KEY_BYTES],
        replicas: (1..=3).map(|number| WorkerId([number; 32])).collect(),
    }
}

/// Bytes of the form of an envelope; the chain does not open it.
fn envelope(cluster: ClusterId, size: SizeClass) -> Vec<u8> {
    let header = EnvelopeHeader { version: VERSION, kind: EnvelopeKind::Call, cluster, epoch: 1, size };
    let opening = vec![1; header.opening_bytes()];
    Envelope { header, opening, body: vec![1; size.bytes() + AEAD_TAG_BYTES] }.to_bytes()
}
