//! Many executions at once: there is a place for each of them, and nothing in it of who had it before.

use crate::support::*;
use phala_protocol::ids::{CodeHash, ContractId};
use phala_vm::{
    execute, limits, CompiledContract, Engine, Entry, Execution, Executors, Fault, Listing, Outcome, Request, World,
    MAX_QUERIES_AT_ONCE,
};
use std::{
    sync::{mpsc, Arc, Condvar, Mutex},
    time::Duration,
};

const OTHER: ContractId = ContractId([0xd0; 32]);
const PATIENCE: Duration = Duration::from_secs(120);

/// The `index`th contract of a chain.
fn link(index: u8) -> ContractId {
    if index == 0 {
        CONTRACT
    } else {
        ContractId([index; 32])
    }
}

/// Data that puts the id of the next contract of a chain at address 0.
fn next(index: u8) -> String {
    let bytes: String = link(index + 1).0.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(r#"(data (i32.const 0) "{bytes}")"#)
}

/// As many contracts as may call each other, each of which takes all the memory that it may have before it goes on.
fn chain() -> Memory {
    let world = Memory::default();
    let grow = format!(
        "(if (i32.ne (memory.grow (i32.const {})) (i32.const 2)) (then unreachable))
         (i32.store (i32.const 16777212) (i32.const 7))",
        limits::MAX_MEMORY_PAGES - 2
    );
    let last = limits::MAX_CALL_DEPTH as u8 - 1;
    for index in 0..last {
        let on = |function: &str| {
            format!(
                "{grow} (local.set $status (call ${function} (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)))
                 (i32.wrap_i64 (local.get $status))"
            )
        };
        world.install(link(index), &guest(&on("call_contract"), &on("query_contract"), &next(index)));
    }
    let end = format!("{grow} i32.const 0");
    world.install(link(last), &guest(&end, &end, ""));
    world
}

/// With gas for all that memory.
fn rich(entry: Entry) -> Request {
    Request { gas_limit: 1_000_000_000, ..request(entry) }
}

#[test]
fn however_many_execute_each_has_its_depth_and_its_memory() {
    let world = chain();
    let expected = [Entry::Query, Entry::Call].map(|entry| world.run(&rich(entry)).unwrap());
    assert!(expected.iter().all(|execution| execution.outcome == Outcome::Returned(Vec::new())), "{expected:?}");
    // Many more than there are turns.
    let executions: Vec<(usize, Execution)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6 * MAX_QUERIES_AT_ONCE)
            .map(|number| {
                let (world, kind) = (&world, usize::from(number % 3 == 0));
                let entry = if kind == 0 { Entry::Query } else { Entry::Call };
                scope.spawn(move || (kind, world.run(&rich(entry)).unwrap()))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(executions.iter().all(|(kind, execution)| *execution == expected[*kind]));
}

/// A world in which a query waits until it is let go.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(usize, bool)>, Condvar)>);

impl World for Gate {
    fn read(&self, _: &ContractId, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        let (_state, waited) = changed.wait_timeout_while(state, PATIENCE, |(_, open)| !*open).unwrap();
        assert!(!waited.timed_out(), "nobody opened");
        Ok(None)
    }

    fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::World("nothing draws here".into()))
    }

    fn listing(&self, _: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok(None)
    }

    fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        Err(Fault::World("nothing is called here".into()))
    }
}

impl Gate {
    /// Waits until so many are at the gate.
    fn wait_for(&self, count: usize) {
        let (state, changed) = &*self.0;
        let (_state, waited) =
            changed.wait_timeout_while(state.lock().unwrap(), PATIENCE, |(here, _)| *here < count).unwrap();
        assert!(!waited.timed_out(), "fewer than {count} came");
    }

    fn here(&self) -> usize {
        self.0 .0.lock().unwrap().0
    }

    fn open(&self) {
        self.0 .0.lock().unwrap().1 = true;
        self.0 .1.notify_all();
    }
}

