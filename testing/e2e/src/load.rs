//! A bounded load: sealed token transfers by the development accounts, each written down before it is sent.
//!
//! A transfer is an *intent* with one nonce. Whoever sends it cannot know what became of it when the node dies in between, so it is
//! sealed and sent again, with the same nonce, until the chain includes one of its envelopes; the network has to execute it once,
//! however many of them are included. What was sent is kept here, so that an auditor can hold the inbox against it.
//!
//! Guarantees: each account has one transfer under way at a time; nothing is sent after the load is told to stop, except what
//! was begun. The keys are the published ones of a development network.

pub mod link;

use crate::campaign::plan::Random;
use anyhow::{ensure, Context, Result};
use codec::{Decode, Encode};
use link::Link;
use phala_client::{
    abi::{Kind, Metadata},
    chain::{ChainCall, Included, SubmitError},
    Account, ClientError, ErrorCode, Until,
};
use phala_crypto::{
    envelope::{seal_envelope, Destination},
    xwing::EncapsulationKey,
};
use phala_protocol::{
    call::{signing_payload, Call, CallPurpose, SignedCall},
    chain_state::ClusterRecord,
    envelope::{public_key_hash, EnvelopeKind, SizeClass},
    gas::GasClass,
    hash::blake2_256,
    ids::{Balance, BlockNumber},
    ClusterId, ContractId, Hash,
};
use std::{
    collections::HashMap,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// Blocks within which a transfer must be included: more than any recovery takes.
const LIFETIME: BlockNumber = 1_200;
/// How long one submission is followed before it counts as lost.
const FOLLOW: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(300);

/// A deployed token.
pub struct Token {
    /// Which contract.
    pub contract: ContractId,
    /// Where it runs.
    pub cluster: ClusterId,
    /// Its methods.
    pub metadata: Metadata,
}

impl Token {
    /// Reads what the chain knows of `contract`.
    pub async fn find(link: &Link, contract: &str) -> Result<Self> {
        let bytes = hex::decode(contract.trim_start_matches("0x")).context("the contract's id is no hexadecimal")?;
        let contract = ContractId::decode(&mut bytes.as_slice()).context("the contract's id is too short")?;
        let record = link.answer(|network| async move { network.contract(&contract).await }).await?;
        let wasm = link.answer(|network| async move { network.code(&record.code).await }).await?;
        Ok(Self { contract, cluster: record.cluster, metadata: Metadata::from_wasm(&wasm)? })
    }

    /// The input of `method`, as a contract takes it.
    pub fn input(&self, kind: Kind, method: &str, arguments: &[serde_json::Value]) -> Result<Vec<u8>> {
        let names = |name: &str| Account::development(name).ok().map(|account| account.id());
        Ok(self.metadata.method(kind, method)?.encode_input(arguments, &names)?)
    }
}

/// A transfer that somebody wants.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Which token, by index.
    pub token: usize,
    /// Who sends, by index.
    pub from: usize,
    /// Who receives, by index.
    pub to: usize,
    /// How much.
    pub amount: u128,
    /// The call's nonce.
    pub nonce: u64,
    /// How often it was sent.
    pub sent: u32,
    /// Where the chain said that it was included, in a finalised block: its place in the inbox, and the block.
    pub accepted: Option<(u64, BlockNumber)>,
}

/// Everything that was ever sent.
#[derive(Default)]
pub struct Ledger(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    intents: Vec<Intent>,
    envelopes: HashMap<Hash, usize>,
}

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, intent: Intent) -> usize {
        let mut pages = self.pages();
        pages.intents.push(intent);
        pages.intents.len() - 1
    }

    fn sending(&self, intent: usize, envelope: &[u8]) {
        let mut pages = self.pages();
        pages.intents[intent].sent += 1;
        pages.envelopes.insert(blake2_256(envelope), intent);
    }

    fn accepted(&self, intent: usize, sequence: u64, block: BlockNumber) {
        self.pages().intents[intent].accepted = Some((sequence, block));
    }

    /// The intent that this envelope carries.
    pub fn by_envelope(&self, envelope: &[u8]) -> Option<usize> {
        self.pages().envelopes.get(&blake2_256(envelope)).copied()
    }

    /// An intent.
    pub fn intent(&self, index: usize) -> Intent {
        self.pages().intents[index].clone()
    }

    /// All intents.
    pub fn intents(&self) -> Vec<Intent> {
        self.pages().intents.clone()
    }
}

/// What all senders share.
pub struct Load {
    /// The network.
    pub link: Arc<Link>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// What was sent.
    pub ledger: Ledger,
    nonces: Vec<Mutex<u64>>,
    stopping: AtomicBool,
}

impl Load {
    /// Of all development accounts over `tokens`. Nothing is sent yet.
    pub fn new(link: Arc<Link>, tokens: Vec<Token>) -> Result<Self> {
        let accounts: Vec<_> =
            Account::development_names().into_iter().map(Account::development).collect::<Result<_, _>>()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        let first = u64::try_from(now).context("the clock is far off")?;
        let nonces = accounts.iter().map(|_| Mutex::new(first)).collect();
        let (ledger, stopping) = (Ledger::default(), AtomicBool::new(false));
        Ok(Self { link, accounts, tokens, ledger, nonces, stopping })
    }

