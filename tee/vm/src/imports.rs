//! The host functions: everything a contract can do beside computing.
//!
//! Guarantees: whatever is not listed here does not exist for a contract. Every function is charged before it copies,
//! allocates or reads anything, by what it was asked for; every pointer is checked; what changes state, or draws random
//! bytes, traps in a query; none gives a key that stays (`imports/tests.rs` says what each gives). A contract controls all
//! arguments. The types below are the ABI (`docs/contract-abi.md`): changing one orphans deployed code.

use crate::{
    engine::CompiledContract,
    execute::{run_frame, Frame, Limiter},
    gas,
    limits::*,
    module::IMPORT_MODULE,
    outcome::{Fault, Outcome, Stop, Trap},
    world::{Entry, Listing},
};
use phala_protocol::{egress::EgressAction, hash::blake2_256, ids::ContractId, result::ContractEvent};
use std::sync::Arc;
use wasmparser::ValType;
use wasmtime::{Caller, Engine, Linker, Result};

/// The entry points, each `() -> i32`.
pub(crate) const ENTRIES: [&str; 3] = ["deploy", "call", "query"];

/// How a call of another contract ended, in the lower half of what the caller gets; the upper half is the length of
/// the result, for those that leave one to be read.
mod status {
    /// It returned; the result is its output.
    pub(super) const RETURNED: u64 = 0;
    /// It refused and changed nothing; the result is its error.
    pub(super) const REVERTED: u64 = 1;
    /// It was stopped and changed nothing.
    pub(super) const TRAPPED: u64 = 2;
    /// Its gas did not suffice; it changed nothing.
    pub(super) const OUT_OF_GAS: u64 = 3;
    /// There is no such contract in this cluster.
    pub(super) const NO_CONTRACT: u64 = 4;
    /// The call stack is full.
    pub(super) const TOO_DEEP: u64 = 5;
    /// The contract is on the call stack already. Refused, so that no contract is entered while its state is half
    /// written.
    pub(super) const REENTRANT: u64 = 6;
    /// The contract has code that the execution has not run yet, and there is no room for more.
    pub(super) const TOO_MANY_CODES: u64 = 7;
}

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;

/// Name, parameters and results of every host function, in the order of the page: a module that imports anything else is refused.
pub(crate) static HOST_FUNCTIONS: [(&str, &[ValType], &[ValType]); 20] = [
    ("input_len", &[], &[I32]),
    ("input_read", &[I32], &[]),
    ("output_write", &[I32, I32], &[]),
    ("storage_get", &[I32, I32], &[I32]),
    ("storage_set", &[I32, I32, I32, I32], &[]),
    ("storage_remove", &[I32, I32], &[]),
    ("result_read", &[I32], &[]),
    ("caller", &[I32], &[]),
    ("contract_id", &[I32], &[]),
    ("value", &[I32], &[]),
    ("cluster", &[], &[I32]),
    ("block_number", &[], &[I32]),
    ("block_time_ms", &[], &[I64]),
    ("emit_event", &[I32, I32], &[]),
    ("egress", &[I32, I32], &[]),
    ("hash_blake2b_256", &[I32, I32, I32], &[]),
    ("random", &[I32, I32], &[]),
    ("call_contract", &[I32, I32, I32, I64], &[I64]),
    ("query_contract", &[I32, I32, I32, I64], &[I64]),
    ("log", &[I32, I32], &[]),
];

/// Parameters and results of the host function `name`, or `None` when there is none.
pub(crate) fn signature(name: &str) -> Option<(&'static [ValType], &'static [ValType])> {
    let known = HOST_FUNCTIONS.iter().find(|(known, ..)| *known == name);
    known.map(|(_, parameters, results)| (*parameters, *results))
}

/// All host functions.
pub(crate) fn link(engine: &Engine) -> Result<Linker<Frame>> {
    let mut linker = Linker::new(engine);
    link_input_and_output(&mut linker)?;
    link_storage(&mut linker)?;
    link_context(&mut linker)?;
    link_calls(&mut linker)?;
    Ok(linker)
}

