//! Where instances live: slots of memory and table that are made with the engine, and turns that keep executions within them.
//!
//! To map and unmap an instance's address space costs the kernel more than a transfer computes. So an engine reserves as many slots as
//! instances can be alive at once, and an instance gets one that is empty.
//!
//! Guarantees: there is a slot for every instance. An execution holds a turn of its kind, of which there are so many, and has at most
//! one instance for each contract on its call stack; nothing else makes instances. So no outcome depends on who else executes, and
//! neither does the growth of a memory, for a slot has room for the largest. Queries and commands have turns of their own: no command
//! waits for a query. A slot is all zeros whoever had it before: its first bytes are written over, the others given back to the
//! kernel, and no page is left out because the kernel says that nobody wrote to it.
//!
//! What it takes is address space and not memory: [`crate::Layout::reserved_bytes`], which a limit on the process's address space (`RLIMIT_AS`)
//! or an enclave may not have. Then there is no engine: a worker that made mappings one by one instead would be slower by a factor that
//! nobody is told of, and would fail in the middle of its work instead of at its start.
//!
//! Contracts control how long they execute, within their gas.

use crate::{
    limits::{MAX_CALL_DEPTH, MAX_MEMORY_PAGES, MAX_TABLE_ELEMENTS},
    world::Entry,
};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use wasmtime::PoolingAllocationConfig;

/// Queries that one engine executes at once; others wait for their turn.
pub const MAX_QUERIES_AT_ONCE: usize = 4;
/// Commands that one engine executes at once: a boundary's run one after the other, and so do boundaries.
const MAX_COMMANDS_AT_ONCE: usize = 1;

/// Instances that can be alive at once.
pub(crate) const SLOTS: u32 = ((MAX_QUERIES_AT_ONCE + MAX_COMMANDS_AT_ONCE) * MAX_CALL_DEPTH) as u32;

/// Bytes of a slot that are zeroed by writing to them, and so stay in memory: what a small contract touches. They are 10 MiB of all
/// slots at most.
const KEPT_MEMORY_BYTES: usize = 256 << 10;
/// The same of a table.
const KEPT_TABLE_BYTES: usize = 64 << 10;
/// Entries that the slot of a table has room for: one more than a table has. An index over the limit is that one's where a processor runs
/// past the comparison ([`crate::rewrite`]); there is nothing between two slots, and it would be the first of another contract's table.
const TABLE_SLOT_ELEMENTS: usize = MAX_TABLE_ELEMENTS as usize + 1;
/// The engine's own data of an instance. A module at every limit of [`crate::limits`] needs 0.3 MiB, most of it for functions that a
/// table may hold; a test has such a one.
const INSTANCE_BYTES: usize = 1 << 20;

/// The engine's pool. Two of its options stay off: to ask the kernel which pages were written to, and to leave the others as they are,
/// would make emptiness the kernel's word; and protection keys are not of every processor. The same in every layout: how far slots lie
/// apart is not the pool's to say.
pub(crate) fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(SLOTS);
    pool.total_memories(SLOTS);
    pool.total_tables(SLOTS);
    pool.max_memories_per_module(1);
    pool.max_tables_per_module(1);
    pool.max_memory_size((MAX_MEMORY_PAGES as usize) << 16);
    pool.table_elements(TABLE_SLOT_ELEMENTS);
    pool.max_core_instance_size(INSTANCE_BYTES);
    pool.linear_memory_keep_resident(KEPT_MEMORY_BYTES);
    pool.table_keep_resident(KEPT_TABLE_BYTES);
    // A slot that was used before goes before one that never was: its pages are there, and others need none.
    pool.max_unused_warm_slots(0);
    // An instance that ended has given its slot back.
    pool.decommit_batch_size(1);
    pool
}

/// The turns of one engine.
pub(crate) struct Turns {
    queries: Lane,
    commands: Lane,
}

impl Default for Turns {
    fn default() -> Self {
        Self { queries: Lane::with(MAX_QUERIES_AT_ONCE), commands: Lane::with(MAX_COMMANDS_AT_ONCE) }
    }
}

impl Turns {
    /// Waits for a turn to execute `entry` and takes it. Whoever has one gives it back when his execution ends, which gas bounds.
    pub(crate) fn take(&self, entry: Entry) -> Turn<'_> {
        match entry {
            Entry::Query => self.queries.take(),
            Entry::Deploy | Entry::Call => self.commands.take(),
        }
    }
}

/// Turns of one kind.
struct Lane {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Lane {
    fn with(turns: usize) -> Self {
        Self { free: Mutex::new(turns), given_back: Condvar::new() }
    }

    fn take(&self) -> Turn<'_> {
        let mut free = self.free();
        loop {
            if let Some(left) = free.checked_sub(1) {
                *free = left;
                return Turn(self);
            }
            free = self.given_back.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A poisoned lock is taken all the same: a number is never half written.
    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody's turn; over when it is dropped, however that comes.
pub(crate) struct Turn<'a>(&'a Lane);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free();
        *free = free.saturating_add(1);
        drop(free);
        self.0.given_back.notify_one();
    }
}
