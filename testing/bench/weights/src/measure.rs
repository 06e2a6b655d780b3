//! Executes what a scene is for: natively to count what is read and written, in the runtime's WASM for its time.
//!
//! What is counted and timed is what is beyond a baseline: `system.remark` of as many bytes by the same sender (through sudo where the
//! call is root's), which every transaction pays for as its base weight; for a hook, the beginning of a quiet block. Keys that the
//! baseline touches too are not counted. Time is processor time of this thread, and the median of several runs, taken in turns.

use crate::{
    case::{Point, Scene, Work},
    world::{self, BLOCK},
};
use anyhow::{anyhow, bail, ensure, Context, Result};
use codec::{Decode, Encode};
use frame_support::{dispatch::GetDispatchInfo, weights::Weight};
use phala_protocol::egress::EgressOutcome;
use phala_runtime::{
    Address, Executive, Header, Runtime, RuntimeCall, RuntimeEvent, SignedPayload, System, TxExtension,
    UncheckedExtrinsic,
};
use rustix::time::{clock_gettime, ClockId};
use sc_executor::WasmExecutor;
use sp_consensus_babe::{
    digests::{CompatibleDigestItem, PreDigest, SecondaryPlainPreDigest},
    Slot,
};
use sp_core::{
    storage::Storage,
    traits::{CallContext, CodeExecutor, RuntimeCode, WrappedRuntimeCode},
    Pair,
};
use sp_io::TestExternalities;
use sp_keyring::Sr25519Keyring;
use sp_runtime::{
    generic::{Digest, DigestItem, Era},
    traits::Header as _,
    ApplyExtrinsicResult, DispatchError, DispatchResult, MultiSignature,
};
use sp_trie::recorder::Recorder;
use std::{
    borrow::Cow,
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// What a hook takes in a quiet block too, and so is not in the difference: a few reads from memory. Nanoseconds, on the high side.
const QUIET_HOOK: u64 = 10_000;
/// What anything is taken to cost at the least, in nanoseconds: less is lost in the noise of its baseline.
const LEAST: u64 = 5_000;
/// Runs of which the median is taken, at least and at most.
const RUNS: (usize, usize) = (5, 101);

/// What a scene's work touches, beyond its baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    /// Bytes of the proof of what is read.
    pub(crate) proof: u64,
}

/// Keys that were touched.
#[derive(Default)]
struct Touched {
    reads: BTreeSet<Vec<u8>>,
    writes: BTreeSet<Vec<u8>>,
    proof: u64,
}

impl Touched {
    fn beyond(&self, baseline: &Self) -> Counts {
        Counts {
            reads: self.reads.difference(&baseline.reads).count() as u64,
            writes: self.writes.difference(&baseline.writes).count() as u64,
            proof: self.proof.saturating_sub(baseline.proof),
        }
    }
}

/// What is expected of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Taken,
    /// By sudo, and what the call declares as its weight.
    TakenAsRoot(Weight),
    /// With the error of this name.
    Refused(&'static str),
}

enum Task {
    Transaction { measured: Box<UncheckedExtrinsic>, baseline: Box<UncheckedExtrinsic>, expected: Expected },
    Block { quiet: Box<TestExternalities>, hook: fn(u32) -> Weight, done: fn() -> bool },
}

/// A scene whose state is committed.
pub(crate) struct Prepared {
    /// The arguments of the weight's function.
    pub(crate) at: Vec<u32>,
    state: TestExternalities,
    task: Task,
}

