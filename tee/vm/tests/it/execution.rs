//! One contract alone: traps, exhaustion, pointers, determinism, read-only queries.

use crate::support::*;
use phala_protocol::{egress::EgressAction, hash::blake2_256, AccountId};
use phala_vm::{execute, limits, Engine, Entry, Fault, Outcome, Trap};
use std::sync::Arc;

fn trapped(body: &str) -> Trap {
    let execution = Memory::with(&calls(body)).call();
    assert!(execution.writes.is_empty() && execution.events.is_empty() && execution.egress.is_empty());
    assert_eq!(execution.gas_used, GAS, "a trap costs the limit");
    match execution.outcome {
        Outcome::Trapped(trap) => trap,
        other => panic!("did not trap: {other:?}"),
    }
}

#[test]
fn context_is_what_the_request_says() {
    let world = Memory::with(&calls(
        "(call $caller (i32.const 0)) (call $contract_id (i32.const 32)) (call $value (i32.const 64))
         (i32.store (i32.const 80) (call $cluster)) (i32.store (i32.const 84) (call $block_number))
         (i64.store (i32.const 88) (call $block_time_ms)) (call $output_write (i32.const 0) (i32.const 96)) i32.const 0",
    ));
    let mut asked = request(Entry::Call);
    asked.value = 1 << 100;
    let execution = world.run(&asked).unwrap();
    let output = output(&execution);
    assert_eq!(output[..32], CALLER.0);
    assert_eq!(output[32..64], CONTRACT.0);
    assert_eq!(output[64..80], (1u128 << 100).to_le_bytes());
    assert_eq!(output[80..84], CONTEXT.cluster.0.to_le_bytes());
    assert_eq!(output[84..88], CONTEXT.block_number.to_le_bytes());
    assert_eq!(output[88..96], CONTEXT.block_time_ms.to_le_bytes());
}

#[test]
fn input_is_echoed_and_hashed() {
    let world = Memory::with(&calls(
        "(call $input_read (i32.const 100)) (call $hash (i32.const 100) (call $input_len) (i32.const 0))
         (call $output_write (i32.const 0) (i32.add (i32.const 100) (call $input_len))) i32.const 0",
    ));
    let mut asked = request(Entry::Call);
    asked.input = b"hello".to_vec();
    let execution = world.run(&asked).unwrap();
    assert_eq!(output(&execution)[..32], blake2_256(b"hello"));
    assert_eq!(output(&execution)[100..], *b"hello");
}

