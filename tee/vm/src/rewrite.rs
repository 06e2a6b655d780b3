//! Rewrites a contract's code before it is compiled, so that what it does depends neither on the compiler nor on a guess of the processor.
//!
//! Adds three things, and changes nothing that the code computes:
//!
//! - **A measure of the stack.** Each function is charged [`frame_bytes`] when it is entered and given them back when it is left; who asks for
//!   more than [`MAX_STACK_BYTES`] has overflowed the stack. Native frames differ between layouts, processors and versions of the compiler,
//!   and so would the depth at which a contract fails, if the native stack decided it. That one is [`NATIVE_STACK_BYTES`] long, which is
//!   [`NATIVE_PER_CHARGED`] times the charge. A frame needs a place, of 16 bytes for a float and of 8 for anything else, for each value that
//!   lives across an operator, for each local, and for each local at each join of branches behind which it may be another. Two bytes of
//!   code or more make such a value (a call that returns one; most take three), and are charged for 16; a local is charged for 32, a join for 16.
//! - **Bounds for speculation**, in [`Layout::Compact`] alone: an address, an offset and an index of the table that are over their limit become the
//!   limit, by a conditional move. Beyond the limit every access traps, so nothing else changes. The comparison that makes it trap is a branch,
//!   and a processor that guesses it wrong runs on (Spectre v1, CVE-2017-5753); it stays in the contract's own slot.
//!   [`Layout::Wide`] has no such branch.
//! - **`nop` for each unit of gas** that an operator costs which the additions use too. In the engine's table these operators are free and a
//!   `nop` costs 1 ([`crate::gas::charged`]). So additions cost nothing, everything else costs what the schedule says, and gas is the same in both
//!   layouts.
//!
//! Guarantees: linear work, output at most 24 times as long as the input, valid WebAssembly 1.0 for valid input. Deployers control the code, which
//! [`verify_module`](crate::verify_module) has accepted. Does not validate: the engine validates the result again.

use crate::{
    gas,
    layout::{Layout, MEMORY_BYTES},
    limits::{MAX_FRAME_BYTES, MAX_STACK_BYTES, MAX_TABLE_ELEMENTS},
    module::{VerifiedModule, FEATURES},
};
use wasmparser::{FunctionBody, MemArg, Operator, Parser, Payload, TypeRef, ValType};
use wasmtime::OperatorCost;

/// Bytes of native stack for each byte of the measured one.
const NATIVE_PER_CHARGED: usize = 4;
/// Native stack of one contract, in bytes: the most that the engine takes. Nothing fails at its end, for the measured one ends before.
pub(crate) const NATIVE_STACK_BYTES: usize = NATIVE_PER_CHARGED * MAX_STACK_BYTES;
/// Native stack that one frame may need beyond its contract's, in bytes: code without faults looks at the stack after it has taken its frame.
pub(crate) const NATIVE_FRAME_BYTES: usize = NATIVE_PER_CHARGED * MAX_FRAME_BYTES;

/// What a global of the rewritten code holds once the stack has overflowed; before, what is left of it.
pub(crate) const OVERFLOWED: i32 = -1;

/// Charge of any frame, in bytes: return address, saved registers, the arguments of the calls that it makes.
const FRAME: u64 = 160;
/// Charge of a parameter or local, in bytes.
const LOCAL: u64 = 8;
/// Charge of a byte of code, in bytes: values that live across operators.
const CODE_BYTE: u64 = 2;
/// Charge of a join, in bytes: of a local that is set inside a block, and may be another behind it.
const JOIN: u64 = 4;

/// Code that is ready for the compiler.
pub(crate) struct Rewritten {
    /// The module.
    pub(crate) code: Vec<u8>,
    /// Name of the exported global that says what is left of the stack. No other export has it.
    pub(crate) stack_export: String,
}