impl Prepared {
    pub(crate) fn new(genesis: &Storage, point: &Point) -> Result<Self> {
        let (mut state, scene) = state(genesis, || (point.setup)(point.size))?;
        let Scene { at, work } = scene;
        let (call, expected) = match work {
            Work::Block { hook, done } => {
                let (quiet, ()) = self::state(genesis, || Ok(()))?;
                return Ok(Self { at, state, task: Task::Block { quiet: Box::new(quiet), hook, done } });
            }
            Work::Call(call) => (call, Expected::Taken),
            Work::Root(call) => {
                let charged = state.execute_with(|| call.get_dispatch_info().call_weight);
                (as_root(call), Expected::TakenAsRoot(charged))
            }
            Work::Refused(call, error) => (call, Expected::Refused(error)),
        };
        let bytes = call.encoded_size();
        let remark = |bytes| RuntimeCall::System(frame_system::Call::remark { remark: vec![0; bytes] });
        let nothing = match expected {
            // The length of a remark takes up to four bytes beside it, its own name two, sudo's with its weight four.
            Expected::TakenAsRoot(_) => as_root(remark(bytes.saturating_sub(10))),
            Expected::Taken | Expected::Refused(_) => remark(bytes.saturating_sub(6)),
        };
        let signed = state.execute_with(|| Ok::<_, anyhow::Error>((signed(call)?, signed(nothing)?)))?;
        state.reset_overlay();
        let (measured, baseline) = (Box::new(signed.0), Box::new(signed.1));
        Ok(Self { at, state, task: Task::Transaction { measured, baseline, expected } })
    }

    /// Does it natively, and counts. `charged` is the weight's function.
    ///
    /// # Errors
    /// When the scene does not do what it is for.
    pub(crate) fn count(&mut self, charged: fn(&[u32]) -> Weight) -> Result<Counts> {
        match &self.task {
            Task::Transaction { measured, baseline, expected } => {
                let (said, touched) = observe(&mut self.state, || apply(measured.as_ref().clone()));
                judge(&said.result, *expected)?;
                // Sudo's transaction is charged for nothing of what it does: see `as_root`.
                let mut weight = said.charged.unwrap_or_default();
                if let Expected::TakenAsRoot(charged) = *expected {
                    weight = charged;
                    ensure!(matches!(said.of_root, Some(Ok(()))), "root's call failed: {:?}", said.of_root);
                }
                ensure!(said.failed.is_none(), "an item failed: {:?}", said.failed);
                // What does less than the arguments say is charged for less, and would make the weight too low.
                let needed = charged(&self.at);
                ensure!(weight.all_gte(needed), "{weight:?} is charged, and not {needed:?}");
                let (_, nothing) = observe(&mut self.state, || apply(baseline.as_ref().clone()));
                Ok(touched.beyond(&nothing))
            }
            Task::Block { hook, done, .. } => {
                let (hook, done) = (*hook, *done);
                let (weight, touched) = observe(&mut self.state, || {
                    System::set_block_number(BLOCK + 1);
                    hook(BLOCK + 1)
                });
                let needed = charged(&self.at);
                ensure!(weight.all_gte(needed), "{weight:?} is charged, and not {needed:?}");
                let is_done = self.state.execute_with(|| {
                    System::set_block_number(BLOCK + 1);
                    let _weight = hook(BLOCK + 1);
                    done()
                });
                self.state.reset_overlay();
                ensure!(is_done, "the hook did not do what the scene is for");
                // What every block writes.
                let (_, nothing) = observe(&mut self.state, || {
                    System::set_block_number(BLOCK + 1);
                    let account = Sr25519Keyring::Alice.to_account_id();
                    System::deposit_event(frame_system::Event::<Runtime>::NewAccount { account });
                });
                Ok(touched.beyond(&nothing))
            }
        }
    }

    /// Nanoseconds in WASM, beyond the baseline.
    pub(crate) fn time(&mut self, engine: &Engine, budget: Duration) -> Result<(u64, usize)> {
        const APPLY: &str = "BlockBuilder_apply_extrinsic";
        const BEGIN: &str = "Core_initialize_block";
        match &mut self.task {
            Task::Transaction { measured, baseline, expected } => {
                let (measured, baseline) = (measured.encode(), baseline.encode());
                for (bytes, expected) in [(&measured, *expected), (&baseline, Expected::Taken)] {
                    let (_, answer) = engine.call(&mut self.state, APPLY, bytes)?;
                    let said = ApplyExtrinsicResult::decode(&mut &answer[..]).context("the runtime's answer")?;
                    judge(&said, expected)?;
                }
                let state = &mut self.state;
                in_turns(budget, |is_baseline| {
                    Ok(engine.call(state, APPLY, if is_baseline { &baseline } else { &measured })?.0)
                })
            }
            Task::Block { quiet, .. } => {
                let header = next_header().encode();
                let state = &mut self.state;
                let (time, runs) = in_turns(budget, |is_baseline| {
                    Ok(engine.call(if is_baseline { quiet } else { &mut *state }, BEGIN, &header)?.0)
                })?;
                Ok((time.saturating_add(QUIET_HOOK), runs))
            }
        }
    }
}