#[test]
fn stuck_queries_hold_up_other_queries_and_no_command() {
    let reads = "(drop (call $storage_get (i32.const 0) (i32.const 1))) i32.const 0";
    let code =
        Arc::new(engine_of_its_own().compile(&wat::parse_str(guest("i32.const 0", reads, "")).unwrap()).unwrap());
    let (gate, executors) = (Gate::default(), Executors::start(MAX_QUERIES_AT_ONCE + 2).unwrap());
    let (done, ended) = mpsc::channel();
    for _ in 0..MAX_QUERIES_AT_ONCE + 2 {
        let (code, gate, done) = (code.clone(), gate.clone(), done.clone());
        executors.submit(move || {
            let execution = execute(&code, &request(Entry::Query), Arc::new(gate)).unwrap();
            done.send(execution.outcome).unwrap();
        });
    }
    gate.wait_for(MAX_QUERIES_AT_ONCE);
    for _ in 0..20 {
        let execution = execute(&code, &request(Entry::Call), Arc::new(gate.clone())).unwrap();
        assert_eq!(execution.outcome, Outcome::Returned(Vec::new()));
    }
    assert_eq!(gate.here(), MAX_QUERIES_AT_ONCE, "the others wait for their turn");
    assert!(ended.try_recv().is_err());
    gate.open();
    for _ in 0..MAX_QUERIES_AT_ONCE + 2 {
        assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), Outcome::Returned(Vec::new()));
    }
}

/// So that its turns are not those of other tests.
fn engine_of_its_own() -> Engine {
    Engine::new().unwrap()
}

#[test]
fn an_instance_begins_with_zeros_whoever_had_its_place_before() {
    // More than what is kept of a slot when it is given back.
    let over = |each: &str, end: &str| {
        format!(
            "(drop (memory.grow (i32.const 40)))
             (loop $l {each} (local.set $i (i32.add (local.get $i) (i32.const 8)))
                 (br_if $l (i32.lt_u (local.get $i) (i32.const 2752512)))) {end}"
        )
    };
    let world = Memory::default();
    let write = "(i64.store (local.get $i) (i64.const -1))";
    let look = "(local.set $status (i64.or (local.get $status) (i64.load (local.get $i))))";
    let say =
        "(i64.store (i32.const 0) (local.get $status)) (call $output_write (i32.const 0) (i32.const 8)) i32.const 0";
    world.install(CONTRACT, &guest(&over(write, "i32.const 0"), &over(write, "unreachable"), ""));
    world.install(OTHER, &guest(&over(look, say), &over(look, say), ""));
    for _ in 0..3 {
        let filled = world.run(&rich(Entry::Call)).unwrap();
        assert!(matches!(filled.outcome, Outcome::Returned(_)), "{filled:?}");
        let trapped = world.run(&rich(Entry::Query)).unwrap();
        assert!(matches!(trapped.outcome, Outcome::Trapped(_)), "{trapped:?}");
        for entry in [Entry::Call, Entry::Query] {
            let execution = world.run(&Request { contract: OTHER, ..rich(entry) }).unwrap();
            assert_eq!(output(&execution), [0; 8]);
        }
    }
}

#[test]
fn code_at_every_limit_has_a_place() {
    let functions = limits::MAX_FUNCTIONS as usize - 3;
    let names: String = (0..functions).map(|number| format!(" $f{number}")).collect();
    let bodies: String = (0..functions).map(|number| format!("(func $f{number})\n")).collect();
    let globals = "(global (mut i64) (i64.const 5))\n".repeat(limits::MAX_GLOBALS as usize);
    let (pages, table) = (limits::MAX_MEMORY_PAGES, limits::MAX_TABLE_ELEMENTS);
    let text = format!(
        r#"(module (memory (export "memory") {pages}) (table {table} funcref) {globals} {bodies}
            (elem (i32.const 0) func {names})
            (func (export "deploy") (result i32) i32.const 0) (func (export "query") (result i32) i32.const 0)
            (func (export "call") (result i32) (call_indirect (i32.const {})) (global.get 1023) i32.wrap_i64 i32.const 5 i32.ne))"#,
        functions - 1
    );
    let world = Memory::with(&text);
    assert_eq!(world.run(&rich(Entry::Call)).unwrap().outcome, Outcome::Returned(Vec::new()));
}

#[test]
fn a_contract_of_another_engine_is_a_fault_and_takes_no_place() {
    struct Foreign(Arc<CompiledContract>);
    impl World for Foreign {
        fn read(&self, _: &ContractId, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
            Ok(None)
        }

        fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
            Err(Fault::World("nothing draws here".into()))
        }

        fn listing(&self, _: &ContractId) -> Result<Option<Listing>, Fault> {
            Ok(Some(Listing { code: self.0.code_hash(), size: self.0.size() }))
        }

        fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
            Ok(self.0.clone())
        }
    }
    let body = "(drop (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0))) i32.const 0";
    let [own, callee] = [body, "i32.const 0"].map(|body| wat::parse_str(calls(body)).unwrap());
    let foreign = Arc::new(engine_of_its_own().compile(&callee).unwrap());
    let own = Arc::new(engine().compile(&own).unwrap());
    assert!(matches!(execute(&own, &rich(Entry::Call), Arc::new(Foreign(foreign))), Err(Fault::Engine(_))));
}
