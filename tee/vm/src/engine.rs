//! Compiles contracts, in memory only.
//!
//! Guarantees: code reaches the compiler only as a [`VerifiedModule`]; what is compiled is a function of the code and
//! of this binary, not of the machine's processor; compiled code is never read from anywhere, since loading it is
//! trusting whoever stored it. The configuration fails if an option does not exist, and nothing in it is configurable
//! from outside.
//!
//! Decisions: traps by signals and guard pages are on, because without them every memory access is a conditional
//! bounds check, which a mispredicted branch runs past (Spectre v1); an SGX library OS that lacks them needs another
//! build. The target is the architecture's baseline, because frame sizes, and with them the depth at which the stack
//! overflows, follow from the instructions that the compiler may use. Replicas therefore agree about it only if they
//! run the same measured image. Instances live in slots that are reserved with the engine ([`crate::slots`]); what is compiled
//! does not depend on that.
//!
//! Deployers control the code. Does not cache: see [`crate::cache`].

use crate::{
    execute::Frame,
    gas, imports,
    limits::{MAX_MEMORY_PAGES, MAX_STACK_BYTES},
    module::{verify_module, ModuleError, VerifiedModule},
    slots::{self, Turns, GUARD_BYTES, RESERVED_GIB, SLOT_BYTES},
};
use phala_protocol::ids::CodeHash;
use std::sync::Arc;
use wasmtime::{Config, InstancePre, Linker, Module, OptLevel, Strategy};

/// The compiler, and the host functions that compiled contracts may import. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    engine: wasmtime::Engine,
    linker: Arc<Linker<Frame>>,
    turns: Arc<Turns>,
}

/// A contract, ready to run.
pub struct CompiledContract {
    instance: InstancePre<Frame>,
    turns: Arc<Turns>,
    code_hash: CodeHash,
    start_gas: u64,
    bytes: usize,
}