/// The runtime's WASM, compiled.
pub(crate) struct Engine {
    executor: WasmExecutor<sp_io::SubstrateHostFunctions>,
    code: &'static [u8],
}

impl Engine {
    pub(crate) fn new() -> Result<Self> {
        let code = phala_runtime::WASM_BINARY.context("the runtime was built without its WASM")?;
        Ok(Self { executor: WasmExecutor::builder().build(), code })
    }

    /// Calls `method` and forgets what it changed. Gives nanoseconds and the answer.
    fn call(&self, state: &mut TestExternalities, method: &str, data: &[u8]) -> Result<(u64, Vec<u8>)> {
        let code = WrappedRuntimeCode(Cow::Borrowed(self.code));
        let runtime = RuntimeCode { code_fetcher: &code, heap_pages: None, hash: vec![1] };
        let (taken, answer) = {
            let mut externalities = state.ext();
            let begun = processor_time();
            let context = CallContext::Onchain { import: false };
            let (answer, _) = self.executor.call(&mut externalities, &runtime, method, data, context);
            (processor_time().saturating_sub(begun), answer)
        };
        state.reset_overlay();
        Ok((taken, answer.map_err(|error| anyhow!("{method} in WASM: {error}"))?))
    }
}

/// Median of what `run` takes, less the median of its baseline, and how many runs there were of each.
fn in_turns(budget: Duration, mut run: impl FnMut(bool) -> Result<u64>) -> Result<(u64, usize)> {
    let (begun, mut measured, mut baseline) = (Instant::now(), Vec::new(), Vec::new());
    // The first of each warms the caches.
    run(false)?;
    run(true)?;
    while measured.len() < RUNS.0 || (measured.len() < RUNS.1 && begun.elapsed() < budget) {
        measured.push(run(false)?);
        baseline.push(run(true)?);
    }
    let runs = measured.len();
    Ok((median(measured).saturating_sub(median(baseline)).max(LEAST), runs))
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Processor time of this thread, in nanoseconds: another process on the machine makes a figure less exact, and not much larger.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, rest) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The genesis state with what `prepare` does to block [`BLOCK`], committed.
fn state<R>(genesis: &Storage, prepare: impl FnOnce() -> Result<R>) -> Result<(TestExternalities, R)> {
    let mut state = TestExternalities::new(genesis.clone());
    let prepared = state.execute_with(|| {
        world::begin();
        let prepared = prepare();
        System::reset_events();
        prepared
    })?;
    state.commit_all().map_err(|error| anyhow!(error))?;
    state.reset_overlay();
    Ok((state, prepared))
}

/// Runs natively, records what is touched, and forgets what changed.
fn observe<R>(state: &mut TestExternalities, run: impl FnOnce() -> R) -> (R, Touched) {
    let recorder = Recorder::<sp_core::Blake2Hasher>::default();
    let result = state.execute_with_recorder(recorder.clone(), run);
    let mut touched = Touched::default();
    for keys in recorder.recorded_keys().into_values() {
        touched.reads.extend(keys.into_keys().map(|key| key.to_vec()));
    }
    touched.writes.extend(state.overlayed_changes().changes().map(|(key, _)| key.clone()));
    touched.proof = recorder.to_storage_proof().encoded_size() as u64;
    state.reset_overlay();
    (result, touched)
}

/// What came of a transaction.
struct Said {
    result: ApplyExtrinsicResult,
    /// What root's call in it said.
    of_root: Option<DispatchResult>,
    /// What it was charged for in the end.
    charged: Option<Weight>,
    /// What came of an item that was taken and failed.
    failed: Option<EgressOutcome>,
}

