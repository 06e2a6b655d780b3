//! What an execution is asked to do, and what it may see.
//!
//! Guarantees: a contract sees its input, this context and the [`World`], and nothing else: no clock, no key, no host, and
//! no random bytes but the [`World`]'s. The caller answers for the context's being final: block number and time are those
//! that the command's inbox link commits, or of the last finalised block for a query.

use crate::{engine::CompiledContract, module::CodeSize, outcome::Fault};
use phala_protocol::ids::{AccountId, Balance, BlockNumber, ClusterId, CodeHash, ContractId};
use std::sync::Arc;

/// State as it was before the execution, and the code of the cluster's contracts.
///
/// Reads only: an execution returns what it would write. One execution sees its own writes; calls come from one
/// thread, and several executions (queries) may share one world. One that draws has a world of its own.
pub trait World: Send + Sync {
    /// The value of `key` in the storage of `contract`.
    fn read(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Fills `into`, of at most [`crate::limits::MAX_RANDOM_BYTES`], with what `contract` draws in this execution as its draw of number `draw`, from
    /// 0. The same on every replica, as often as it is asked. No number is asked twice in an execution. Never asked in a query.
    fn random(&self, contract: &ContractId, draw: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Which code `contract` has, when it is deployed in this cluster and can be called. Costs a look-up: it is asked before the callee's start
    /// is paid for, so the code is neither read nor compiled for it.
    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault>;

    /// The code of a contract that is listed. Asked once in an execution for each code, when one start of it is paid for, and for no more codes
    /// than [`crate::limits::MAX_CODES`] and [`crate::limits::MAX_CODES_BYTES`] say: it may be compiled for it.
    fn code(&self, code: &CodeHash) -> Result<Arc<CompiledContract>, Fault>;
}

/// A contract's code, as its cluster lists it. The same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Which code.
    pub code: CodeHash,
    /// What the price of its start depends on: [`CompiledContract::size`].
    pub size: CodeSize,
}

/// Which entry point runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The constructor, once.
    Deploy,
    /// A message that may change state.
    Call,
    /// A message that may not, nor draw random bytes: it traps when it tries, and so does whatever it calls.
    Query,
}

impl Entry {
    /// The name of the exported function.
    pub(crate) fn export(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Call => "call",
            Self::Query => "query",
        }
    }
}

/// The same for all contracts of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The cluster.
    pub cluster: ClusterId,
    /// Number of the block.
    pub block_number: BlockNumber,
    /// The block's time, in milliseconds since 1970.
    pub block_time_ms: u64,
}

/// One execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The contract whose code runs.
    pub contract: ContractId,
    /// The account whose authority was verified. A contract that is called by a contract sees the caller's id
    /// instead.
    pub caller: AccountId,
    /// What the caller transferred with the call, in 10^-12 PHA.
    pub value: Balance,
    /// Which entry point.
    pub entry: Entry,
    /// Method and arguments.
    pub input: Vec<u8>,
    /// The most gas that it and all that it calls may use.
    pub gas_limit: u64,
    /// When and where.
    pub context: BlockContext,
}
