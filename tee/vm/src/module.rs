//! Checks a module's shape before the compiler sees it.
//!
//! Guarantees, for whoever holds a [`VerifiedModule`]: valid WebAssembly 1.0 with mutable globals and nothing later,
//! no start function, no import but functions of `phala` that exist, one own memory within bounds, the three entry
//! points with their types, and every size that the compiler's time or memory depends on below its limit - so that
//! compiling it is bounded work. A deployer controls every byte. Does not compile, and reads no custom section:
//! metadata is for clients.

use crate::{gas, imports, limits::*, rewrite};
use codec::{Decode, Encode};
use phala_protocol::ids::CodeHash;
use wasmparser::{
    ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload, TypeRef, ValType,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// The custom section in which a contract describes itself to clients.
pub const METADATA_SECTION: &str = "phala.metadata";

/// The module to which every import must belong.
pub const IMPORT_MODULE: &str = "phala";

/// Name of the exported memory.
pub const MEMORY_EXPORT: &str = "memory";

/// What `wasm32v1-none` emits. Fewer features are less compiler to trust.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM1;

/// What of a code the price of its start depends on: a function of the code alone. Whoever lists contracts keeps it beside the code's hash, so
/// that a start is paid for before the code is read or compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CodeSize {
    /// Bytes of the code.
    pub code_bytes: u32,
    /// Bytes that data segments copy into a fresh instance.
    pub data_bytes: u32,
    /// Entries of the function table.
    pub table_elements: u32,
}

impl CodeSize {
    /// Gas of starting the code, its pages of memory apart.
    pub fn start_gas(&self) -> u64 {
        gas::start(self)
    }
}

/// Code that passed every check of this module.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedModule<'a> {
    code: &'a [u8],
    size: CodeSize,
}

impl<'a> VerifiedModule<'a> {
    /// The module's bytes.
    pub fn code(&self) -> &'a [u8] {
        self.code
    }

    /// The hash under which the chain keeps the code.
    pub fn code_hash(&self) -> CodeHash {
        CodeHash::of(self.code)
    }

    /// What the price of its start depends on.
    pub fn size(&self) -> CodeSize {
        self.size
    }
}

/// Why code is not a contract. Always the deployer's fault.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The code is larger than the limit.
    #[error("code of {found} bytes is over the limit of {MAX_CODE_BYTES}")]
    TooLarge {
        /// Bytes of the code.
        found: usize,
    },
    /// Not a module, or a module that uses a later feature of WebAssembly.
    #[error("not a valid module of WebAssembly 1.0: build it for wasm32v1-none")]
    Invalid(#[from] wasmparser::Error),
    /// A component, not a core module.
    #[error("a component is not a contract: build a core module")]
    Component,
    /// A start function would run before gas is metered for a call.
    #[error("a contract has no start function")]
    StartFunction,
    /// Something that is counted is over its limit.
    #[error("{what}: {found} is over the limit of {limit}")]
    OverLimit {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        limit: u64,
    },
    /// An import of something that contracts are not given.
    #[error("import of `{module}`.`{name}` is not one that a contract may have")]
    ForbiddenImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
    /// An import with a name that exists and a type that it does not have.
    #[error("import `{0}` has another type than the one the contract declares")]
    ImportType(String),
    /// The module does not export its one memory as `memory`.
    #[error("a contract exports its memory as `{MEMORY_EXPORT}`")]
    NoMemory,
    /// An entry point is missing or has another type.
    #[error("a contract exports the function `{0}`, without parameters, that returns an i32")]
    NoEntry(&'static str),
}

/// Checks `code`, and is the only way to a [`VerifiedModule`]. Costs time and memory linear in the size of `code`.
pub fn verify_module(code: &[u8]) -> Result<VerifiedModule<'_>, ModuleError> {
    if code.len() > MAX_CODE_BYTES {
        return Err(ModuleError::TooLarge { found: code.len() });
    }
    let mut check = Check::default();
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(code) {
        let payload = payload?;
        // The counts first: the validator allocates by what they say.
        check.payload(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            allocations = check.function(function, &body, allocations)?;
        }
    }
    check.finish()?;
    // Data is part of the code, and the table is bounded: all are far below 2^32.
    let [code_bytes, data_bytes, table_elements] = [code.len() as u64, check.data_bytes, check.table_elements]
        .map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Ok(VerifiedModule { code, size: CodeSize { code_bytes, data_bytes, table_elements } })
}

