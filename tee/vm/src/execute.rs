//! Runs a contract, and whatever it calls.
//!
//! Guarantees: outcome, gas, writes, events and egress are a function of the request, the world and this binary. A fresh
//! instance for every call, so nothing of one call is left for the next. A contract that fails leaves no write, no
//! event and no egress, and neither does whatever it called; its draws are made. Memory, native stack, call depth, writes, events, input and output are
//! bounded, and so are the codes that it runs ([`crate::codes`]); time is bounded by gas, but for compiling those. A contract on the call
//! stack cannot be entered again. Sans-IO: reads through the [`World`], applies nothing, logs nothing. Contracts control everything from
//! input to pointers; nothing they do can make this panic or block.

use crate::{
    codes::Codes,
    engine::CompiledContract,
    gas,
    limits::{MAX_CALL_DEPTH, MAX_INPUT_BYTES, MAX_MEMORY_PAGES, MAX_TABLE_ELEMENTS},
    module::MEMORY_EXPORT,
    outcome::{classify, Execution, Fault, Outcome, Trap},
    overlay::Overlay,
    rewrite::{NATIVE_FRAME_BYTES, NATIVE_STACK_BYTES, OVERFLOWED},
    world::{BlockContext, Entry, Request, World},
};
use phala_protocol::ids::{Balance, ContractId};
use std::{
    cell::Cell,
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wasmtime::{Global, Memory, ResourceLimiter, Store};

/// Native stack of the engine's own frames between two contracts on the call stack; unoptimised builds need most of
/// it.
const HOST_STACK_BYTES: usize = 256 * 1024;

/// Native stack of the thread that executes. Each contract on the call stack gets its own [`NATIVE_STACK_BYTES`], and one frame beyond it: an
/// enclave has no guard page that would catch it. Address space, of which next to nothing is touched.
const THREAD_STACK_BYTES: usize = MAX_CALL_DEPTH * (NATIVE_STACK_BYTES + NATIVE_FRAME_BYTES + HOST_STACK_BYTES);

/// What the pinned engine says of growth beyond what a 32-bit memory can address; a test asserts it.
const BEYOND_ADDRESS_SPACE: &str = "memory growth exceeds memory type's limits";

const PAGE_BYTES: usize = 64 * 1024;

/// Room for what runs on a contract's thread beside contracts.
const CALLER_STACK_BYTES: usize = 2 << 20;

/// Native stack of a thread that executes contracts among other work.
pub(crate) const CONTRACT_STACK_BYTES: usize = THREAD_STACK_BYTES + CALLER_STACK_BYTES;

thread_local! {
    /// Whether this thread was started with [`CONTRACT_STACK_BYTES`] of stack.
    static ON_STACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on this thread, which was started with [`CONTRACT_STACK_BYTES`] of stack and does nothing else.
pub(crate) fn on_stack<T>(work: impl FnOnce() -> T) -> T {
    ON_STACK.set(true);
    work()
}

/// Runs `work` on a thread that has the stack that contracts need, so that each [`execute`] in it runs there, instead of starting a
/// thread of its own: for whoever executes many commands in a row.
pub fn on_contract_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Fault> {
    on_thread(CONTRACT_STACK_BYTES, || on_stack(work))
}

/// Executes one entry point of `contract`. Blocks until it ends, which `request.gas_limit` bounds, and before that while as many of its
/// kind execute on the engine as may ([`crate::MAX_QUERIES_AT_ONCE`] queries, one command).
///
/// It runs on a thread of its own, or that of [`on_contract_stack`] or [`crate::Executors`]: contracts need a stack of a known size, and a
/// panic of the engine must end the execution, not the process.
pub fn execute(contract: &Arc<CompiledContract>, request: &Request, world: Arc<dyn World>) -> Result<Execution, Fault> {
    if ON_STACK.get() {
        // Nothing that a panic may leave half changed outlives it: overlay and instance are the execution's own.
        return catch_unwind(AssertUnwindSafe(|| execute_here(contract, request, world)))
            .unwrap_or(Err(Fault::Panicked));
    }
    on_thread(THREAD_STACK_BYTES, || execute_here(contract, request, world))?
}

fn on_thread<T: Send>(stack_bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, Fault> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("contract".to_owned())
            .stack_size(stack_bytes)
            .spawn_scoped(scope, work)
            .map_err(Fault::Thread)?
            .join()
            .map_err(|_| Fault::Panicked)
    })
}

fn execute_here(
    contract: &Arc<CompiledContract>,
    request: &Request,
    world: Arc<dyn World>,
) -> Result<Execution, Fault> {
    // Outlives every instance of the execution: while it is held there is a slot for each of them.
    let _turn = contract.turns().take(request.entry);
    let codes = Codes::beginning_with(contract.clone());
    let run = Shared(Arc::new(Mutex::new(Run { overlay: Overlay::default(), stack: Vec::new(), codes })));
    let frame = Frame {
        run: run.clone(),
        world,
        context: request.context,
        contract: request.contract,
        caller: request.caller.0,
        value: request.value,
        read_only: request.entry == Entry::Query,
        input: request.input.clone(),
        output: None,
        result: None,
        memory: None,
        limiter: Limiter::default(),
    };
    let (outcome, gas_used) = run_frame(contract, frame, request.entry, request.gas_limit)?;
    let (writes, events, egress) = std::mem::take(&mut run.lock().overlay).into_changes();
    Ok(Execution { outcome, gas_used, writes, events, egress })
}