/// Why code could not be rewritten: it is not what was verified, which is a defect of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    /// It does not parse.
    #[error("verified code does not parse")]
    Parse(#[from] wasmparser::Error),
    /// It parses, and contradicts itself.
    #[error("verified code contradicts itself")]
    Shape,
}

/// What entering a function is charged, in bytes of the measured stack. `locals` counts its parameters too.
pub(crate) fn frame_bytes(body: &FunctionBody<'_>, locals: u64) -> Result<u64, wasmparser::Error> {
    let (mut nesting, mut joins) = (0u64, 0u64);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        match operators.read()? {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => nesting = nesting.saturating_add(1),
            Operator::End => nesting = nesting.saturating_sub(1),
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => joins = joins.saturating_add(nesting),
            _ => {}
        }
    }
    Ok([(locals, LOCAL), (body.as_bytes().len() as u64, CODE_BYTE), (joins, JOIN)]
        .into_iter()
        .fold(FRAME, |sum, (count, charge)| sum.saturating_add(count.saturating_mul(charge))))
}

/// Rewrites a contract for `layout`.
pub(crate) fn rewrite(module: &VerifiedModule<'_>, layout: Layout) -> Result<Rewritten, RewriteError> {
    let code = module.code();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut rewriter = Rewriter::new(code, layout);
    for payload in parser.parse_all(code) {
        rewriter.payload(payload?)?;
    }
    Ok(Rewritten { code: rewriter.out, stack_export: rewriter.stack_export })
}

/// Sections that are touched, by their numbers.
mod section {
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const CODE: u8 = 10;
}

/// Operators that are added, by their bytes.
mod op {
    pub(super) const UNREACHABLE: u8 = 0x00;
    pub(super) const NOP: u8 = 0x01;
    pub(super) const BLOCK: u8 = 0x02;
    pub(super) const IF: u8 = 0x04;
    pub(super) const END: u8 = 0x0b;
    pub(super) const SELECT: u8 = 0x1b;
    pub(super) const LOCAL_GET: u8 = 0x20;
    pub(super) const LOCAL_SET: u8 = 0x21;
    pub(super) const LOCAL_TEE: u8 = 0x22;
    pub(super) const GLOBAL_GET: u8 = 0x23;
    pub(super) const GLOBAL_SET: u8 = 0x24;
    pub(super) const I32_CONST: u8 = 0x41;
    pub(super) const I32_LT_U: u8 = 0x49;
    pub(super) const I32_SUB: u8 = 0x6b;
}

const I32: u8 = 0x7f;
const I64: u8 = 0x7e;
const F32: u8 = 0x7d;
const F64: u8 = 0x7c;
/// The type of a block without a result.
const EMPTY: u8 = 0x40;
const MUTABLE: u8 = 1;
/// Kind of an export that is a global.
const GLOBAL_KIND: u8 = 3;

struct Rewriter<'a> {
    code: &'a [u8],
    layout: Layout,
    schedule: OperatorCost,
    out: Vec<u8>,
    /// Number of parameters, and result, of each type.
    types: Vec<(u64, Option<ValType>)>,
    /// Type of each function, the imported ones first.
    functions: Vec<u32>,
    imported: usize,
    /// Index of the global that is added.
    stack_global: Option<u32>,
    stack_export: String,
    /// Bodies that are still to come, those that came, and the section that they make.
    bodies: (u32, usize, Vec<u8>),
}

impl<'a> Rewriter<'a> {
    fn new(code: &'a [u8], layout: Layout) -> Self {
        Self {
            code,
            layout,
            schedule: gas::operators(),
            out: Vec::with_capacity(code.len().saturating_mul(2)),
            types: Vec::new(),
            functions: Vec::new(),
            imported: 0,
            stack_global: None,
            stack_export: "stack".to_owned(),
            bodies: (0, 0, Vec::new()),
        }
    }