#[test]
fn write_is_read_back_and_committed() {
    let body = "(call $storage_set (i32.const 0) (i32.const 3) (i32.const 3) (i32.const 4))
        (if (i32.ne (call $storage_get (i32.const 0) (i32.const 3)) (i32.const 4)) (then unreachable))
        (call $result_read (i32.const 50)) (call $output_write (i32.const 50) (i32.const 4))
        (call $storage_remove (i32.const 1) (i32.const 1)) (call $emit_event (i32.const 0) (i32.const 2)) i32.const 0";
    let world = Memory::with(&guest(body, "i32.const 0", r#"(data (i32.const 0) "keyvalu")"#));
    let execution = world.call();
    assert_eq!(output(&execution), b"valu");
    let writes: Vec<_> = execution.writes.into_iter().collect();
    assert_eq!(writes, [((CONTRACT, b"e".to_vec()), None), ((CONTRACT, b"key".to_vec()), Some(b"valu".to_vec()))]);
    assert_eq!(execution.events[0].data, b"ke");
    assert_eq!(execution.events[0].contract, CONTRACT);
}

#[test]
fn revert_returns_the_error_and_drops_the_writes() {
    let world = Memory::with(&calls(
        "(call $storage_set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 4))
         (call $emit_event (i32.const 0) (i32.const 2)) (call $output_write (i32.const 0) (i32.const 2)) i32.const 1",
    ));
    let execution = world.call();
    assert_eq!(execution.outcome, Outcome::Reverted(vec![0, 0]));
    assert!(execution.writes.is_empty() && execution.events.is_empty());
    assert!(execution.gas_used < GAS);
}

/// A transfer of 5 to the account of twos at address 0, 49 bytes, and the message `hi` to `d` at 64, 6 bytes.
fn actions() -> String {
    let transfer = format!("\\00{}\\05{}", "\\02".repeat(32), "\\00".repeat(15));
    format!(r#"(data (i32.const 0) "{transfer}") (data (i32.const 64) "\01\04d\08hi")"#)
}

#[test]
fn what_is_sent_out_comes_in_order_and_only_when_the_call_returns() {
    let send = "(call $egress (i32.const 64) (i32.const 6)) (call $egress (i32.const 0) (i32.const 49))";
    let run = |end: &str| Memory::with(&guest(&format!("{send} {end}"), "i32.const 0", &actions())).call();
    let execution = run("i32.const 0");
    let message = EgressAction::Message { destination: b"d".to_vec(), payload: b"hi".to_vec() };
    let transfer = EgressAction::Transfer { to: AccountId([2; 32]), amount: 5 };
    assert_eq!(execution.egress, [(CONTRACT, message), (CONTRACT, transfer)]);
    assert!(execution.gas_used > 800_000, "{}", execution.gas_used);
    let refused = run("i32.const 1");
    assert_eq!(refused.outcome, Outcome::Reverted(vec![]));
    assert!(refused.egress.is_empty());
    assert!(run("unreachable").egress.is_empty());
    assert!(run("(loop $l (br $l)) unreachable").egress.is_empty());
}

#[test]
fn bytes_that_are_no_action_and_more_than_one_call_may_send_are_traps() {
    let trap = |body: &str| Memory::with(&guest(body, "i32.const 0", &actions())).call().outcome;
    for length in [0, 1, 48, 50] {
        let body = format!("(call $egress (i32.const 0) (i32.const {length})) i32.const 0");
        assert_eq!(trap(&body), Outcome::Trapped(Trap::BadEgress), "{length} bytes of 49");
    }
    let longer = limits::MAX_EGRESS_BYTES + 1;
    let body = format!("(call $egress (i32.const 0) (i32.const {longer})) i32.const 0");
    assert_eq!(trap(&body), Outcome::Trapped(Trap::TooLarge));
    assert_eq!(trap("(call $egress (i32.const -4) (i32.const 49)) i32.const 0"), Outcome::Trapped(Trap::BadPointer));
    let most = "(call $egress (i32.const 0) (i32.const 49))".repeat(limits::MAX_EGRESS_ITEMS);
    assert_eq!(trap(&format!("{most} i32.const 0")), Outcome::Returned(vec![]));
    let more = format!("{most} (call $egress (i32.const 0) (i32.const 49)) i32.const 0");
    assert_eq!(trap(&more), Outcome::Trapped(Trap::TooMuchEgress));
}

#[test]
fn a_query_sends_nothing_out() {
    let send = "(call $egress (i32.const 0) (i32.const 49)) i32.const 0";
    let execution = Memory::with(&guest("i32.const 0", send, &actions())).run(&request(Entry::Query)).unwrap();
    assert_eq!(execution.outcome, Outcome::Trapped(Trap::ReadOnly));
    assert!(execution.egress.is_empty());
}

#[test]
fn traps_are_told_apart() {
    let write = "(call $storage_set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 4))";
    for (body, trap) in [
        ("unreachable", Trap::Unreachable),
        ("(i32.load (i32.const 0x7fffffff))", Trap::Memory),
        ("(i32.load (i32.const -1))", Trap::Memory),
        ("(i32.div_s (i32.const 1) (i32.const 0))", Trap::Arithmetic),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", Trap::Arithmetic),
        ("(i32.trunc_f32_s (f32.const nan))", Trap::Arithmetic),
        ("i32.const 2", Trap::BadReturn),
        ("i32.const -1", Trap::BadReturn),
    ] {
        assert_eq!(trapped(&format!("{write} {body}")), trap, "{body}");
    }
    let indirect = guest(
        "(call_indirect (result i32) (i32.const 1))",
        "(call_indirect (result i32) (i32.const 5))",
        "(table 2 funcref)",
    );
    for entry in [Entry::Call, Entry::Query] {
        let execution = Memory::with(&indirect).run(&request(entry)).unwrap();
        assert_eq!(execution.outcome, Outcome::Trapped(Trap::IndirectCall));
    }
}

#[test]
fn infinite_loop_runs_out_of_gas() {
    for body in ["(loop $l (br $l)) unreachable", "(loop $l (br_if $l (i32.const 1))) i32.const 0"] {
        let execution = Memory::with(&calls(body)).call();
        assert_eq!((execution.outcome, execution.gas_used), (Outcome::OutOfGas, GAS));
    }
}

#[test]
fn deep_recursion_overflows_the_contracts_stack_and_not_ours() {
    let recursion = "(func $down (param i64 i64 i64) (result i64)
        (i64.add (local.get 0) (call $down (local.get 1) (local.get 2) (i64.add (local.get 0) (i64.const 1)))))";
    let world = Memory::with(&guest(
        "(drop (call $down (i64.const 1) (i64.const 2) (i64.const 3))) i32.const 0",
        "i32.const 0",
        recursion,
    ));
    let mut asked = request(Entry::Call);
    asked.gas_limit = u64::MAX;
    let first = world.run(&asked).unwrap();
    assert_eq!(first.outcome, Outcome::Trapped(Trap::StackOverflow));
    assert_eq!(world.run(&asked).unwrap(), first);
}

#[test]
fn memory_grows_to_its_limit_and_no_further() {
    let world = Memory::with(&calls(
        "(block $full (loop $more (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more)))
         (i32.store (i32.const 0) (memory.size)) (i32.store (i32.const 4) (memory.grow (i32.const 65535)))
         (i32.store (i32.const 8) (memory.grow (i32.const -1)))
         (call $output_write (i32.const 0) (i32.const 12)) i32.const 0",
    ));
    let mut asked = request(Entry::Call);
    asked.gas_limit = 100_000_000;
    let execution = world.run(&asked).unwrap();
    let words: Vec<_> = output(&execution).chunks(4).map(|word| i32::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [limits::MAX_MEMORY_PAGES as i32, -1, -1]);
}

#[test]
fn grown_pages_are_paid_for() {
    let world = Memory::with(&calls("(drop (memory.grow (i32.const 200))) i32.const 0"));
    let mut asked = request(Entry::Call);
    asked.gas_limit = 100_000_000;
    let used = world.run(&asked).unwrap().gas_used;
    assert!(used > 200 * 65_536, "{used}");
    asked.gas_limit = used - 1;
    assert_eq!(world.run(&asked).unwrap().outcome, Outcome::OutOfGas);
}

#[test]
fn oversized_bytes_are_refused() {
    for body in [
        "(drop (memory.grow (i32.const 30))) (call $output_write (i32.const 0) (i32.const 1048576)) i32.const 0",
        "(call $storage_set (i32.const 0) (i32.const 129) (i32.const 0) (i32.const 1)) i32.const 0",
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 16385)) i32.const 0",
        "(drop (call $storage_get (i32.const 0) (i32.const 129))) i32.const 0",
        "(call $emit_event (i32.const 0) (i32.const 16385)) i32.const 0",
        "(call $log (i32.const 0) (i32.const 1025)) i32.const 0",
        "(call $random (i32.const 0) (i32.const 257)) i32.const 0",
    ] {
        assert_eq!(trapped(body), Trap::TooLarge, "{body}");
    }
}

