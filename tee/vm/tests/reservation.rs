//! What an enclave's engine takes of a process: this process, which has nothing else to do.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test, which reads what Linux says of it"
)]

use phala_vm::{Engine, Layout};

/// Address space of this process, in bytes.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kibibytes: u64 = line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap();
    kibibytes << 10
}

#[test]
fn an_enclaves_engine_takes_the_address_space_that_it_states() {
    let before = address_space();
    let engine = Engine::in_layout(Layout::Compact).unwrap();
    let grown = address_space() - before;
    let stated = engine.layout().reserved_bytes();
    // Beside its slots: linker and compiler, on the heap.
    assert!(grown <= stated + (64 << 20), "{grown} bytes, {stated} stated");
    assert!(grown >= stated - (64 << 20), "{grown} bytes, {stated} stated: the statement is not about this engine");
    let wide = Engine::new().unwrap();
    assert!(address_space() - before > wide.layout().reserved_bytes());
}
