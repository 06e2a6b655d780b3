//! Executes contracts under metering.
//!
//! A contract is a core WebAssembly module whose interface is `docs/contract-abi.md`. This crate checks it, compiles
//! it in memory, and runs one entry point at a time in a fresh instance.
//!
//! Guarantees: the result of an execution is a function of the request, the [`World`] and this binary; a contract can
//! reach nothing but its own memory, storage, events and the calls of other contracts (deny by default); what fails
//! leaves nothing; time is bounded by gas, and the native stack, memory and compile work by constants. Deployers
//! control the code and callers the input: both are hostile.
//!
//! Does not do: I/O, clocks, keys, logging; making random bytes, which come from the [`World`]; deciding who may call or
//! what is paid; committing writes.
//! Contracts of one process share its address space: the boundary between clusters is the process, not this sandbox.
#![forbid(unsafe_code)]

mod cache;
mod codes;
mod engine;
mod execute;
mod executors;
mod gas;
mod imports;
mod layout;
pub mod limits;
mod module;
mod outcome;
mod overlay;
mod rewrite;
mod slots;
mod world;

pub use cache::CodeCache;
pub use engine::{CompileError, CompiledContract, Engine, EngineError};
pub use execute::{execute, on_contract_stack};
pub use executors::Executors;
pub use layout::Layout;
pub use module::{verify_module, CodeSize, ModuleError, VerifiedModule, METADATA_SECTION};
pub use outcome::{Execution, Fault, Outcome, Trap, Writes};
pub use slots::MAX_QUERIES_AT_ONCE;
pub use world::{BlockContext, Entry, Listing, Request, World};