#[test]
fn an_absurd_length_costs_the_gas_before_it_costs_memory() {
    let world = Memory::with(&calls("(call $output_write (i32.const 0) (i32.const -1)) i32.const 0"));
    assert_eq!(world.call().outcome, Outcome::OutOfGas);
}

#[test]
fn input_over_the_limit_is_refused() {
    let mut asked = request(Entry::Call);
    asked.input = vec![0; limits::MAX_INPUT_BYTES + 1];
    let execution = Memory::with(&calls("i32.const 0")).run(&asked).unwrap();
    assert_eq!(execution.outcome, Outcome::Trapped(Trap::TooLarge));
}

#[test]
fn pointers_outside_of_memory_are_refused() {
    for body in [
        "(call $output_write (i32.const 131072) (i32.const 1)) i32.const 0",
        "(call $output_write (i32.const -1) (i32.const 2)) i32.const 0",
        "(call $caller (i32.const 131041)) i32.const 0",
        "(call $caller (i32.const -32)) i32.const 0",
        "(call $hash (i32.const 0) (i32.const 1) (i32.const 131050)) i32.const 0",
        "(call $random (i32.const 131060) (i32.const 13)) i32.const 0",
        "(drop (call $call_contract (i32.const -5) (i32.const 0) (i32.const 0) (i64.const 0))) i32.const 0",
    ] {
        assert_eq!(trapped(body), Trap::BadPointer, "{body}");
    }
    assert_eq!(trapped("(call $result_read (i32.const 0)) i32.const 0"), Trap::NoResult);
}