    /// Lets every account but the last send to others, each after `pause` at the most, until [`Self::stop`].
    pub fn start(self: &Arc<Self>, seed: u64, pause: Duration) -> JoinSet<Result<()>> {
        let mut senders = JoinSet::new();
        for from in 0..self.accounts.len() - 1 {
            let load = self.clone();
            let mut random = stream(seed, from);
            senders.spawn(async move {
                while !load.stopping.load(Ordering::Relaxed) {
                    let token = random.below(load.tokens.len() as u64) as usize;
                    let to = random.below(load.accounts.len() as u64) as usize;
                    // Alice begins with all of it: she is generous, so that the others have something to send.
                    let amount = u128::from(random.below(if from == 0 { 1_000_000 } else { 20_000 }));
                    load.transfer(token, from, to, amount).await?;
                    tokio::time::sleep(random.pause(pause.as_millis() as u64)).await;
                }
                Ok(())
            });
        }
        senders
    }

    /// No more transfers are begun.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Sends one transfer until the chain has it in a finalised block. Returns its index in the ledger.
    ///
    /// # Errors
    /// When the chain refuses it for a reason that repeating does not change, which no transfer of a load gives it.
    pub async fn transfer(&self, token: usize, from: usize, to: usize, amount: u128) -> Result<usize> {
        let (contract, cluster) = (self.tokens[token].contract, self.tokens[token].cluster);
        let arguments = [self.accounts[to].name().into(), amount.to_string().into()];
        let payload = self.tokens[token].input(Kind::Call, "transfer", &arguments)?;
        let nonce = {
            let mut nonce = self.nonces[from].lock().unwrap_or_else(PoisonError::into_inner);
            *nonce += 1;
            *nonce
        };
        let intent = self.ledger.begin(Intent { token, from, to, amount, nonce, sent: 0, accepted: None });
        let class = GasClass::Small;
        let (_, height) = self.link.answer(|network| async move { network.cluster(cluster).await }).await?;
        let call = Call {
            purpose: CallPurpose::Command,
            contract,
            nonce,
            valid_until: height.saturating_add(LIFETIME),
            gas_class: class,
            gas_limit: class.gas(),
            max_fee: Balance::MAX,
            payload,
        };
        loop {
            let (record, _) = self.link.answer(|network| async move { network.cluster(cluster).await }).await?;
            let network = self.link.network().await;
            let (genesis, account) = (network.genesis(), &self.accounts[from]);
            let signed = sign(genesis, cluster, &record, account, &call)?;
            let envelope = seal(genesis, cluster, &record, &signed)?;
            self.ledger.sending(intent, &envelope);
            let push = ChainCall::push(cluster, class, vec![envelope], Balance::MAX);
            let sent =
                tokio::time::timeout(FOLLOW, network.chain().submit(&self.accounts[from], &push, Until::Finalised));
            let error = match sent.await {
                Ok(Ok(included)) => {
                    let sequence = sequence(&included)?;
                    self.ledger.accepted(intent, sequence, included.block);
                    return Ok(intent);
                }
                Ok(Err(error)) => error,
                Err(_) => ClientError::new(ErrorCode::Timeout, "not included in time").into(),
            };
            match &error {
                SubmitError::Client(error) => self.link.failed(&network, error).await,
                SubmitError::Rejected { .. } => {}
                // The epoch rolled, or the queue is full: both pass.
                SubmitError::Pallet(refusal) => {
                    let passes = refusal.pallet == "Inbox" && ["WrongEpoch", "Busy"].contains(&refusal.error.as_str());
                    ensure!(passes, "the chain refuses a transfer: {error}");
                }
                SubmitError::Dispatch { .. } => anyhow::bail!("the chain refuses a transfer: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What decides the transfers of account number `from` in a load of `seed`.
pub fn stream(seed: u64, from: usize) -> Random {
    Random::of([seed, from as u64])
}

/// Where the item went, by the event of its inclusion.
fn sequence(included: &Included) -> Result<u64> {
    let mut fields = included.event("Inbox", "Pushed").context("an included push has no event")?;
    let (_, sequence, _, _) =
        <(ClusterId, u64, Hash, Balance)>::decode(&mut fields).context("the event of a push is of another version")?;
    Ok(sequence)
}

/// `call`, as `account` signs it for the open epoch's key of a cluster on the chain of `genesis`.
///
/// # Errors
/// When the system has no entropy.
pub fn sign(
    genesis: &Hash,
    cluster: ClusterId,
    record: &ClusterRecord,
    account: &Account,
    call: &Call,
) -> Result<SignedCall> {
    let payload = signing_payload(genesis, cluster, &public_key_hash(&record.envelope_key), call);
    Ok(SignedCall { account: account.id(), call: call.clone(), signature: account.sign(&payload)? })
}

/// Seals a signed call under the open epoch's key of a cluster on the chain of `genesis`, freshly every time.
///
/// # Errors
/// When the call is longer than any envelope, the record holds no key, or the system has no entropy.
pub fn seal(genesis: &Hash, cluster: ClusterId, record: &ClusterRecord, signed: &SignedCall) -> Result<Vec<u8>> {
    let plain = signed.encode();
    let size = SizeClass::holding(plain.len()).context("a call fits the largest envelopes")?;
    let key = EncapsulationKey::from_bytes(&record.envelope_key)?;
    let mut entropy = [0; 64];
    getrandom::fill(&mut entropy).map_err(|error| anyhow::anyhow!("the system has no entropy: {error}"))?;
    let destination = Destination { genesis: *genesis, cluster, epoch: record.epoch };
    Ok(seal_envelope(&key, &destination, EnvelopeKind::Call, size, &plain, &entropy)?.0.to_bytes())
}