fn within(what: &'static str, found: impl Into<u64>, limit: impl Into<u64>) -> Result<(), ModuleError> {
    let (found, limit) = (found.into(), limit.into());
    if found > limit {
        return Err(ModuleError::OverLimit { what, found, limit });
    }
    Ok(())
}

/// Whether an operator on numbers may trap, which costs comparisons where no fault is taken.
fn is_checked_arithmetic(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::I32DivS
            | O::I32DivU
            | O::I32RemS
            | O::I32RemU
            | O::I64DivS
            | O::I64DivU
            | O::I64RemS
            | O::I64RemU
            | O::I32TruncF32S
            | O::I32TruncF32U
            | O::I32TruncF64S
            | O::I32TruncF64U
            | O::I64TruncF32S
            | O::I64TruncF32U
            | O::I64TruncF64S
            | O::I64TruncF64U
    )
}

/// What has been counted so far.
#[derive(Default)]
struct Check {
    types: Vec<Signature>,
    /// Type index of each function, the imported ones first.
    functions: Vec<u32>,
    memories: u64,
    memory_exported: bool,
    entries: [bool; imports::ENTRIES.len()],
    custom_sections: u32,
    branch_targets: u32,
    loops: u32,
    checked_arithmetic: u32,
    data_bytes: u64,
    element_items: u64,
    table_elements: u64,
}

/// Parameters and results of a function type.
type Signature = (Vec<ValType>, Vec<ValType>);