fn apply(transaction: UncheckedExtrinsic) -> Said {
    let result = Executive::apply_extrinsic(transaction);
    let mut said = Said { result, of_root: None, charged: None, failed: None };
    for record in System::events() {
        match record.event {
            RuntimeEvent::Sudo(pallet_sudo::Event::Sudid { sudo_result }) => said.of_root = Some(sudo_result),
            RuntimeEvent::System(
                frame_system::Event::ExtrinsicSuccess { dispatch_info }
                | frame_system::Event::ExtrinsicFailed { dispatch_info, .. },
            ) => said.charged = Some(dispatch_info.weight),
            RuntimeEvent::Egress(phala_pallet_egress::Event::Taken { outcome, .. }) => {
                said.failed =
                    said.failed.or(Some(outcome).filter(|outcome| matches!(outcome, EgressOutcome::Failed(_))));
            }
            _ => {}
        }
    }
    said
}

fn judge(said: &ApplyExtrinsicResult, expected: Expected) -> Result<()> {
    match (said, expected) {
        (Ok(Ok(())), Expected::Taken | Expected::TakenAsRoot(_)) => Ok(()),
        // Names are not encoded, so that WASM says none: what it does was done natively before.
        (Ok(Err(DispatchError::Module(error))), Expected::Refused(name))
            if error.message.is_none_or(|said| said == name) =>
        {
            Ok(())
        }
        (Ok(Ok(())), Expected::Refused(_)) => bail!("what should be refused is taken"),
        (said, _) => bail!("the transaction fails: {said:?}"),
    }
}

fn as_root(call: RuntimeCall) -> RuntimeCall {
    // Under no weight: what is measured may take more than a transaction may.
    RuntimeCall::Sudo(pallet_sudo::Call::sudo_unchecked_weight { call: Box::new(call), weight: Weight::zero() })
}

/// Alice's first transaction.
fn signed(call: RuntimeCall) -> Result<UncheckedExtrinsic> {
    let extension = TxExtension::new((
        frame_system::CheckNonZeroSender::<Runtime>::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(0),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    ));
    let payload = SignedPayload::new(call.clone(), extension.clone())
        .map_err(|error| anyhow!("there is nothing to sign: {error:?}"))?;
    let (pair, account) = (Sr25519Keyring::Alice.pair(), Sr25519Keyring::Alice.to_account_id());
    let signature = MultiSignature::Sr25519(payload.using_encoded(|bytes| pair.sign(bytes)));
    Ok(UncheckedExtrinsic::new_signed(call, Address::Id(account), signature, extension))
}

/// The header of the block after [`BLOCK`], in a slot of its own.
fn next_header() -> Header {
    let pre_digest =
        PreDigest::SecondaryPlain(SecondaryPlainPreDigest { authority_index: 0, slot: Slot::from(world::NOW) });
    let digest = Digest { logs: vec![<DigestItem as CompatibleDigestItem>::babe_pre_digest(pre_digest)] };
    Header::new(BLOCK + 1, Default::default(), Default::default(), Default::default(), digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_runtime::ModuleError;

    #[test]
    fn a_refusal_for_another_reason_is_no_state_and_nothing_is_for_nothing() {
        let refused = |message| -> ApplyExtrinsicResult {
            Ok(Err(DispatchError::Module(ModuleError { index: 1, error: [0; 4], message })))
        };
        let expected = Expected::Refused("BadPartial");
        assert!(judge(&refused(Some("BadPartial")), expected).is_ok());
        assert!(judge(&refused(Some("NotDue")), expected).is_err());
        assert!(judge(&Ok(Err(DispatchError::BadOrigin)), expected).is_err());
        assert!(judge(&Ok(Ok(())), expected).is_err());

        let turns =
            |measured, baseline| in_turns(Duration::ZERO, |is| Ok(if is { baseline } else { measured })).unwrap();
        assert_eq!(turns(90_000, 20_000), (70_000, RUNS.0));
        assert_eq!(turns(20_000, 20_001).0, LEAST);
    }
}