    fn payload(&mut self, payload: Payload<'_>) -> Result<(), RewriteError> {
        match &payload {
            Payload::Version { .. } => self.out.extend_from_slice(b"\0asm\x01\0\0\0"),
            Payload::TypeSection(types) => {
                for signature in types.clone().into_iter_err_on_gc_types() {
                    let signature = signature?;
                    self.types.push((signature.params().len() as u64, signature.results().first().copied()));
                }
                self.copy(&payload)?;
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let TypeRef::Func(index) = import?.ty else { return Err(RewriteError::Shape) };
                    self.functions.push(index);
                }
                self.imported = self.functions.len();
                self.copy(&payload)?;
            }
            Payload::FunctionSection(functions) => {
                for function in functions.clone() {
                    self.functions.push(function?);
                }
                self.copy(&payload)?;
            }
            Payload::GlobalSection(globals) => {
                let items = self.bytes(globals.original_position()..globals.range().end)?;
                self.globals(globals.count(), items);
            }
            Payload::ExportSection(exports) => {
                if self.stack_global.is_none() {
                    self.globals(0, &[]);
                }
                let items = self.bytes(exports.original_position()..exports.range().end)?;
                self.exports(exports, items)?;
            }
            Payload::CodeSectionStart { count, .. } => {
                self.bodies = (*count, 0, Vec::new());
                unsigned(&mut self.bodies.2, u64::from(*count));
                self.end_code();
            }
            Payload::CodeSectionEntry(body) => {
                let rewritten = self.body(body)?;
                let (left, came, content) = &mut self.bodies;
                unsigned(content, rewritten.len() as u64);
                content.extend_from_slice(&rewritten);
                (*left, *came) = (left.checked_sub(1).ok_or(RewriteError::Shape)?, came.saturating_add(1));
                self.end_code();
            }
            // They are for clients, and the engine reads none.
            Payload::CustomSection(_) => {}
            _ => self.copy(&payload)?,
        }
        Ok(())
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> Result<&'a [u8], RewriteError> {
        self.code.get(range).ok_or(RewriteError::Shape)
    }

    /// Writes a section as it was, if it is one.
    fn copy(&mut self, payload: &Payload<'_>) -> Result<(), RewriteError> {
        if let Some((id, range)) = payload.as_section() {
            let content = self.bytes(range)?;
            self.section(id, content);
        }
        Ok(())
    }

    fn section(&mut self, id: u8, content: &[u8]) {
        self.out.push(id);
        unsigned(&mut self.out, content.len() as u64);
        self.out.extend_from_slice(content);
    }

    /// Writes the globals, and one more: what is left of the stack.
    fn globals(&mut self, count: u32, items: &[u8]) {
        self.stack_global = Some(count);
        let mut content = Vec::with_capacity(items.len().saturating_add(16));
        unsigned(&mut content, u64::from(count).saturating_add(1));
        content.extend_from_slice(items);
        content.extend_from_slice(&[I32, MUTABLE, op::I32_CONST]);
        signed(&mut content, MAX_STACK_BYTES as i64);
        content.push(op::END);
        self.section(section::GLOBAL, &content);
    }

    /// Writes the exports, and the global that was added.
    fn exports(&mut self, exports: &wasmparser::ExportSectionReader<'_>, items: &[u8]) -> Result<(), RewriteError> {
        let mut taken = Vec::with_capacity(exports.count() as usize);
        for export in exports.clone() {
            taken.push(export?.name);
        }
        while taken.iter().any(|name| *name == self.stack_export) {
            self.stack_export.push('\'');
        }
        let mut content = Vec::with_capacity(items.len().saturating_add(128));
        unsigned(&mut content, u64::from(exports.count()).saturating_add(1));
        content.extend_from_slice(items);
        unsigned(&mut content, self.stack_export.len() as u64);
        content.extend_from_slice(self.stack_export.as_bytes());
        content.push(GLOBAL_KIND);
        unsigned(&mut content, u64::from(self.stack_global.ok_or(RewriteError::Shape)?));
        self.section(section::EXPORT, &content);
        Ok(())
    }

    /// Writes the code when it is complete.
    fn end_code(&mut self) {
        if self.bodies.0 == 0 {
            let content = std::mem::take(&mut self.bodies.2);
            self.section(section::CODE, &content);
        }
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<Vec<u8>, RewriteError> {
        let function = self.functions.get(self.imported.saturating_add(self.bodies.1)).ok_or(RewriteError::Shape)?;
        let (parameters, result) = self.types.get(*function as usize).ok_or(RewriteError::Shape)?;
        let mut groups = Vec::new();
        let mut locals = *parameters;
        for group in body.get_locals_reader()? {
            let (count, kind) = group?;
            locals = locals.saturating_add(count.into());
            groups.push((count, value_type(kind)?));
        }
        let charge = frame_bytes(body, locals)?;
        let added: &[(u32, u8)] = match self.layout {
            Layout::Wide => &[(1, I32)],
            Layout::Compact => &[(3, I32), (1, I64), (1, F32), (1, F64)],
        };
        groups.extend_from_slice(added);
        let mut writer = Body {
            out: Vec::with_capacity(body.as_bytes().len().saturating_mul(2)),
            stack: self.stack_global.ok_or(RewriteError::Shape)?,
            first: locals,
        };
        unsigned(&mut writer.out, groups.len() as u64);
        for (count, kind) in groups {
            unsigned(&mut writer.out, count.into());
            writer.out.push(kind);
        }
        writer.enter(charge);
        // Takes the place of the function's own block, so that whoever branches there comes to what follows it.
        writer.out.extend_from_slice(&[op::BLOCK, result.map_or(Ok(EMPTY), value_type)?]);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let start = operators.original_position();
            let operator = operators.read()?;
            let bytes = self.bytes(start..operators.original_position())?;
            let price = gas::carried(&self.schedule, &operator);
            writer.out.extend(std::iter::repeat_n(op::NOP, price.into()));
            match operator {
                // What it costs has been written.
                Operator::Nop => {}
                Operator::Return => {
                    writer.leave();
                    writer.out.extend_from_slice(bytes);
                }
                operator if self.layout == Layout::Compact => writer.bounded(&operator, bytes)?,
                _ => writer.out.extend_from_slice(bytes),
            }
        }
        writer.leave();
        writer.out.push(op::END);
        Ok(writer.out)
    }
}