fn link_input_and_output(linker: &mut Linker<Frame>) -> Result<()> {
    linker.func_wrap(IMPORT_MODULE, "input_len", |mut guest: Caller<'_, Frame>| -> Result<u32> {
        charge(&mut guest, gas::HOST_CALL)?;
        Ok(length(guest.data().input.len()))
    })?;
    linker.func_wrap(IMPORT_MODULE, "input_read", |mut guest: Caller<'_, Frame>, pointer: u32| -> Result<()> {
        let bytes = guest.data().input.len();
        charge(&mut guest, gas::sized(gas::HOST_CALL, gas::COPY_BYTE, bytes))?;
        let (memory, frame) = memory(&mut guest)?;
        write(memory, pointer, &frame.input)
    })?;
    linker.func_wrap(IMPORT_MODULE, "result_read", |mut guest: Caller<'_, Frame>, pointer: u32| -> Result<()> {
        let bytes = guest.data().result.as_ref().map_or(0, Vec::len);
        charge(&mut guest, gas::sized(gas::HOST_CALL, gas::COPY_BYTE, bytes))?;
        let (memory, frame) = memory(&mut guest)?;
        let result = frame.result.take().ok_or(Stop::Trap(Trap::NoResult))?;
        write(memory, pointer, &result)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        "output_write",
        |mut guest: Caller<'_, Frame>, pointer: u32, bytes: u32| -> Result<()> {
            let output = read_bounded(&mut guest, pointer, bytes, MAX_OUTPUT_BYTES, gas::HOST_CALL, gas::COPY_BYTE)?;
            match guest.data_mut().output.replace(output) {
                None => Ok(()),
                Some(_) => stop(Trap::SecondOutput),
            }
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "emit_event",
        |mut guest: Caller<'_, Frame>, pointer: u32, bytes: u32| -> Result<()> {
            changes_state(&guest)?;
            let flat = gas::HOST_CALL.saturating_add(gas::EVENT);
            let data = read_bounded(&mut guest, pointer, bytes, MAX_EVENT_BYTES, flat, gas::EVENT_BYTE)?;
            let frame = guest.data();
            let event = ContractEvent { contract: frame.contract, data };
            frame.run.lock().overlay.emit(event).map_err(|trap| Stop::Trap(trap).into())
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "egress",
        |mut guest: Caller<'_, Frame>, pointer: u32, bytes: u32| -> Result<()> {
            changes_state(&guest)?;
            let flat = gas::HOST_CALL.saturating_add(gas::EGRESS);
            let encoded = read_bounded(&mut guest, pointer, bytes, MAX_EGRESS_BYTES, flat, gas::EGRESS_BYTE)?;
            let action = EgressAction::decode_bounded(&encoded).map_err(|_| Stop::Trap(Trap::BadEgress))?;
            let frame = guest.data();
            frame.run.lock().overlay.send(frame.contract, action, encoded.len()).map_err(|trap| Stop::Trap(trap).into())
        },
    )?;
    // A measured binary tells its host nothing about a contract's data: the message is charged, checked and dropped.
    linker.func_wrap(IMPORT_MODULE, "log", |mut guest: Caller<'_, Frame>, pointer: u32, bytes: u32| -> Result<()> {
        read_bounded(&mut guest, pointer, bytes, MAX_LOG_BYTES, gas::HOST_CALL, gas::COPY_BYTE).map(drop)
    })?;
    Ok(())
}

