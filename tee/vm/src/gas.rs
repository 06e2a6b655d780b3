//! The gas schedule: the price of every operator and every host function.
//!
//! One unit of gas is one unit of wasmtime fuel. Measured (`cargo run --release -p phala-vm --example measure`) it stands
//! for 0.1 to 0.7 nanoseconds of one core, whatever a contract does with it. Guarantees: the schedule is a function of
//! constants; its hash is asserted by a test, because a changed price makes replicas of two versions disagree about which
//! command ran out of gas. Contracts control what is executed, never what it costs. Prices cover the worst case of work
//! that a contract can cause: CPU, page faults, disk reads, bytes of published state.

use crate::module::CodeSize;
use wasmparser::Operator;
use wasmtime::{OperatorCost, VariableOperatorCost};

/// Crossing from a contract into the engine, charged for every host function before anything else.
pub const HOST_CALL: u64 = 150;
/// A byte copied between a contract's memory and the engine.
pub const COPY_BYTE: u64 = 1;
/// A storage read: a look-up in an encrypted store on disk.
pub const STORAGE_READ: u64 = 6_000;
/// A byte of a value that was read.
pub const STORAGE_READ_BYTE: u64 = 4;
/// A storage write or removal: an entry of the root, of the delta and of the disk.
pub const STORAGE_WRITE: u64 = 12_000;
/// A byte of a key or value that is written.
pub const STORAGE_WRITE_BYTE: u64 = 24;
/// An event.
pub const EVENT: u64 = 2_000;
/// A byte of an event.
pub const EVENT_BYTE: u64 = 12;
/// An egress item: an entry of the boundary's root, a record that is kept with its proof until the chain has taken the item, and a
/// transaction of the chain that nobody pays for when it takes it.
pub const EGRESS: u64 = 400_000;
/// A byte of an egress item.
pub const EGRESS_BYTE: u64 = 96;
/// A BLAKE2b-256 hash.
pub const HASH: u64 = 600;
/// A byte that is hashed.
pub const HASH_BYTE: u64 = 6;
/// Drawing random bytes: two permutations of Keccak, which give the first 136 bytes.
pub const RANDOM: u64 = 3_000;
/// A byte that is drawn.
pub const RANDOM_BYTE: u64 = 12;
/// Starting an instance: its store, its address space, its entry.
pub const INSTANCE: u64 = 60_000;
/// A page (64 KiB) of linear memory, initial or grown: sixteen page faults, the zeroing of the page, and giving it back.
/// Measured at 10 to 25 microseconds, so a unit of gas for each byte.
pub const MEMORY_PAGE: u64 = 65_536;
/// A byte that a data segment copies when an instance starts.
pub const DATA_BYTE: u64 = 1;
/// An entry of the function table.
pub const TABLE_ELEMENT: u64 = 16;
/// Calling another contract, beside the callee's own gas: which code it has is looked up.
pub const CONTRACT_CALL: u64 = 40_000;
/// A byte of the code that starts, paid before the code is asked for, and whether or not it was in memory: replicas have different caches and
/// must charge the same. To compile a byte takes a thousand times as long; what bounds that is [`crate::limits::MAX_CODES_BYTES`].
pub const CODE_BYTE: u64 = 8;

/// The share of the gas left that a caller always keeps in a nested call: one part in 64, so that it can handle a
/// callee that burned all it was given.
pub const CALLER_RESERVE: u64 = 64;