/// The body that is being written.
struct Body {
    out: Vec<u8>,
    /// Index of the global that says what is left of the stack.
    stack: u32,
    /// The first local that was added.
    first: u64,
}

/// Locals that are added, behind the function's own: what was left of the stack when it was entered, an address, and a value of each type.
mod local {
    pub(super) const BEFORE: u64 = 0;
    pub(super) const ADDRESS: u64 = 1;
    pub(super) const I32: u64 = 2;
    pub(super) const I64: u64 = 3;
    pub(super) const F32: u64 = 4;
    pub(super) const F64: u64 = 5;
}

impl Body {
    /// Takes `charge` from what is left of the stack, or ends the contract.
    fn enter(&mut self, charge: u64) {
        // No function that was verified is charged as much.
        let charge = i64::try_from(charge).unwrap_or(i64::from(i32::MAX)).min(i64::from(i32::MAX));
        self.global(op::GLOBAL_GET);
        self.local(op::LOCAL_TEE, local::BEFORE);
        self.constant(charge);
        self.out.extend_from_slice(&[op::I32_LT_U, op::IF, EMPTY]);
        self.constant(OVERFLOWED.into());
        self.global(op::GLOBAL_SET);
        self.out.extend_from_slice(&[op::UNREACHABLE, op::END]);
        self.local(op::LOCAL_GET, local::BEFORE);
        self.constant(charge);
        self.out.push(op::I32_SUB);
        self.global(op::GLOBAL_SET);
    }

    /// Gives it back. A result may be on the operand stack, and stays there.
    fn leave(&mut self) {
        self.local(op::LOCAL_GET, local::BEFORE);
        self.global(op::GLOBAL_SET);
    }