fn link_storage(linker: &mut Linker<Frame>) -> Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        "storage_get",
        |mut guest: Caller<'_, Frame>, key: u32, key_bytes: u32| -> Result<u32> {
            let flat = gas::HOST_CALL.saturating_add(gas::STORAGE_READ);
            let key = read_bounded(&mut guest, key, key_bytes, MAX_KEY_BYTES, flat, gas::STORAGE_READ_BYTE)?;
            let frame = guest.data();
            let written = frame.run.lock().overlay.read(&frame.contract, &key);
            let value = match written {
                Some(value) => value,
                None => frame.world.read(&frame.contract, &key).map_err(Stop::Fault)?,
            };
            let bytes = value.as_ref().map(Vec::len);
            guest.data_mut().result = value;
            charge(&mut guest, gas::sized(0, gas::STORAGE_READ_BYTE, bytes.unwrap_or(0)))?;
            // Values are bounded far below 2^31, so this is the one number that no length can be.
            Ok(bytes.map_or(u32::MAX, length))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "storage_set",
        |mut guest: Caller<'_, Frame>, key: u32, key_bytes: u32, value: u32, value_bytes: u32| -> Result<()> {
            changes_state(&guest)?;
            let flat = gas::HOST_CALL.saturating_add(gas::STORAGE_WRITE);
            let key = read_bounded(&mut guest, key, key_bytes, MAX_KEY_BYTES, flat, gas::STORAGE_WRITE_BYTE)?;
            let value = read_bounded(&mut guest, value, value_bytes, MAX_VALUE_BYTES, 0, gas::STORAGE_WRITE_BYTE)?;
            write_storage(&guest, key, Some(value))
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "storage_remove",
        |mut guest: Caller<'_, Frame>, key: u32, key_bytes: u32| -> Result<()> {
            changes_state(&guest)?;
            let flat = gas::HOST_CALL.saturating_add(gas::STORAGE_WRITE);
            let key = read_bounded(&mut guest, key, key_bytes, MAX_KEY_BYTES, flat, gas::STORAGE_WRITE_BYTE)?;
            write_storage(&guest, key, None)
        },
    )?;
    Ok(())
}

fn link_context(linker: &mut Linker<Frame>) -> Result<()> {
    linker.func_wrap(IMPORT_MODULE, "caller", |mut guest: Caller<'_, Frame>, pointer: u32| -> Result<()> {
        let caller = guest.data().caller;
        put(&mut guest, pointer, &caller)
    })?;
    linker.func_wrap(IMPORT_MODULE, "contract_id", |mut guest: Caller<'_, Frame>, pointer: u32| -> Result<()> {
        let contract = guest.data().contract.0;
        put(&mut guest, pointer, &contract)
    })?;
    linker.func_wrap(IMPORT_MODULE, "value", |mut guest: Caller<'_, Frame>, pointer: u32| -> Result<()> {
        let value = guest.data().value.to_le_bytes();
        put(&mut guest, pointer, &value)
    })?;
    linker.func_wrap(IMPORT_MODULE, "cluster", |mut guest: Caller<'_, Frame>| -> Result<u32> {
        charge(&mut guest, gas::HOST_CALL)?;
        Ok(guest.data().context.cluster.0)
    })?;
    linker.func_wrap(IMPORT_MODULE, "block_number", |mut guest: Caller<'_, Frame>| -> Result<u32> {
        charge(&mut guest, gas::HOST_CALL)?;
        Ok(guest.data().context.block_number)
    })?;
    linker.func_wrap(IMPORT_MODULE, "block_time_ms", |mut guest: Caller<'_, Frame>| -> Result<u64> {
        charge(&mut guest, gas::HOST_CALL)?;
        Ok(guest.data().context.block_time_ms)
    })?;
    linker.func_wrap(
        IMPORT_MODULE,
        "hash_blake2b_256",
        |mut guest: Caller<'_, Frame>, pointer: u32, bytes: u32, to: u32| -> Result<()> {
            let flat = gas::HOST_CALL.saturating_add(gas::HASH);
            charge(&mut guest, gas::sized(flat, gas::HASH_BYTE, bytes as usize))?;
            let (memory, _) = memory(&mut guest)?;
            let hash = blake2_256(slice(memory, pointer, bytes)?);
            write(memory, to, &hash)
        },
    )?;
    linker.func_wrap(IMPORT_MODULE, "random", |mut guest: Caller<'_, Frame>, to: u32, bytes: u32| -> Result<()> {
        if guest.data().read_only {
            return stop(Trap::NoRandomness);
        }
        let flat = gas::HOST_CALL.saturating_add(gas::RANDOM);
        charge(&mut guest, gas::sized(flat, gas::RANDOM_BYTE, bytes as usize))?;
        let mut room = [0u8; MAX_RANDOM_BYTES];
        let drawn = room.get_mut(..bytes as usize).ok_or(Stop::Trap(Trap::TooLarge))?;
        let frame = guest.data();
        let number = frame.run.lock().overlay.draw(frame.contract);
        frame.world.random(&frame.contract, number, drawn).map_err(Stop::Fault)?;
        let (memory, _) = memory(&mut guest)?;
        write(memory, to, drawn)
    })?;
    Ok(())
}

