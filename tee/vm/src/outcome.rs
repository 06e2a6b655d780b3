//! How an execution ended.
//!
//! Guarantees: an [`Outcome`] is a function of the request, the state and the gas schedule, the same on every
//! replica, and may become a reply and a part of the voted state. A [`Fault`] is this machine's own failure, says
//! nothing about the command, and must never become either: the caller stops and tries again. Contracts control their
//! outputs, errors and events; none of those bytes is trusted.

use codec::{Decode, Encode};
use phala_protocol::{egress::EgressAction, ids::ContractId, result::ContractEvent};
use std::collections::BTreeMap;

/// What one execution did. Nothing of it has been applied anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// Units of gas it used, of its limit. A trap, like running out, uses the whole limit: what a trapped program
    /// really used is only known to the compiler's precision, and the price of a trap must not depend on that.
    pub gas_used: u64,
    /// What to write to state, all or nothing; `None` removes. Empty unless the outcome is [`Outcome::Returned`].
    pub writes: Writes,
    /// In the order of emission. Empty unless the outcome is [`Outcome::Returned`].
    pub events: Vec<ContractEvent>,
    /// What is to leave the cluster, with the contract that sends each, in the order of sending. Empty unless the outcome is
    /// [`Outcome::Returned`].
    pub egress: Vec<(ContractId, EgressAction)>,
}

/// Entries by contract and key.
pub type Writes = BTreeMap<(ContractId, Vec<u8>), Option<Vec<u8>>>;

/// How a contract ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It returned, and its writes stand. Holds its output.
    #[codec(index = 0)]
    Returned(Vec<u8>),
    /// It refused, and wrote nothing. Holds its error, as the contract ABI encodes it.
    #[codec(index = 1)]
    Reverted(Vec<u8>),
    /// It broke a rule or its own code gave up, and wrote nothing.
    #[codec(index = 2)]
    Trapped(Trap),
    /// The gas limit did not suffice, and it wrote nothing.
    #[codec(index = 3)]
    OutOfGas,
}

/// Why a contract was stopped. The contract's fault, or that of the deployer's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Trap {
    /// It ran into `unreachable`: a panic, or an allocation that did not fit.
    #[codec(index = 0)]
    #[error("the contract panicked")]
    Unreachable,
    /// It accessed memory that it does not have.
    #[codec(index = 1)]
    #[error("access out of the bounds of memory")]
    Memory,
    /// It called through a table entry that is absent, empty, or of another type.
    #[codec(index = 2)]
    #[error("indirect call of nothing, or of another type")]
    IndirectCall,
    /// It divided by zero, or the result of an operation does not fit.
    #[codec(index = 3)]
    #[error("arithmetic without a result")]
    Arithmetic,
    /// Its calls nested deeper than the stack allows.
    #[codec(index = 4)]
    #[error("stack overflow")]
    StackOverflow,
    /// A query, or what it called, tried to change state.
    #[codec(index = 5)]
    #[error("a query may not change state")]
    ReadOnly,
    /// It passed the engine a pointer outside of its memory.
    #[codec(index = 6)]
    #[error("pointer outside of memory passed to the engine")]
    BadPointer,
    /// It asked for a result when there was none.
    #[codec(index = 7)]
    #[error("no result to read")]
    NoResult,
    /// It wrote its output twice.
    #[codec(index = 8)]
    #[error("output was already written")]
    SecondOutput,
    /// Its entry point returned a number that means nothing.
    #[codec(index = 9)]
    #[error("entry point returned neither 0 nor 1")]
    BadReturn,
    /// Input, output, key, value, random bytes, or debug message over its limit.
    #[codec(index = 10)]
    #[error("bytes over the limit")]
    TooLarge,
    /// More writes than one execution may make.
    #[codec(index = 11)]
    #[error("more writes than one call may make")]
    TooManyWrites,
    /// More events than one execution may emit.
    #[codec(index = 12)]
    #[error("more events than one call may emit")]
    TooManyEvents,
    /// It asked for something outside of the cluster in bytes that mean nothing.
    #[codec(index = 13)]
    #[error("bytes are no egress action")]
    BadEgress,
    /// More egress than one execution may send.
    #[codec(index = 14)]
    #[error("more egress than one call may send")]
    TooMuchEgress,
    /// A query, or what it called, tried to draw random bytes.
    #[codec(index = 15)]
    #[error("a query has no randomness")]
    NoRandomness,
}

/// This machine's failure to execute. Retry; never turn it into state or a reply.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The state, or a contract's code, could not be read.
    #[error("contract state could not be read")]
    World(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No thread with a stack of the size that contracts need.
    #[error("no thread to execute a contract on")]
    Thread(#[source] std::io::Error),
    /// The engine failed for want of memory or address space, or by a defect of ours.
    #[error("contract engine failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine panicked: a defect of ours. The panic's message is on the process's panic hook.
    #[error("contract engine panicked")]
    Panicked,
}

impl Fault {
    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(error.into_boxed_dyn_error())
    }
}

/// Why a host function ends the contract that called it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error(transparent)]
    Trap(#[from] Trap),
    #[error("out of gas")]
    OutOfGas,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How a guest's call ended that did not return.
pub(crate) fn classify(error: wasmtime::Error) -> Result<Outcome, Fault> {
    let error = match error.downcast::<Stop>() {
        Ok(Stop::Trap(trap)) => return Ok(Outcome::Trapped(trap)),
        Ok(Stop::OutOfGas) => return Ok(Outcome::OutOfGas),
        Ok(Stop::Fault(fault)) => return Err(fault),
        Err(error) => error,
    };
    use wasmtime::Trap as Native;
    Ok(Outcome::Trapped(match error.downcast_ref::<Native>() {
        Some(Native::OutOfFuel) => return Ok(Outcome::OutOfGas),
        Some(Native::UnreachableCodeReached) => Trap::Unreachable,
        Some(Native::MemoryOutOfBounds) => Trap::Memory,
        Some(Native::TableOutOfBounds | Native::IndirectCallToNull | Native::BadSignature) => Trap::IndirectCall,
        Some(Native::IntegerOverflow | Native::IntegerDivisionByZero | Native::BadConversionToInteger) => {
            Trap::Arithmetic
        }
        Some(Native::StackOverflow) => Trap::StackOverflow,
        // What remains belongs to features that are off, or is no trap at all but the engine's failure.
        _ => return Err(Fault::engine(error)),
    }))
}
