//! A world in memory, and guests in text.

use codec::Encode;
use phala_protocol::{
    hash::blake2_256,
    ids::{AccountId, ClusterId, CodeHash, ContractId},
};
use phala_vm::{
    execute, BlockContext, CompiledContract, Engine, Entry, Execution, Fault, Layout, Listing, Outcome, Request, World,
    Writes,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

pub const CONTRACT: ContractId = ContractId([0xc0; 32]);
pub const CALLER: AccountId = AccountId([0xaa; 32]);
pub const CONTEXT: BlockContext =
    BlockContext { cluster: ClusterId(7), block_number: 42, block_time_ms: 1_700_000_000_123 };
pub const GAS: u64 = 10_000_000;

pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap())
}

/// An engine of each layout.
pub fn engine_in(layout: Layout) -> &'static Engine {
    static COMPACT: OnceLock<Engine> = OnceLock::new();
    match layout {
        Layout::Wide => engine(),
        Layout::Compact => COMPACT.get_or_init(|| Engine::in_layout(Layout::Compact).unwrap()),
    }
}

/// Contracts and their state. Clones share it.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    /// Where code is compiled, if not by [`engine`].
    engine: Option<&'static Engine>,
    storage: BTreeMap<(ContractId, Vec<u8>), Vec<u8>>,
    code: BTreeMap<ContractId, Arc<CompiledContract>>,
    broken: bool,
    /// Which item's random bytes are drawn.
    item: u8,
}

impl World for Memory {
    fn read(&self, contract: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let contents = self.0.lock().unwrap();
        if contents.broken {
            return Err(Fault::World("disk on fire".into()));
        }
        Ok(contents.storage.get(&(*contract, key.to_vec())).cloned())
    }

    fn random(&self, contract: &ContractId, draw: u64, into: &mut [u8]) -> Result<(), Fault> {
        let contents = self.0.lock().unwrap();
        if contents.broken {
            return Err(Fault::World("disk on fire".into()));
        }
        into.copy_from_slice(&drawn(contents.item, *contract, draw, into.len()));
        Ok(())
    }

    fn listing(&self, contract: &ContractId) -> Result<Option<Listing>, Fault> {
        let contents = self.0.lock().unwrap();
        Ok(contents.code.get(contract).map(|code| Listing { code: code.code_hash(), size: code.size() }))
    }

    fn code(&self, code: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        let contents = self.0.lock().unwrap();
        let listed = contents.code.values().find(|contract| contract.code_hash() == *code);
        listed.cloned().ok_or_else(|| Fault::World("no such code".into()))
    }
}

impl Memory {
    /// An empty world whose contracts run in `layout`.
    pub fn in_layout(layout: Layout) -> Self {
        let world = Self::default();
        world.0.lock().unwrap().engine = Some(engine_in(layout));
        world
    }

    /// A world with one contract.
    pub fn with(wat: &str) -> Self {
        let world = Self::default();
        world.install(CONTRACT, wat);
        world
    }

    pub fn install(&self, contract: ContractId, wat: &str) {
        self.install_code(contract, &wat::parse_str(wat).unwrap());
    }

    pub fn install_code(&self, contract: ContractId, code: &[u8]) {
        let engine = self.0.lock().unwrap().engine.unwrap_or_else(engine);
        let code = Arc::new(engine.compile(code).unwrap());
        self.0.lock().unwrap().code.insert(contract, code);
    }

    pub fn break_storage(&self) {
        self.0.lock().unwrap().broken = true;
    }

    /// Random bytes are another item's from here on.
    pub fn set_item(&self, item: u8) {
        self.0.lock().unwrap().item = item;
    }

    pub fn apply(&self, writes: &Writes) {
        let mut contents = self.0.lock().unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => contents.storage.insert(key.clone(), value.clone()),
                None => contents.storage.remove(key),
            };
        }
    }

    pub fn run(&self, request: &Request) -> Result<Execution, Fault> {
        let code = self.0.lock().unwrap().code[&request.contract].clone();
        execute(&code, request, Arc::new(self.clone()))
    }

    /// Runs, and applies the writes.
    pub fn commit(&self, request: &Request) -> Execution {
        let execution = self.run(request).unwrap();
        self.apply(&execution.writes);
        execution
    }

    pub fn call(&self) -> Execution {
        self.run(&request(Entry::Call)).unwrap()
    }
}

/// What a contract draws in an item, by the number of its draw.
pub fn drawn(item: u8, contract: ContractId, draw: u64, length: usize) -> Vec<u8> {
    (0u8..).flat_map(|block| blake2_256(&(item, contract, draw, block).encode())).take(length).collect()
}

pub fn request(entry: Entry) -> Request {
    Request { contract: CONTRACT, caller: CALLER, value: 0, entry, input: Vec::new(), gas_limit: GAS, context: CONTEXT }
}

/// A contract whose entry points `call` and `query` have these bodies, each leaving an i32; `deploy` does nothing.
pub fn guest(call: &str, query: &str, rest: &str) -> String {
    format!(
        r#"(module
            (import "phala" "input_len" (func $input_len (result i32)))
            (import "phala" "input_read" (func $input_read (param i32)))
            (import "phala" "result_read" (func $result_read (param i32)))
            (import "phala" "output_write" (func $output_write (param i32 i32)))
            (import "phala" "storage_get" (func $storage_get (param i32 i32) (result i32)))
            (import "phala" "storage_set" (func $storage_set (param i32 i32 i32 i32)))
            (import "phala" "storage_remove" (func $storage_remove (param i32 i32)))
            (import "phala" "caller" (func $caller (param i32)))
            (import "phala" "contract_id" (func $contract_id (param i32)))
            (import "phala" "value" (func $value (param i32)))
            (import "phala" "cluster" (func $cluster (result i32)))
            (import "phala" "block_number" (func $block_number (result i32)))
            (import "phala" "block_time_ms" (func $block_time_ms (result i64)))
            (import "phala" "emit_event" (func $emit_event (param i32 i32)))
            (import "phala" "egress" (func $egress (param i32 i32)))
            (import "phala" "random" (func $random (param i32 i32)))
            (import "phala" "log" (func $log (param i32 i32)))
            (import "phala" "hash_blake2b_256" (func $hash (param i32 i32 i32)))
            (import "phala" "call_contract" (func $call_contract (param i32 i32 i32 i64) (result i64)))
            (import "phala" "query_contract" (func $query_contract (param i32 i32 i32 i64) (result i64)))
            (memory (export "memory") 2)
            {rest}
            (func (export "deploy") (result i32) i32.const 0)
            (func (export "call") (result i32) (local $i i32) (local $status i64) {call})
            (func (export "query") (result i32) (local $i i32) (local $status i64) {query}))"#
    )
}

/// A guest that only has a call.
pub fn calls(body: &str) -> String {
    guest(body, "i32.const 0", "")
}

/// The output of a contract that returned.
pub fn output(execution: &Execution) -> &[u8] {
    match &execution.outcome {
        Outcome::Returned(output) => output,
        other => panic!("did not return: {other:?}"),
    }
}