/// Why no engine could be made: a defect of this build, or a machine it does not run on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No compiler for this processor.
    #[error("contracts cannot be compiled for this processor architecture")]
    UnsupportedArchitecture,
    /// The engine refused its configuration.
    #[error("contract engine refused its configuration")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine did not start. Its configuration is a constant, so that it is the machine, or a limit on the process, that has no
    /// room for its slots.
    #[error("contract engine does not start: it reserves {RESERVED_GIB} GiB of address space (not memory); raise RLIMIT_AS if it is set")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a contract could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The code is not a contract. The deployer's fault, and the same on every replica.
    #[error("code is not a contract")]
    Module(#[from] ModuleError),
    /// The code was tried not long ago, and was refused for one of the other reasons that say something about the code.
    #[error("code was tried before, and cannot be compiled")]
    RefusedBefore,
    /// The compiler failed on verified code: a limit of its own. The same on every replica that runs this binary.
    #[error("code cannot be compiled")]
    Compiler(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The compiler panicked on verified code: a defect of ours, and the same on every replica that runs this binary.
    #[error("compiler panicked")]
    Panicked,
    /// No thread to compile on. This machine's failure: retry, and never turn it into state.
    #[error("no thread to compile a contract on")]
    Thread(#[source] std::io::Error),
}

impl CompileError {
    /// Whether it says something about the code, and not about this machine.
    pub fn is_deterministic(&self) -> bool {
        !matches!(self, Self::Thread(_))
    }
}

/// Stack of the thread that compiles: plenty, because overflowing it would end the process.
const COMPILER_STACK_BYTES: usize = 16 << 20;

#[cfg(target_arch = "x86_64")]
const TARGET: Option<&str> = Some("x86_64-unknown-linux-gnu");
#[cfg(target_arch = "aarch64")]
const TARGET: Option<&str> = Some("aarch64-unknown-linux-gnu");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const TARGET: Option<&str> = None;

impl Engine {
    /// Starts the one engine that a process needs.
    pub fn new() -> Result<Self, EngineError> {
        let configuration = |error: wasmtime::Error| EngineError::Configuration(error.into_boxed_dyn_error());
        let config = configure(TARGET.ok_or(EngineError::UnsupportedArchitecture)?).map_err(configuration)?;
        let engine =
            wasmtime::Engine::new(&config).map_err(|error| EngineError::Start(error.into_boxed_dyn_error()))?;
        let linker = imports::link(&engine).map_err(configuration)?;
        Ok(Self { engine, linker: Arc::new(linker), turns: Arc::default() })
    }

    /// Checks and compiles `code`. Bounded work, but seconds of it for code at the limits (512 KiB: 1 to 4 s,
    /// measured): not for a thread that serves.
    ///
    /// The compiler runs on a thread of its own, so that a defect of it ends the compilation and not the process.
    pub fn compile(&self, code: &[u8]) -> Result<CompiledContract, CompileError> {
        let module = verify_module(code)?;
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("compiler".to_owned())
                .stack_size(COMPILER_STACK_BYTES)
                .spawn_scoped(scope, || self.compile_verified(&module))
                .map_err(CompileError::Thread)?
                .join()
                .map_err(|_| CompileError::Panicked)?
        })
    }

    fn compile_verified(&self, module: &VerifiedModule<'_>) -> Result<CompiledContract, CompileError> {
        let compiler = |error: wasmtime::Error| CompileError::Compiler(error.into_boxed_dyn_error());
        let compiled = Module::from_binary(&self.engine, module.code()).map_err(compiler)?;
        let image = compiled.image_range();
        let bytes = (image.end as usize).saturating_sub(image.start as usize);
        Ok(CompiledContract {
            instance: self.linker.instantiate_pre(&compiled).map_err(compiler)?,
            turns: self.turns.clone(),
            code_hash: module.code_hash(),
            start_gas: gas::start(module.code().len(), module.data_bytes(), module.table_elements()),
            // The engine keeps about as much again beside the code: tables of functions, types and traps.
            bytes: bytes.saturating_add(module.code().len()),
        })
    }
}

impl CompiledContract {
    /// The hash of the code that was compiled.
    pub fn code_hash(&self) -> CodeHash {
        self.code_hash
    }

    /// About how much memory it occupies, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn instance(&self) -> &InstancePre<Frame> {
        &self.instance
    }

    /// The turns of its engine.
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Gas of a fresh instance, its pages apart.
    pub(crate) fn start_gas(&self) -> u64 {
        self.start_gas
    }
}

fn configure(target: &str) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.target(target)?;
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.cranelift_nan_canonicalization(true);
    config.consume_fuel(true);
    config.operator_cost(gas::operators());
    config.max_wasm_stack(MAX_STACK_BYTES);
    // Everything after WebAssembly 1.0 that can be turned off. `verify_module` refuses all of it; this is the second
    // lock. Garbage collection, threads and components are not in this build at all.
    config.wasm_tail_call(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_wide_arithmetic(false);
    config.wasm_simd(false);
    config.wasm_relaxed_simd(false);
    config.relaxed_simd_deterministic(true);
    config.wasm_bulk_memory(false);
    config.wasm_multi_value(false);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.wasm_extended_const(false);
    // No way of a growing memory to fail depends on where the system has room for it.
    config.memory_may_move(false);
    config.memory_reservation(SLOT_BYTES);
    config.memory_guard_size(GUARD_BYTES);
    const { assert!(MAX_MEMORY_PAGES * (64 << 10) <= SLOT_BYTES) };
    config.allocation_strategy(slots::pool());
    // Data segments are copied, at a price per byte, rather than mapped from a memory file.
    config.memory_init_cow(false);
    // A trap is reported by its kind alone: no names, addresses or backtraces to collect, whose cost grows with the
    // stack.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    config.native_unwind_info(false);
    Ok(config)
}