#[test]
fn output_is_written_once() {
    let twice =
        "(call $output_write (i32.const 0) (i32.const 1)) (call $output_write (i32.const 0) (i32.const 1)) i32.const 0";
    assert_eq!(trapped(twice), Trap::SecondOutput);
}

#[test]
fn a_storm_of_host_calls_ends_with_the_gas() {
    for host_call in [
        "(drop (call $block_number))",
        "(call $log (i32.const 0) (i32.const 0))",
        "(call $hash (i32.const 0) (i32.const 1000) (i32.const 2000))",
        "(call $random (i32.const 0) (i32.const 256))",
        "(drop (call $storage_get (i32.const 0) (i32.const 0)))",
        "(drop (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)))",
    ] {
        let execution = Memory::with(&calls(&format!("(loop $l {host_call} (br $l)) unreachable"))).call();
        assert_eq!(execution.outcome, Outcome::OutOfGas, "{host_call}");
    }
}

#[test]
fn writes_and_events_of_one_execution_are_bounded() {
    let mut asked = request(Entry::Call);
    asked.gas_limit = 1_000_000_000;
    for (host_call, trap) in [
        (
            "(i32.store (i32.const 0) (local.get $i))
             (call $storage_set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 16000))",
            Trap::TooManyWrites,
        ),
        ("(call $storage_remove (i32.const 0) (i32.const 4))", Trap::TooManyWrites),
        ("(call $emit_event (i32.const 0) (i32.const 0))", Trap::TooManyEvents),
        ("(call $emit_event (i32.const 0) (i32.const 9000))", Trap::TooManyEvents),
    ] {
        let body =
            format!("(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) {host_call} (br $l)) unreachable");
        assert_eq!(Memory::with(&calls(&body)).run(&asked).unwrap().outcome, Outcome::Trapped(trap), "{host_call}");
    }
}

#[test]
fn query_cannot_change_state() {
    for body in [
        "(call $storage_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))",
        "(call $storage_remove (i32.const 0) (i32.const 1))",
        "(call $emit_event (i32.const 0) (i32.const 1))",
        "(drop (call $call_contract (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0)))",
    ] {
        let world = Memory::with(&guest("i32.const 0", &format!("{body} i32.const 0"), ""));
        let execution = world.run(&request(Entry::Query)).unwrap();
        assert_eq!(execution.outcome, Outcome::Trapped(Trap::ReadOnly), "{body}");
        assert!(execution.writes.is_empty());
    }
}

