//! Compiles contracts, in memory only.
//!
//! Guarantees: code reaches the compiler only as a [`VerifiedModule`]; what is compiled is a function of the code and
//! of this binary, not of the machine's processor; compiled code is never read from anywhere, since loading it is
//! trusting whoever stored it. The configuration fails if an option does not exist, and nothing in it is configurable
//! from outside.
//!
//! Decisions: where the machine's page tables are its own ([`Layout::Wide`]), traps come by signals and guard pages, because a conditional bounds
//! check is one that a mispredicted branch runs past (Spectre v1). An enclave ([`Layout::Compact`]) has checks, and bounds for what runs
//! past them ([`crate::rewrite`]); what its code does is the same. The target is the architecture's baseline, so that code does not depend on
//! which processor compiles it. Instances live in slots that are reserved with the engine ([`crate::slots`]).
//!
//! Deployers control the code. Does not cache: see [`crate::cache`].

use crate::{
    execute::Frame,
    gas, imports,
    layout::Layout,
    module::{verify_module, CodeSize, ModuleError, VerifiedModule},
    rewrite::{self, NATIVE_STACK_BYTES},
    slots::{self, Turns},
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
    layout: Layout,
}

/// A contract, ready to run.
pub struct CompiledContract {
    instance: InstancePre<Frame>,
    turns: Arc<Turns>,
    code_hash: CodeHash,
    size: CodeSize,
    stack_export: String,
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
    #[error(
        "contract engine does not start: in the layout `{}` it reserves {} GiB of address space (not memory); raise RLIMIT_AS if it is set",
        .layout.name(), .layout.reserved_gib()
    )]
    Start {
        /// In which layout.
        layout: Layout,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
    /// Starts the one engine that a process needs, in [`Layout::Wide`].
    pub fn new() -> Result<Self, EngineError> {
        Self::in_layout(Layout::Wide)
    }

    /// Starts the one engine that a process needs, in the layout that its machine asks for.
    pub fn in_layout(layout: Layout) -> Result<Self, EngineError> {
        let configuration = |error: wasmtime::Error| EngineError::Configuration(error.into_boxed_dyn_error());
        let target = TARGET.ok_or(EngineError::UnsupportedArchitecture)?;
        let config = configure(target, layout).map_err(configuration)?;
        let engine = wasmtime::Engine::new(&config)
            .map_err(|error| EngineError::Start { layout, source: error.into_boxed_dyn_error() })?;
        let linker = imports::link(&engine).map_err(configuration)?;
        Ok(Self { engine, linker: Arc::new(linker), turns: Arc::default(), layout })
    }

    /// Its layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Checks and compiles `code`. Bounded work, but seconds of it for code at the limits (512 KiB of what
    /// `examples/measure.rs` compiles: 1 to 4 s; of code that is all branches: several times that): not for a thread that serves.
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
        let rewritten =
            rewrite::rewrite(module, self.layout).map_err(|error| CompileError::Compiler(Box::new(error)))?;
        let compiled = Module::from_binary(&self.engine, &rewritten.code).map_err(compiler)?;
        let image = compiled.image_range();
        let bytes = (image.end as usize).saturating_sub(image.start as usize);
        Ok(CompiledContract {
            instance: self.linker.instantiate_pre(&compiled).map_err(compiler)?,
            turns: self.turns.clone(),
            code_hash: module.code_hash(),
            size: module.size(),
            stack_export: rewritten.stack_export,
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

    /// What the price of its start depends on.
    pub fn size(&self) -> CodeSize {
        self.size
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

    /// The exported global that says what is left of the stack.
    pub(crate) fn stack_export(&self) -> &str {
        &self.stack_export
    }
}

fn configure(target: &str, layout: Layout) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.target(target)?;
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.cranelift_nan_canonicalization(true);
    config.consume_fuel(true);
    config.operator_cost(gas::charged());
    // Ends after the measured stack does, whatever the frames are like.
    config.max_wasm_stack(NATIVE_STACK_BYTES);
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
    config.memory_reservation(layout.memory_bytes());
    config.memory_guard_size(layout.guard_bytes());
    // Without, every trap is a comparison and a call: an enclave's host can make any access fault, and would decide what traps.
    config.signals_based_traps(layout.has_traps_by_fault());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::limits::MAX_TABLE_ELEMENTS;
    use wasmtime::{Instance, OperatorCost, Store};

    /// An index of the table that is over its limit becomes the limit: what speculation reads there is an entry of the same slot.
    #[test]
    fn the_slot_of_a_table_has_the_entry_that_an_index_over_the_limit_becomes() {
        for layout in Layout::ALL {
            let engine = Engine::in_layout(layout).unwrap();
            let has_room = |elements: u32| {
                let code = wat::parse_str(format!("(module (table {elements} funcref))")).unwrap();
                Module::from_binary(&engine.engine, &code).is_ok()
            };
            assert!(has_room(MAX_TABLE_ELEMENTS + 1), "{}", layout.name());
            assert!(!has_room(MAX_TABLE_ELEMENTS + 2), "{}: another measure of a slot", layout.name());
        }
    }

    /// What `f` returns for each argument, and the fuel that is left then, on an engine whose operators cost `cost`.
    fn run(layout: Layout, cost: OperatorCost, codes: &[Vec<u8>]) -> Vec<(u32, u64)> {
        const FUEL: u64 = 1_000_000;
        let mut config = configure(TARGET.unwrap(), layout).unwrap();
        config.operator_cost(cost);
        let engine = wasmtime::Engine::new(&config).unwrap();
        let mut ended = Vec::new();
        for code in codes {
            let module = Module::from_binary(&engine, code).unwrap();
            for argument in 0..5u32 {
                let mut store = Store::new(&engine, ());
                store.set_fuel(FUEL).unwrap();
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let function = instance.get_typed_func::<u32, u32>(&mut store, "f").unwrap();
                let result = function.call(&mut store, argument).unwrap();
                let left = store.get_fuel().unwrap();
                assert!(left < FUEL, "nothing is charged");
                ended.push((result, left));
            }
        }
        ended
    }

    /// Against the same engine with the pinned table, for code that nothing was added to.
    #[test]
    fn gas_is_what_the_table_says_of_code_before_it_is_rewritten() {
        let codes: Vec<Vec<u8>> = [
            "local.get 0",
            "(return (local.get 0))",
            "nop nop (if (local.get 0) (then nop nop nop) (else (local.set 1 (i32.const 4)))) (local.get 1)",
            "(if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (i32.const 1)) (else (return (i32.const 2))))",
            "(block $b (result i32) (br_if $b (i32.const 1) (local.get 0)) drop (i32.const 2))",
            // To the function's own block, with a result.
            "(block (br_if 1 (i32.const 7) (local.get 0)) drop) (i32.const 8)",
            "(block $a (block $b (br_table $a $b (local.get 0))) (return (i32.const 1))) (i32.const 2)",
            "(i32.const 3) (br_table 0 0 (local.get 0))",
            "(block $out (br_if $out (i32.eqz (local.get 0)))
                (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 3)))
                    (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
             (local.get 1)",
            "(select (global.get $n) (i32.const 1) (i32.lt_u (local.get 0) (i32.const 2))) (global.set $n (i32.const 5))",
            "(i32.store (local.get 0) (i32.const 77)) (i64.store8 offset=9 (local.get 0) (i64.const 1))
             (f32.store offset=70000 (local.get 0) (f32.const 1)) (f64.store offset=16 (local.get 0) (f64.const 2))
             (i32.add (i32.load16_s offset=3 (local.get 0)) (i32.wrap_i64 (i64.load32_u offset=8 (local.get 0))))",
            "(call_indirect (param i32) (result i32) (local.get 0) (i32.const 1))",
            "(if (result i32) (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 9)))",
            "(drop (memory.grow (i32.const 1))) (memory.grow (local.get 0))",
            "(i32.trunc_f64_s (f64.add (f64.convert_i32_u (local.get 0)) (f64.floor (f64.const 1.5))))",
            // What is never reached, and takes operands that nothing left.
            "(block (br 0) i32.store nop unreachable) (return (local.get 0))
             i32.store nop f64.store drop block nop end select call $g i32.load i32.const 3 i32.lt_u",
        ]
        .iter()
        .map(|body| {
            let text = format!(
                r#"(module (memory (export "memory") 2) (global $n (mut i32) (i32.const 6)) (table 2 funcref) (elem (i32.const 0) $f $g)
                    (data (i32.const 8) "abcdefgh")
                    (func $f (export "f") (param i32) (result i32) (local i32) {body})
                    (func $g (param i32) (result i32) (i32.const 7) (br 0) unreachable)
                    (func (export "deploy") (result i32) i32.const 0) (func (export "call") (result i32) i32.const 0)
                    (func (export "query") (result i32) i32.const 0))"#
            );
            wat::parse_str(text).unwrap()
        })
        .collect();
        let plain = run(Layout::Wide, gas::operators(), &codes);
        for layout in Layout::ALL {
            let rewritten: Vec<Vec<u8>> = codes
                .iter()
                .map(|code| rewrite::rewrite(&verify_module(code).unwrap(), layout).unwrap().code)
                .collect();
            let ended = run(layout, gas::charged(), &rewritten);
            for (index, (ended, plain)) in ended.iter().zip(&plain).enumerate() {
                assert_eq!(ended, plain, "body {} with {} in the layout {}", index / 5, index % 5, layout.name());
            }
        }
    }

    /// A conditional move for each access and each index of the table, which speculation does not run past.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn code_of_an_enclave_bounds_addresses_by_conditional_moves() {
        const ACCESSES: usize = 32;
        // Each address is what was read before, so none is bounded by the bound of another.
        let chain = "i32.load offset=4 ".repeat(ACCESSES);
        let text = format!(
            r#"(module (memory (export "memory") 1) (table 9 funcref) (func $f (param i32) (result i32) (local.get 0) {chain})
                (func $g (param i32) (call_indirect (local.get 0)))
                (func (export "deploy") (result i32) i32.const 0) (func (export "query") (result i32) i32.const 0)
                (func (export "call") (result i32) (call $g (i32.const 1)) (call $f (i32.const 2))))"#
        );
        let code = wat::parse_str(text).unwrap();
        let [wide, compact] = Layout::ALL.map(|layout| {
            let contract = Engine::in_layout(layout).unwrap().compile(&code).unwrap();
            // CMOVcc is 0F 4x (Intel 64 manual, volume 2A): below, not below, below or equal, above.
            let is_move = |bytes: &&[u8]| bytes[0] == 0x0f && matches!(bytes[1], 0x42 | 0x43 | 0x46 | 0x47);
            contract.instance().module().text().windows(2).filter(is_move).count()
        });
        // Elsewhere the index of the table has one of its own, and numbers may look like one.
        assert!(compact > ACCESSES && wide < ACCESSES / 2, "{compact} in an enclave, {wide} elsewhere");
    }
}