impl Check {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::Version { encoding, .. } if *encoding != wasmparser::Encoding::Module => {
                return Err(ModuleError::Component);
            }
            Payload::StartSection { .. } => return Err(ModuleError::StartFunction),
            Payload::TypeSection(types) => {
                within("types", types.count(), MAX_TYPES)?;
                for signature in types.clone().into_iter_err_on_gc_types() {
                    let signature = signature?;
                    within("parameters of a function", signature.params().len() as u64, MAX_PARAMETERS as u64)?;
                    within("results of a function", signature.results().len() as u64, 1u32)?;
                    self.types.push((signature.params().to_vec(), signature.results().to_vec()));
                }
            }
            Payload::ImportSection(section) => {
                within("imports", section.count(), MAX_IMPORTS)?;
                for import in section.clone().into_imports() {
                    self.import(&import?)?;
                }
            }
            Payload::FunctionSection(functions) => {
                within("functions", functions.count(), MAX_FUNCTIONS)?;
                for function in functions.clone() {
                    self.functions.push(function?);
                }
            }
            Payload::TableSection(tables) => {
                within("tables", tables.count(), 1u32)?;
                for table in tables.clone() {
                    let elements = table?.ty.initial;
                    within("table elements", elements, MAX_TABLE_ELEMENTS)?;
                    self.table_elements = elements;
                }
            }
            Payload::MemorySection(memories) => {
                self.memories = memories.count().into();
                within("memories", memories.count(), 1u32)?;
                for memory in memories.clone() {
                    within("initial memory pages", memory?.initial, MAX_MEMORY_PAGES)?;
                }
            }
            Payload::GlobalSection(globals) => within("globals", globals.count(), MAX_GLOBALS)?,
            Payload::ExportSection(exports) => {
                within("exports", exports.count(), MAX_EXPORTS)?;
                for export in exports.clone() {
                    self.export(&export?)?;
                }
            }
            Payload::ElementSection(segments) => {
                within("element segments", segments.count(), MAX_ELEMENT_SEGMENTS)?;
                for segment in segments.clone() {
                    self.element_items = self.element_items.saturating_add(match segment?.items {
                        wasmparser::ElementItems::Functions(items) => items.count().into(),
                        wasmparser::ElementItems::Expressions(_, items) => items.count().into(),
                    });
                    within("elements of all segments", self.element_items, MAX_TABLE_ELEMENTS)?;
                }
            }
            Payload::DataSection(segments) => {
                within("data segments", segments.count(), MAX_DATA_SEGMENTS)?;
                for segment in segments.clone() {
                    self.data_bytes = self.data_bytes.saturating_add(segment?.data.len() as u64);
                }
            }
            Payload::CodeSectionStart { count, .. } => within("functions", *count, MAX_FUNCTIONS)?,
            Payload::CodeSectionEntry(body) => {
                within("bytes of a function", body.as_bytes().len() as u64, MAX_FUNCTION_BYTES as u64)?;
            }
            Payload::CustomSection(section) => {
                self.custom_sections = self.custom_sections.saturating_add(1);
                within("custom sections", self.custom_sections, MAX_CUSTOM_SECTIONS)?;
                if section.name() == METADATA_SECTION {
                    within("bytes of metadata", section.data().len() as u64, MAX_METADATA_BYTES as u64)?;
                }
            }
            // Whatever else there is, the validator refuses without the feature that it belongs to.
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) -> Result<(), ModuleError> {
        let forbidden =
            || ModuleError::ForbiddenImport { module: import.module.to_owned(), name: import.name.to_owned() };
        let TypeRef::Func(index) = import.ty else { return Err(forbidden()) };
        if import.module != IMPORT_MODULE {
            return Err(forbidden());
        }
        let (parameters, results) = imports::signature(import.name).ok_or_else(forbidden)?;
        let declared = self.types.get(index as usize).ok_or_else(forbidden)?;
        if declared.0 != parameters || declared.1 != results {
            return Err(ModuleError::ImportType(import.name.to_owned()));
        }
        self.functions.push(index);
        Ok(())
    }

    fn export(&mut self, export: &wasmparser::Export<'_>) -> Result<(), ModuleError> {
        match export.kind {
            ExternalKind::Memory => self.memory_exported |= export.name == MEMORY_EXPORT,
            ExternalKind::Func => {
                let Some(entry) = imports::ENTRIES.iter().position(|entry| *entry == export.name) else {
                    return Ok(());
                };
                let signature =
                    self.functions.get(export.index as usize).and_then(|index| self.types.get(*index as usize));
                let (Some(seen), Some(name)) = (self.entries.get_mut(entry), imports::ENTRIES.get(entry)) else {
                    return Ok(());
                };
                match signature {
                    Some((parameters, results)) if parameters.is_empty() && *results == [ValType::I32] => *seen = true,
                    _ => return Err(ModuleError::NoEntry(name)),
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Validates one body, after counting what makes compiling it slow.
    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, ModuleError> {
        let parameters = self
            .functions
            .get(function.index as usize)
            .and_then(|index| self.types.get(*index as usize))
            .map_or(0, |(parameters, _)| parameters.len() as u64);
        let mut locals = parameters;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(group?.0.into());
            within("locals of a function", locals, MAX_LOCALS)?;
        }
        let (mut nesting, mut loops, mut checked) = (0u32, 0u32, 0u32);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            if matches!(operator, Operator::Loop { .. }) {
                (loops, self.loops) = (loops.saturating_add(1), self.loops.saturating_add(1));
                within("loops of a function", loops, MAX_LOOPS)?;
                within("loops of the module", self.loops, MAX_LOOPS_TOTAL)?;
            }
            if is_checked_arithmetic(&operator) {
                (checked, self.checked_arithmetic) =
                    (checked.saturating_add(1), self.checked_arithmetic.saturating_add(1));
                within("divisions and truncations of a function", checked, MAX_CHECKED_ARITHMETIC)?;
                within(
                    "divisions and truncations of the module",
                    self.checked_arithmetic,
                    MAX_CHECKED_ARITHMETIC_TOTAL,
                )?;
            }
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    nesting = nesting.saturating_add(1);
                    within("nested blocks", nesting, MAX_NESTING)?;
                }
                Operator::End => nesting = nesting.saturating_sub(1),
                Operator::BrTable { targets } => {
                    within("branch targets", targets.len(), MAX_BRANCH_TARGETS)?;
                    self.branch_targets = self.branch_targets.saturating_add(targets.len());
                    within("branch targets of the module", self.branch_targets, MAX_BRANCH_TARGETS_TOTAL)?;
                }
                _ => {}
            }
        }
        within("stack of a function", rewrite::frame_bytes(body, locals)?, MAX_FRAME_BYTES as u64)?;
        let mut validator = function.into_validator(allocations);
        validator.validate(body)?;
        Ok(validator.into_allocations())
    }

    fn finish(&self) -> Result<(), ModuleError> {
        if self.memories != 1 || !self.memory_exported {
            return Err(ModuleError::NoMemory);
        }
        for (seen, name) in self.entries.iter().zip(imports::ENTRIES) {
            if !seen {
                return Err(ModuleError::NoEntry(name));
            }
        }
        Ok(())
    }
}