    /// Writes an operator, with bounds for speculation if it needs any.
    fn bounded(&mut self, operator: &Operator<'_>, bytes: &[u8]) -> Result<(), RewriteError> {
        if let Some((argument, value)) = access(operator) {
            // The address is beneath what is stored.
            if let Some(value) = value {
                self.local(op::LOCAL_SET, value);
            }
            self.at_most(MEMORY_BYTES);
            if let Some(value) = value {
                self.local(op::LOCAL_GET, value);
            }
            return self.access(argument, bytes);
        }
        if matches!(operator, Operator::CallIndirect { .. }) {
            self.at_most(MAX_TABLE_ELEMENTS.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// An access at an offset that is bounded as the address is: with either of them at its bound it is outside of every memory.
    fn access(&mut self, argument: MemArg, bytes: &[u8]) -> Result<(), RewriteError> {
        if argument.offset <= MEMORY_BYTES {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.out.push(*bytes.first().ok_or(RewriteError::Shape)?);
        unsigned(&mut self.out, argument.align.into());
        unsigned(&mut self.out, MEMORY_BYTES);
        Ok(())
    }

    /// Replaces the number on the operand stack by `bound` if it is larger, without a branch.
    fn at_most(&mut self, bound: u64) {
        let bound = i64::try_from(bound).unwrap_or(i64::MAX);
        self.local(op::LOCAL_TEE, local::ADDRESS);
        self.constant(bound);
        self.local(op::LOCAL_GET, local::ADDRESS);
        self.constant(bound);
        self.out.extend_from_slice(&[op::I32_LT_U, op::SELECT]);
    }

    fn local(&mut self, operator: u8, local: u64) {
        self.out.push(operator);
        unsigned(&mut self.out, self.first.saturating_add(local));
    }

    fn global(&mut self, operator: u8) {
        self.out.push(operator);
        unsigned(&mut self.out, self.stack.into());
    }

    fn constant(&mut self, value: i64) {
        self.out.push(op::I32_CONST);
        signed(&mut self.out, value);
    }
}

/// Where an operator reads or writes memory, and the local for the value that it writes.
fn access(operator: &Operator<'_>) -> Option<(MemArg, Option<u64>)> {
    use Operator as O;
    Some(match *operator {
        O::I32Load { memarg }
        | O::I64Load { memarg }
        | O::F32Load { memarg }
        | O::F64Load { memarg }
        | O::I32Load8S { memarg }
        | O::I32Load8U { memarg }
        | O::I32Load16S { memarg }
        | O::I32Load16U { memarg }
        | O::I64Load8S { memarg }
        | O::I64Load8U { memarg }
        | O::I64Load16S { memarg }
        | O::I64Load16U { memarg }
        | O::I64Load32S { memarg }
        | O::I64Load32U { memarg } => (memarg, None),
        O::I32Store { memarg } | O::I32Store8 { memarg } | O::I32Store16 { memarg } => (memarg, Some(local::I32)),
        O::I64Store { memarg } | O::I64Store8 { memarg } | O::I64Store16 { memarg } | O::I64Store32 { memarg } => {
            (memarg, Some(local::I64))
        }
        O::F32Store { memarg } => (memarg, Some(local::F32)),
        O::F64Store { memarg } => (memarg, Some(local::F64)),
        _ => return None,
    })
}

fn value_type(kind: ValType) -> Result<u8, RewriteError> {
    match kind {
        ValType::I32 => Ok(I32),
        ValType::I64 => Ok(I64),
        ValType::F32 => Ok(F32),
        ValType::F64 => Ok(F64),
        _ => Err(RewriteError::Shape),
    }
}

/// Unsigned LEB128.
fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Signed LEB128.
fn signed(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        let low = low & 0x7f;
        value >>= 7;
        // What is left repeats the sign, which the last byte shows.
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::verify_module;
    use wasmparser::Validator;

    const MEMORY: &str = r#"(memory (export "memory") 1)"#;
    const ENTRIES: &str = r#"(func (export "deploy") (result i32) i32.const 0)
        (func (export "call") (result i32) i32.const 0) (func (export "query") (result i32) i32.const 0)"#;

    fn rewritten(text: &str, layout: Layout) -> (usize, Rewritten) {
        let code = wat::parse_str(text).unwrap();
        let rewritten = rewrite(&verify_module(&code).unwrap(), layout).unwrap();
        Validator::new_with_features(FEATURES).validate_all(&rewritten.code).unwrap();
        (code.len(), rewritten)
    }

    #[test]
    fn what_was_valid_is_valid_and_not_much_longer() {
        let every_access = crate::gas::tests::ACCESSES.map(|name| {
            let (kind, is_store) = (&name[..3], name.contains("store"));
            if is_store {
                format!("({name} offset=70000 (local.get 0) ({kind}.const 1))")
            } else {
                format!("(drop ({name} offset=4294967295 (local.get 0)))")
            }
        });
        for part in [
            String::new(),
            "(func) ".repeat(1000),
            "(func (result f64) (return (f64.const 1)))".to_owned(),
            "(func (param i64) (result i64) (block (drop (br_if 1 (local.get 0) (i32.const 1))) (br 0)) (return (local.get 0)) nop)"
                .to_owned(),
            "(global (mut i64) (i64.const 1)) (func (export \"stack\")) (func (export \"stack'\"))".to_owned(),
            "(table 3 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (i32.const 0)) unreachable nop return)".to_owned(),
            format!("(func (param i32) {})", every_access.concat()),
        ] {
            for layout in Layout::ALL {
                let (length, rewritten) = rewritten(&format!("(module {MEMORY} {part} {ENTRIES})"), layout);
                assert!(rewritten.code.len() <= 24 * length + 256, "{} of {length}: {part}", rewritten.code.len());
            }
        }
    }

    #[test]
    fn the_added_export_has_a_name_of_its_own() {
        let part = "(func (export \"stack\")) (func (export \"stack'\"))";
        let (_, rewritten) = rewritten(&format!("(module {MEMORY} {part} {ENTRIES})"), Layout::Wide);
        assert_eq!(rewritten.stack_export, "stack''");
    }

    #[test]
    fn a_frame_is_charged_for_code_locals_and_joins() {
        let charge = |text: &str| {
            let code = wat::parse_str(format!("(module {text})")).unwrap();
            let body = Parser::new(0).parse_all(&code).find_map(|payload| match payload.unwrap() {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            });
            frame_bytes(&body.unwrap(), 3).unwrap()
        };
        // A count of locals and an end: two bytes.
        assert_eq!(charge("(func)"), FRAME + 3 * LOCAL + 2 * CODE_BYTE);
        let flat = charge("(func (local i32) (local.set 0 (i32.const 0)))");
        let deep = charge("(func (local i32) (block (block (local.set 0 (i32.const 0)))))");
        assert_eq!(deep, flat + 2 * 3 * CODE_BYTE + 2 * JOIN);
        const { assert!(NATIVE_STACK_BYTES <= 2 << 20, "more than the engine takes") };
    }

    #[test]
    fn numbers_are_written_as_the_format_has_them() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        assert_eq!(written(&|out| unsigned(out, 0)), [0]);
        assert_eq!(written(&|out| unsigned(out, 127)), [127]);
        assert_eq!(written(&|out| unsigned(out, 624_485)), [0xe5, 0x8e, 0x26]);
        assert_eq!(written(&|out| signed(out, -1)), [0x7f]);
        assert_eq!(written(&|out| signed(out, 64)), [0xc0, 0]);
        assert_eq!(written(&|out| signed(out, -123_456)), [0xc0, 0xbb, 0x78]);
        assert_eq!(written(&|out| signed(out, 1 << 24)), [0x80, 0x80, 0x80, 0x08]);
    }
}