/// The price of every operator of WebAssembly 1.0. Operators of later proposals are refused before compilation.
pub(crate) fn operators() -> OperatorCost {
    let mut cost = OperatorCost::new();
    // A call also pays the stack check and the fuel check of the function that it enters.
    cost.Call = 12;
    cost.CallIndirect = 20;
    cost.BrTable = 4;
    // Branches and blocks generate a jump, and the default table has them free: no program may loop for nothing.
    cost.Br = 1;
    cost.Loop = 1;
    cost.If = 2;
    cost.BrIf = 2;
    for load in [
        &mut cost.I32Load,
        &mut cost.I64Load,
        &mut cost.F32Load,
        &mut cost.F64Load,
        &mut cost.I32Load8S,
        &mut cost.I32Load8U,
        &mut cost.I32Load16S,
        &mut cost.I32Load16U,
        &mut cost.I64Load8S,
        &mut cost.I64Load8U,
        &mut cost.I64Load16S,
        &mut cost.I64Load16U,
        &mut cost.I64Load32S,
        &mut cost.I64Load32U,
        &mut cost.I32Store,
        &mut cost.I64Store,
        &mut cost.F32Store,
        &mut cost.F64Store,
        &mut cost.I32Store8,
        &mut cost.I32Store16,
        &mut cost.I64Store8,
        &mut cost.I64Store16,
        &mut cost.I64Store32,
    ] {
        *load = 2;
    }
    for multiply in [&mut cost.I32Mul, &mut cost.I64Mul] {
        *multiply = 2;
    }
    for divide in [
        &mut cost.I32DivS,
        &mut cost.I32DivU,
        &mut cost.I32RemS,
        &mut cost.I32RemU,
        &mut cost.I64DivS,
        &mut cost.I64DivU,
        &mut cost.I64RemS,
        &mut cost.I64RemU,
    ] {
        *divide = 24;
    }
    // The code is compiled for the architecture's baseline, where these are sequences of instructions.
    for count in [
        &mut cost.I32Clz,
        &mut cost.I32Ctz,
        &mut cost.I32Popcnt,
        &mut cost.I64Clz,
        &mut cost.I64Ctz,
        &mut cost.I64Popcnt,
    ] {
        *count = 6;
    }
    // Each float result is followed by the canonicalisation of its NaN.
    for arithmetic in [
        &mut cost.F32Add,
        &mut cost.F32Sub,
        &mut cost.F32Mul,
        &mut cost.F32Min,
        &mut cost.F32Max,
        &mut cost.F64Add,
        &mut cost.F64Sub,
        &mut cost.F64Mul,
        &mut cost.F64Min,
        &mut cost.F64Max,
    ] {
        *arithmetic = 12;
    }
    for slow in [&mut cost.F32Div, &mut cost.F32Sqrt, &mut cost.F64Div, &mut cost.F64Sqrt] {
        *slow = 40;
    }
    // Rounding is a call into the engine on the x86-64 baseline.
    for round in [
        &mut cost.F32Ceil,
        &mut cost.F32Floor,
        &mut cost.F32Trunc,
        &mut cost.F32Nearest,
        &mut cost.F64Ceil,
        &mut cost.F64Floor,
        &mut cost.F64Trunc,
        &mut cost.F64Nearest,
    ] {
        *round = 60;
    }
    for convert in [
        &mut cost.I32TruncF32S,
        &mut cost.I32TruncF32U,
        &mut cost.I32TruncF64S,
        &mut cost.I32TruncF64U,
        &mut cost.I64TruncF32S,
        &mut cost.I64TruncF32U,
        &mut cost.I64TruncF64S,
        &mut cost.I64TruncF64U,
        &mut cost.F32ConvertI32S,
        &mut cost.F32ConvertI32U,
        &mut cost.F32ConvertI64S,
        &mut cost.F32ConvertI64U,
        &mut cost.F64ConvertI32S,
        &mut cost.F64ConvertI32U,
        &mut cost.F64ConvertI64S,
        &mut cost.F64ConvertI64U,
        &mut cost.F32DemoteF64,
        &mut cost.F64PromoteF32,
    ] {
        *convert = 16;
    }
    // A system call. The pages themselves are charged by the memory limiter, whose price does not fit this table's
    // byte.
    cost.MemoryGrow = 255;
    cost.variable = VariableOperatorCost { memory_grow_per_page: 0, ..VariableOperatorCost::new() };
    cost
}

/// The schedule as the engine charges it, for code that [`crate::rewrite`] has been through: operators that it adds are free, and a `nop` is
/// a unit of gas. Where a contract has such an operator itself, [`carried`] says how many `nop`s stand before it.
pub(crate) fn charged() -> OperatorCost {
    let mut cost = operators();
    for added in [
        &mut cost.LocalGet,
        &mut cost.LocalSet,
        &mut cost.LocalTee,
        &mut cost.GlobalGet,
        &mut cost.GlobalSet,
        &mut cost.I32Const,
        &mut cost.I32Sub,
        &mut cost.I32LtU,
        &mut cost.Select,
        &mut cost.If,
        &mut cost.Block,
        &mut cost.Unreachable,
        &mut cost.End,
    ] {
        *added = 0;
    }
    cost.Nop = 1;
    cost
}

/// What `operator` costs by the `schedule` and the engine does not charge for it.
pub(crate) fn carried(schedule: &OperatorCost, operator: &Operator<'_>) -> u8 {
    match operator {
        Operator::LocalGet { .. } => schedule.LocalGet,
        Operator::LocalSet { .. } => schedule.LocalSet,
        Operator::LocalTee { .. } => schedule.LocalTee,
        Operator::GlobalGet { .. } => schedule.GlobalGet,
        Operator::GlobalSet { .. } => schedule.GlobalSet,
        Operator::I32Const { .. } => schedule.I32Const,
        Operator::I32Sub => schedule.I32Sub,
        Operator::I32LtU => schedule.I32LtU,
        Operator::Select => schedule.Select,
        Operator::If { .. } => schedule.If,
        Operator::Block { .. } => schedule.Block,
        Operator::Unreachable => schedule.Unreachable,
        Operator::End => schedule.End,
        Operator::Nop => schedule.Nop,
        _ => 0,
    }
}

/// What calling into a module's fresh instance costs before its first operator runs. Its pages are charged when the memory is made.
pub(crate) fn start(size: &CodeSize) -> u64 {
    INSTANCE
        .saturating_add(u64::from(size.code_bytes).saturating_mul(CODE_BYTE))
        .saturating_add(u64::from(size.data_bytes).saturating_mul(DATA_BYTE))
        .saturating_add(u64::from(size.table_elements).saturating_mul(TABLE_ELEMENT))
}

