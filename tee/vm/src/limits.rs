//! Bounds of contract code and of one execution.
//!
//! Guarantees: all are constants of the protocol, compiled into the measured binary. Replicas that disagreed on one
//! would vote differently, so a change is a hard fork. None can be raised by a contract, a host or the chain.

/// Bytes of a contract's WASM: the chain's own bound, checked here again because the chain is not asked.
pub const MAX_CODE_BYTES: usize = phala_protocol::limits::MAX_CODE_BYTES as usize;
/// Functions that a module defines.
pub const MAX_FUNCTIONS: u32 = 8_192;
/// Bytes of one function's body. Bounds what the compiler's passes, some of them worse than linear, see at once.
pub const MAX_FUNCTION_BYTES: usize = 64 * 1024;
/// Parameters and locals of one function.
pub const MAX_LOCALS: u32 = 4_096;
/// Parameters of one function type.
pub const MAX_PARAMETERS: usize = 32;
/// Function types.
pub const MAX_TYPES: u32 = 1_024;
/// Imported functions.
pub const MAX_IMPORTS: u32 = 64;
/// Exports.
pub const MAX_EXPORTS: u32 = 64;
/// Globals.
pub const MAX_GLOBALS: u32 = 1_024;
/// Data segments.
pub const MAX_DATA_SEGMENTS: u32 = 1_024;
/// Element segments.
pub const MAX_ELEMENT_SEGMENTS: u32 = 64;
/// Entries of the function table, and of all element segments together.
pub const MAX_TABLE_ELEMENTS: u32 = 8_192;
/// Nested blocks inside one function.
pub const MAX_NESTING: u32 = 256;
/// Targets of one `br_table`.
pub const MAX_BRANCH_TARGETS: u32 = 1_024;
/// Targets of all `br_table` of one module.
pub const MAX_BRANCH_TARGETS_TOTAL: u32 = 65_536;
/// Loops of one function: the compiler's time grows faster than their number.
pub const MAX_LOOPS: u32 = 1_024;
/// Loops of one module.
pub const MAX_LOOPS_TOTAL: u32 = 16_384;
/// Divisions, remainders and truncations of a float to an integer of one function. Where no fault is taken, each is up to three comparisons,
/// and a truncation a call: a hundred times as much code as the byte that it is, and 26 KiB of the compiler's memory.
pub const MAX_CHECKED_ARITHMETIC: u32 = 4_096;
/// The same of one module.
pub const MAX_CHECKED_ARITHMETIC_TOTAL: u32 = 32_768;
/// Bytes of the custom section `phala.metadata`.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Custom sections.
pub const MAX_CUSTOM_SECTIONS: u32 = 32;

/// Pages (64 KiB) of linear memory: 16 MiB.
pub const MAX_MEMORY_PAGES: u64 = 256;
/// Bytes of stack that one contract's frames may use, as its code is charged for them and not as a compiler lays them out.
pub const MAX_STACK_BYTES: usize = 512 * 1024;
/// Bytes that the frame of one function may be charged.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Contracts on the call stack, the first included.
pub const MAX_CALL_DEPTH: usize = 8;
/// Different codes that one execution may run, the first included.
pub const MAX_CODES: usize = 16;
/// Bytes of all of them, before they are compiled: the compiler's work for one execution. A contract at the limit may call another.
pub const MAX_CODES_BYTES: usize = 2 * MAX_CODE_BYTES;

/// Bytes of the input of an entry point.
pub const MAX_INPUT_BYTES: usize = 16 * 1024;
/// Bytes of the output, or of the error, of an entry point.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;
/// Bytes of a storage key.
pub const MAX_KEY_BYTES: usize = 128;
/// Bytes of a storage value.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;
/// Bytes of keys and values that one execution may have written, nested calls included.
pub const MAX_WRITE_BYTES: usize = 256 * 1024;
/// Events of one execution, nested calls included.
pub const MAX_EVENTS: usize = 64;
/// Bytes of all events of one execution.
pub const MAX_EVENT_BYTES: usize = 16 * 1024;
/// Egress items of one execution, nested calls included.
pub const MAX_EGRESS_ITEMS: usize = phala_protocol::limits::MAX_EGRESS_ITEMS;
/// Bytes of all egress of one execution.
pub const MAX_EGRESS_BYTES: usize = phala_protocol::limits::MAX_EGRESS_BYTES;
/// Random bytes of one draw.
pub const MAX_RANDOM_BYTES: usize = 256;
/// Bytes of one debug message.
pub const MAX_LOG_BYTES: usize = 1024;