#[test]
fn every_nan_is_the_canonical_one() {
    // A NaN with a payload goes in; addition, division and the square root of a negative make others.
    let world = Memory::with(&calls(
        "(f32.store (i32.const 0) (f32.add (f32.reinterpret_i32 (i32.const 0x7fa12345)) (f32.const 1)))
         (f32.store (i32.const 4) (f32.div (f32.const 0) (f32.const 0)))
         (f32.store (i32.const 8) (f32.sqrt (f32.const -1)))
         (f64.store (i32.const 16) (f64.mul (f64.reinterpret_i64 (i64.const 0xfff4000000000001)) (f64.const 2)))
         (call $output_write (i32.const 0) (i32.const 24)) i32.const 0",
    ));
    let execution = world.call();
    let bytes = output(&execution);
    for nan in bytes[..12].chunks(4) {
        assert_eq!(nan, 0x7fc0_0000u32.to_le_bytes());
    }
    assert_eq!(bytes[16..], 0x7ff8_0000_0000_0000u64.to_le_bytes());
}

#[test]
fn instances_are_fresh() {
    let counter = "(global $calls (mut i32) (i32.const 0))";
    let body = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (global.get $calls)))
        (call $output_write (i32.const 0) (i32.const 4)) i32.const 0";
    let world = Memory::with(&guest(body, "i32.const 0", counter));
    for _ in 0..3 {
        assert_eq!(output(&world.call()), 1u32.to_le_bytes());
    }
}

#[test]
fn gas_is_the_same_on_every_engine_and_every_run() {
    let body = "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (call $storage_set (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 100))
        (drop (memory.grow (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 17)))) i32.const 0";
    let code = wat::parse_str(calls(body)).unwrap();
    let run = |engine: &Engine| {
        let contract = Arc::new(engine.compile(&code).unwrap());
        execute(&contract, &request(Entry::Call), Arc::new(Memory::default())).unwrap()
    };
    let first = run(engine());
    assert!(matches!(first.outcome, Outcome::Returned(_)));
    let other = Engine::new().unwrap();
    for _ in 0..3 {
        assert_eq!(run(&other), first);
    }
    assert_eq!(run(engine()), first);
    // Pinned: another number means another schedule, or another compiler.
    assert_eq!(first.gas_used, 1_565_522);
}

#[test]
fn exactly_the_gas_used_and_one_more_suffices() {
    let world = Memory::with(&calls("(call $log (i32.const 0) (i32.const 9)) i32.const 0"));
    let used = world.call().gas_used;
    let mut asked = request(Entry::Call);
    asked.gas_limit = used + 1;
    assert_eq!(world.run(&asked).unwrap().gas_used, used);
    asked.gas_limit = used;
    assert_eq!(world.run(&asked).unwrap().outcome, Outcome::OutOfGas);
    for gas_limit in [0, 1, 1000] {
        asked.gas_limit = gas_limit;
        let execution = world.run(&asked).unwrap();
        assert_eq!((execution.outcome, execution.gas_used), (Outcome::OutOfGas, gas_limit));
    }
}

#[test]
fn data_segment_outside_of_memory_traps() {
    let world = Memory::with(&guest("i32.const 0", "i32.const 0", r#"(data (i32.const 131071) "ab")"#));
    assert_eq!(world.call().outcome, Outcome::Trapped(Trap::Memory));
}

#[test]
fn failure_of_the_disk_is_a_fault_and_no_outcome() {
    let world = Memory::with(&calls("(drop (call $storage_get (i32.const 0) (i32.const 1))) i32.const 0"));
    world.break_storage();
    assert!(matches!(world.run(&request(Entry::Call)), Err(Fault::World(_))));
}

#[test]
fn queries_run_side_by_side_and_agree() {
    let world = Memory::with(&guest(
        "i32.const 0",
        "(loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (drop (call $storage_get (i32.const 0) (local.get $i)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 100)))) i32.const 0",
        "",
    ));
    let executions: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| world.run(&request(Entry::Query)).unwrap())).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(matches!(executions[0].outcome, Outcome::Returned(_)));
    assert!(executions.iter().all(|execution| *execution == executions[0]));
}
