//! One full block, built and measured.

use crate::scene::{Scene, Workload};
use anyhow::{bail, Result};
use codec::Encode;
use frame_support::dispatch::DispatchClass;
use phala_protocol::{
    gas::{GasClass, BACKLOG_LIMIT},
    inbox::{Head, ItemHeader, ItemKind, ItemOrigin},
    AccountId, ClusterId,
};
use phala_runtime::{Executive, Header, Runtime, RuntimeCall, System, UncheckedExtrinsic};
use sp_consensus_babe::{
    digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest},
    Slot,
};
use sp_runtime::{
    generic::{Digest, DigestItem},
    traits::Header as _,
    transaction_validity::{InvalidTransaction, TransactionValidityError},
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// The slot of the block, of one second.
const SLOT: u64 = 1_800_000_000;
/// The work of a block: what the runtime's maximum block weight stands for.
const BLOCK_TIME: Duration = Duration::from_millis(400);

/// A block that took no more.
pub(crate) struct Full {
    pub(crate) commands: u32,
    /// Bytes of its transactions.
    pub(crate) bytes: usize,
    /// Bytes of the proof of what it reads.
    pub(crate) proof_bytes: usize,
    pub(crate) fill_bytes: f64,
    pub(crate) fill_weight: f64,
    pub(crate) fill_backlog: f64,
    pub(crate) fill_hash: f64,
    pub(crate) milliseconds: f64,
}

/// Fills a block with `workload`, then executes it `runs` times more for its time.
pub(crate) fn fill(scene: &Scene, workload: Workload, runs: usize) -> Result<Full> {
    let mut state = scene.state()?;
    let (built, proof) = state.execute_and_prove(|| build(scene, workload));
    let (transactions, weight) = built?;
    let commands = u32::try_from(transactions.len())? * workload.batch();
    let bytes: usize = transactions.iter().map(Encode::encoded_size).sum();

    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let mut state = scene.state()?;
        let fresh = transactions.clone();
        times.push(state.execute_with(|| execute(fresh))?);
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();

    let length = <Runtime as frame_system::Config>::BlockLength::get();
    let gas = match workload {
        Workload::Transfers => 0,
        Workload::Commands { .. } => u64::from(commands) * GasClass::Small.gas(),
    };
    let hashing = workload.message().map_or(Duration::ZERO, |message| hash_chain(&message, commands));
    Ok(Full {
        commands,
        bytes,
        proof_bytes: proof.encoded_size(),
        fill_bytes: percent(bytes as f64, f64::from(*length.max.get(DispatchClass::Normal))),
        fill_weight: weight,
        fill_backlog: percent(gas as f64, BACKLOG_LIMIT as f64),
        fill_hash: percent(hashing.as_secs_f64(), BLOCK_TIME.as_secs_f64()),
        milliseconds: median.as_secs_f64() * 1_000.0,
    })
}

fn percent(value: f64, limit: f64) -> f64 {
    100.0 * value / limit
}

/// Begins the block: its slot and its time.
fn begin() -> Result<()> {
    let pre_digest = PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: 0, slot: Slot::from(SLOT) });
    let digest = Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(pre_digest)] };
    let parent = System::block_hash(0);
    Executive::initialize_block(&Header::new(1, Default::default(), Default::default(), parent, digest));
    let now = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: SLOT * 1_000 });
    if !apply(UncheckedExtrinsic::new_bare(now))? {
        bail!("the block has no room for its timestamp");
    }
    Ok(())
}

/// Adds a transaction; false when the block is full.
fn apply(transaction: UncheckedExtrinsic) -> Result<bool> {
    match Executive::apply_extrinsic(transaction) {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => bail!("a transaction failed: {error:?}"),
        Err(TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources)) => Ok(false),
        Err(error) => bail!("a transaction is refused: {error:?}"),
    }
}

/// The transactions that fill a block, and how full their weight makes it, in percent of what ordinary ones may use.
fn build(scene: &Scene, workload: Workload) -> Result<(Vec<UncheckedExtrinsic>, f64)> {
    begin()?;
    let used = || System::block_weight().get(DispatchClass::Normal).ref_time();
    let before = used();
    let mut transactions = Vec::new();
    loop {
        let transaction = scene.transaction(workload, u32::try_from(transactions.len())?)?;
        if !apply(transaction.clone())? {
            break;
        }
        transactions.push(transaction);
    }
    let limits = <Runtime as frame_system::Config>::BlockWeights::get();
    let limit = limits.get(DispatchClass::Normal).max_total.unwrap_or(limits.max_block).ref_time();
    let weight = percent(used().saturating_sub(before) as f64, limit.saturating_sub(before) as f64);
    Ok((transactions, weight))
}

/// How long the transactions take.
fn execute(transactions: Vec<UncheckedExtrinsic>) -> Result<Duration> {
    begin()?;
    let started = Instant::now();
    for transaction in transactions {
        if !apply(transaction)? {
            bail!("the block is full before its end");
        }
    }
    Ok(started.elapsed())
}

/// How long it takes to hash `count` messages into their chain.
fn hash_chain(message: &[u8], count: u32) -> Duration {
    let mut head = Head::empty(ClusterId(0));
    let started = Instant::now();
    for _ in 0..count {
        let header = ItemHeader {
            kind: ItemKind::Envelope(GasClass::Small),
            origin: ItemOrigin::Account(AccountId([1; 32])),
            sequence: head.count,
            block: 1,
            time_ms: SLOT * 1_000,
            fee: 1,
        };
        head = black_box(head.pushed(&header, black_box(message)).unwrap_or(head));
    }
    started.elapsed()
}