fn link_calls(linker: &mut Linker<Frame>) -> Result<()> {
    linker.func_wrap(
        IMPORT_MODULE,
        "call_contract",
        |mut guest: Caller<'_, Frame>, contract: u32, input: u32, input_bytes: u32, gas: u64| -> Result<u64> {
            changes_state(&guest)?;
            call(&mut guest, Entry::Call, contract, input, input_bytes, gas)
        },
    )?;
    linker.func_wrap(
        IMPORT_MODULE,
        "query_contract",
        |mut guest: Caller<'_, Frame>, contract: u32, input: u32, input_bytes: u32, gas: u64| -> Result<u64> {
            call(&mut guest, Entry::Query, contract, input, input_bytes, gas)
        },
    )?;
    Ok(())
}

/// Enters another contract and leaves its output or error to be read. `limit` is the most gas it may use, 0 for all
/// that the caller can give. Its code is asked for when its start is known to be paid for, and not before.
fn call(
    guest: &mut Caller<'_, Frame>,
    entry: Entry,
    contract: u32,
    input: u32,
    input_bytes: u32,
    limit: u64,
) -> Result<u64> {
    let flat = gas::HOST_CALL.saturating_add(gas::CONTRACT_CALL);
    let input = read_bounded(guest, input, input_bytes, MAX_INPUT_BYTES, flat, gas::COPY_BYTE)?;
    let contract = ContractId(read_id(guest, contract)?);
    guest.data_mut().result = None;
    let frame = guest.data();
    {
        let run = frame.run.lock();
        if run.stack.contains(&contract) {
            return Ok(status::REENTRANT);
        }
        if run.stack.len() >= MAX_CALL_DEPTH {
            return Ok(status::TOO_DEEP);
        }
    }
    let Some(listing) = frame.world.listing(&contract).map_err(Stop::Fault)? else {
        return Ok(status::NO_CONTRACT);
    };
    let kept = {
        let run = frame.run.lock();
        let kept = run.codes.get(&listing.code);
        if kept.is_none() && !run.codes.have_room_for(&listing.size) {
            return Ok(status::TOO_MANY_CODES);
        }
        kept
    };
    let fuel = guest.get_fuel()?;
    let available = fuel.saturating_sub((fuel / gas::CALLER_RESERVE).max(1));
    let given = if limit == 0 { available } else { limit.min(available) };
    if given < listing.size.start_gas() {
        guest.set_fuel(fuel.saturating_sub(given))?;
        return Ok(status::OUT_OF_GAS);
    }
    let code = match kept {
        Some(code) => code,
        None => fetch(guest, &listing)?,
    };
    let frame = guest.data();
    let callee = Frame {
        run: frame.run.clone(),
        world: frame.world.clone(),
        context: frame.context,
        contract,
        caller: frame.contract.0,
        value: 0,
        read_only: frame.read_only || entry == Entry::Query,
        input,
        output: None,
        result: None,
        memory: None,
        limiter: Limiter::default(),
    };
    let (outcome, used) = run_frame(&code, callee, entry, given).map_err(Stop::Fault)?;
    guest.set_fuel(fuel.saturating_sub(used))?;
    let (status, result) = match outcome {
        Outcome::Returned(output) => (status::RETURNED, Some(output)),
        Outcome::Reverted(error) => (status::REVERTED, Some(error)),
        Outcome::Trapped(_) => (status::TRAPPED, None),
        Outcome::OutOfGas => (status::OUT_OF_GAS, None),
    };
    let bytes = result.as_ref().map_or(0, Vec::len);
    guest.data_mut().result = result;
    Ok(u64::from(length(bytes)) << 32 | status)
}