/// A flat price and a price per byte, for `bytes` bytes. Saturates: whoever cannot pay `u64::MAX` runs out of gas.
pub(crate) fn sized(flat: u64, per_byte: u64, bytes: usize) -> u64 {
    flat.saturating_add(per_byte.saturating_mul(bytes as u64))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use phala_protocol::{hash::blake2_256, ids::to_hex};

    /// Every price in one text: the operators by name, then the host's in the order of their declaration.
    fn schedule() -> String {
        format!(
            "{:?} {:?}",
            operators(),
            [
                HOST_CALL,
                COPY_BYTE,
                STORAGE_READ,
                STORAGE_READ_BYTE,
                STORAGE_WRITE,
                STORAGE_WRITE_BYTE,
                EVENT,
                EVENT_BYTE,
                EGRESS,
                EGRESS_BYTE,
                HASH,
                HASH_BYTE,
                RANDOM,
                RANDOM_BYTE,
                INSTANCE,
                MEMORY_PAGE,
                DATA_BYTE,
                TABLE_ELEMENT,
                CONTRACT_CALL,
                CODE_BYTE,
                CALLER_RESERVE,
            ]
        )
    }

    /// Changing a price is a hard fork: replicas with two schedules disagree about gas. Change this line with an ADR
    /// only.
    #[test]
    fn schedule_is_the_pinned_one() {
        assert_eq!(
            to_hex(&blake2_256(schedule().as_bytes())),
            "0x577687cfcf3301f2f9c4046dc088c60ce7eb0925f3dded98aa40a3feb234a16c"
        );
    }

    #[test]
    fn no_loop_is_free() {
        let cost = operators();
        assert!(cost.Loop > 0 && cost.Br > 0 && cost.BrIf > 0 && cost.BrTable > 0 && cost.Call > 0);
    }

    /// Every operator that reads or writes memory.
    pub(crate) const ACCESSES: [&str; 23] = [
        "i32.load",
        "i64.load",
        "f32.load",
        "f64.load",
        "i32.load8_s",
        "i32.load8_u",
        "i32.load16_s",
        "i32.load16_u",
        "i64.load8_s",
        "i64.load8_u",
        "i64.load16_s",
        "i64.load16_u",
        "i64.load32_s",
        "i64.load32_u",
        "i32.store",
        "i64.store",
        "f32.store",
        "f64.store",
        "i32.store8",
        "i32.store16",
        "i64.store8",
        "i64.store16",
        "i64.store32",
    ];

    /// An operator is charged by the engine, or carried by `nop`s before it: never both, and never neither.
    #[test]
    fn whatever_the_engine_does_not_charge_is_carried() {
        let (schedule, charged) = (operators(), charged());
        let memarg = wasmparser::MemArg { align: 0, max_align: 0, offset: 0, memory: 0 };
        for (operator, price, engine) in [
            (Operator::LocalGet { local_index: 0 }, schedule.LocalGet, charged.LocalGet),
            (Operator::LocalSet { local_index: 0 }, schedule.LocalSet, charged.LocalSet),
            (Operator::LocalTee { local_index: 0 }, schedule.LocalTee, charged.LocalTee),
            (Operator::GlobalGet { global_index: 0 }, schedule.GlobalGet, charged.GlobalGet),
            (Operator::GlobalSet { global_index: 0 }, schedule.GlobalSet, charged.GlobalSet),
            (Operator::I32Const { value: 0 }, schedule.I32Const, charged.I32Const),
            (Operator::I32Sub, schedule.I32Sub, charged.I32Sub),
            (Operator::I32LtU, schedule.I32LtU, charged.I32LtU),
            (Operator::Select, schedule.Select, charged.Select),
            (Operator::If { blockty: wasmparser::BlockType::Empty }, schedule.If, charged.If),
            (Operator::Block { blockty: wasmparser::BlockType::Empty }, schedule.Block, charged.Block),
            (Operator::Unreachable, schedule.Unreachable, charged.Unreachable),
            (Operator::End, schedule.End, charged.End),
            (Operator::I32Add, schedule.I32Add, charged.I32Add),
            (Operator::I32Load { memarg }, schedule.I32Load, charged.I32Load),
            (Operator::Call { function_index: 0 }, schedule.Call, charged.Call),
            (Operator::Return, schedule.Return, charged.Return),
        ] {
            assert_eq!(u32::from(carried(&schedule, &operator)) + u32::from(engine), u32::from(price), "{operator:?}");
        }
        // All that differs is what the list above names.
        let mut back = charged;
        back.Nop = schedule.Nop;
        for (operator, price) in [
            (&mut back.LocalGet, schedule.LocalGet),
            (&mut back.LocalSet, schedule.LocalSet),
            (&mut back.LocalTee, schedule.LocalTee),
            (&mut back.GlobalGet, schedule.GlobalGet),
            (&mut back.GlobalSet, schedule.GlobalSet),
            (&mut back.I32Const, schedule.I32Const),
            (&mut back.I32Sub, schedule.I32Sub),
            (&mut back.I32LtU, schedule.I32LtU),
            (&mut back.Select, schedule.Select),
            (&mut back.If, schedule.If),
        ] {
            *operator = price;
        }
        assert_eq!(back, schedule);
    }
}