/// What all contracts of one execution share.
pub(crate) struct Run {
    pub(crate) overlay: Overlay,
    /// The contracts that have been entered and have not returned, the first one first.
    pub(crate) stack: Vec<ContractId>,
    /// What these run, and those that have returned ran.
    pub(crate) codes: Codes,
}

/// The [`Run`], behind a lock that is never contended: an execution has one thread. It is there because instances own
/// their data. A guard is never held while a contract runs.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Run>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One contract on the call stack: the data of its store.
pub(crate) struct Frame {
    pub(crate) run: Shared,
    pub(crate) world: Arc<dyn World>,
    pub(crate) context: BlockContext,
    pub(crate) contract: ContractId,
    pub(crate) caller: [u8; 32],
    pub(crate) value: Balance,
    /// Whether this contract, or one below it on the stack, was entered by a query.
    pub(crate) read_only: bool,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Option<Vec<u8>>,
    /// What the last storage read or contract call left to be read.
    pub(crate) result: Option<Vec<u8>>,
    pub(crate) memory: Option<Memory>,
    pub(crate) limiter: Limiter,
}

/// Runs one entry point with its own layer of the overlay, and returns how it ended and the gas it used.
pub(crate) fn run_frame(
    contract: &CompiledContract,
    frame: Frame,
    entry: Entry,
    gas_limit: u64,
) -> Result<(Outcome, u64), Fault> {
    if frame.input.len() > MAX_INPUT_BYTES {
        return Ok((Outcome::Trapped(Trap::TooLarge), gas_limit));
    }
    let Some(fuel) = gas_limit.checked_sub(contract.size().start_gas()) else {
        return Ok((Outcome::OutOfGas, gas_limit));
    };
    let run = frame.run.clone();
    {
        let mut run = run.lock();
        run.overlay.begin();
        run.stack.push(frame.contract);
    }
    let ended = enter(contract, frame, entry, fuel);
    let mut run = run.lock();
    run.stack.pop();
    match ended? {
        (outcome @ Outcome::Returned(_), gas_left) => {
            run.overlay.commit();
            Ok((outcome, gas_limit.saturating_sub(gas_left)))
        }
        (outcome, gas_left) => {
            run.overlay.roll_back();
            Ok((outcome, gas_limit.saturating_sub(gas_left)))
        }
    }
}

/// Makes the instance, calls into it, and returns how that ended and the gas that is left.
fn enter(contract: &CompiledContract, frame: Frame, entry: Entry, fuel: u64) -> Result<(Outcome, u64), Fault> {
    let mut store = Store::new(contract.instance().module().engine(), frame);
    store.limiter(|frame| &mut frame.limiter);
    store.set_fuel(fuel).map_err(Fault::engine)?;
    let mut stack: Option<Global> = None;
    let returned = contract.instance().instantiate(&mut store).and_then(|instance| {
        stack = instance.get_global(&mut store, contract.stack_export());
        store.data_mut().memory = instance.get_memory(&mut store, MEMORY_EXPORT);
        instance.get_typed_func::<(), u32>(&mut store, entry.export())?.call(&mut store, ())
    });
    let code = match returned {
        Ok(code) => code,
        Err(error) => {
            let outcome = classify(error)?;
            // A function that found too little of the stack left says so, and then does what a panic does.
            let has_overflowed =
                stack.is_some_and(|stack| stack.get(&mut store).i32().is_some_and(|left| left == OVERFLOWED));
            return Ok(match outcome {
                Outcome::Trapped(Trap::Unreachable) if has_overflowed => (Outcome::Trapped(Trap::StackOverflow), 0),
                outcome => (outcome, 0),
            });
        }
    };
    // The last straight line of code may have overrun the limit without a check; so may the pages it grew.
    let left = store.get_fuel().map_err(Fault::engine)?.saturating_sub(store.data().limiter.owed);
    if left == 0 {
        return Ok((Outcome::OutOfGas, 0));
    }
    let output = store.data_mut().output.take().unwrap_or_default();
    Ok(match code {
        0 => (Outcome::Returned(output), left),
        1 => (Outcome::Reverted(output), left),
        _ => (Outcome::Trapped(Trap::BadReturn), 0),
    })
}

/// Decides what an instance may have, by constants alone, and keeps account of the pages it took.
#[derive(Default)]
pub(crate) struct Limiter {
    /// Gas for pages that were taken and not yet paid for. Bounded: an instance has at most [`MAX_MEMORY_PAGES`].
    pub(crate) owed: u64,
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = (desired / PAGE_BYTES) as u64 <= MAX_MEMORY_PAGES && maximum.is_none_or(|most| desired <= most);
        if allowed {
            let pages = (desired.saturating_sub(current) / PAGE_BYTES) as u64;
            self.owed = self.owed.saturating_add(pages.saturating_mul(gas::MEMORY_PAGE));
        }
        Ok(allowed)
    }

    /// The system is out of memory: that is no outcome, or replicas with more of it would disagree.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // The engine reports here, and by its text alone, that a contract asked for more than 4 GiB: there it sees
        // -1.
        if error.to_string() == BEYOND_ADDRESS_SPACE {
            return Ok(());
        }
        Err(error)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= u64::from(MAX_TABLE_ELEMENTS) && maximum.is_none_or(|most| desired <= most))
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }
}