/// Asks for code that the execution has not run yet, and keeps it until the execution ends.
fn fetch(guest: &Caller<'_, Frame>, listing: &Listing) -> Result<Arc<CompiledContract>> {
    let frame = guest.data();
    let code = frame.world.code(&listing.code).map_err(Stop::Fault)?;
    if code.code_hash() != listing.code || code.size() != listing.size {
        return Err(Stop::Fault(Fault::World("a contract's code is not the one that is listed".into())).into());
    }
    // Its instance takes a slot of its own engine, and the turn is the caller's engine's.
    if !Engine::same(guest.engine(), code.instance().module().engine()) {
        return Err(Stop::Fault(Fault::Engine("a contract of another engine".into())).into());
    }
    frame.run.lock().codes.keep(code.clone());
    Ok(code)
}

/// Takes gas, with what is owed for pages, or ends the contract.
fn charge(guest: &mut Caller<'_, Frame>, gas: u64) -> Result<()> {
    let gas = gas.saturating_add(std::mem::take(&mut guest.data_mut().limiter.owed));
    match guest.get_fuel()?.checked_sub(gas) {
        Some(left) if left > 0 => guest.set_fuel(left),
        _ => Err(Stop::OutOfGas.into()),
    }
}

fn changes_state(guest: &Caller<'_, Frame>) -> Result<()> {
    if guest.data().read_only {
        return stop(Trap::ReadOnly);
    }
    Ok(())
}

fn write_storage(guest: &Caller<'_, Frame>, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<()> {
    let frame = guest.data();
    frame.run.lock().overlay.write(frame.contract, key, value).map_err(|trap| Stop::Trap(trap).into())
}

/// Charges for, bounds, and then copies `bytes` bytes of the contract's memory.
fn read_bounded(
    guest: &mut Caller<'_, Frame>,
    pointer: u32,
    bytes: u32,
    limit: usize,
    flat: u64,
    per_byte: u64,
) -> Result<Vec<u8>> {
    charge(guest, gas::sized(flat, per_byte, bytes as usize))?;
    if bytes as usize > limit {
        return stop(Trap::TooLarge);
    }
    let (memory, _) = memory(guest)?;
    Ok(slice(memory, pointer, bytes)?.to_vec())
}

fn read_id(guest: &mut Caller<'_, Frame>, pointer: u32) -> Result<[u8; 32]> {
    let (memory, _) = memory(guest)?;
    slice(memory, pointer, 32)?.try_into().map_err(|_| Stop::Trap(Trap::BadPointer).into())
}

/// Charges for, and writes, a few bytes.
fn put(guest: &mut Caller<'_, Frame>, pointer: u32, bytes: &[u8]) -> Result<()> {
    charge(guest, gas::sized(gas::HOST_CALL, gas::COPY_BYTE, bytes.len()))?;
    let (memory, _) = memory(guest)?;
    write(memory, pointer, bytes)
}

/// The contract's memory beside its frame. There is always one: contracts have no start function, so none runs before
/// it is set.
fn memory<'a>(guest: &'a mut Caller<'_, Frame>) -> Result<(&'a mut [u8], &'a mut Frame)> {
    match guest.data().memory {
        Some(memory) => Ok(memory.data_and_store_mut(guest)),
        None => Err(Stop::Fault(Fault::Engine("a contract ran before it had its memory".into())).into()),
    }
}

fn slice(memory: &[u8], pointer: u32, bytes: u32) -> Result<&[u8]> {
    let start = pointer as usize;
    let range = start.checked_add(bytes as usize).and_then(|end| memory.get(start..end));
    range.ok_or_else(|| Stop::Trap(Trap::BadPointer).into())
}

fn write(memory: &mut [u8], pointer: u32, bytes: &[u8]) -> Result<()> {
    let start = pointer as usize;
    let range = start.checked_add(bytes.len()).and_then(|end| memory.get_mut(start..end));
    range.ok_or(Stop::Trap(Trap::BadPointer))?.copy_from_slice(bytes);
    Ok(())
}

fn stop<T>(trap: Trap) -> Result<T> {
    Err(Stop::Trap(trap).into())
}

/// Everything whose length a contract learns is bounded by kilobytes.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
