//! One pass over a module: validate it against the profile, gather what the engine
//! must know, and write the copy that is compiled, with call depth counted.
//!
//! **Depth (SYM-31c).** A private global holds what is left of [`CALL_DEPTH`]. A
//! function takes its static cost on entry, traps when the rest is negative, and
//! gives it back on every way out:
//!
//! ```text
//! left -= cost; if left < 0 { unreachable }
//! block <results>  …the body; `return` became a branch to this block…  end
//! left += cost
//! ```
//!
//! Wrapping keeps all label indices: what branched to the function now branches to
//! the block. A tail call gives back before it leaves. A function that catches keeps
//! its own value of `left` in a local and restores it at every label, since a throw
//! unwinds callees that never gave back. Functions that call nothing stay as they are
//! unless they are huge: one uncounted leaf fits the native stack's reserve.
//!
//! The start function is exported and called by the engine instead, so that depth and
//! fuel are known at its traps too. Custom sections are dropped.

use crate::abi;
use crate::profile::{
    CALL_DEPTH, FRAME_BASE, LEAF_FREE, MAX_BRANCH_TARGETS, MAX_EXPORTS, MAX_FUNCTION_BYTES, MAX_FUNCTIONS, MAX_GLOBALS,
    MAX_IMPORTS, MAX_LOCALS, MAX_MEMORIES, MAX_MODULE_BYTES, MAX_PARAMS, MAX_SEGMENTS, MAX_TABLE_ELEMENTS, MAX_TABLES,
    MAX_TAGS, MAX_TYPES, OPS_PER_DEPTH, Profile,
};
use crate::refuse::Refused;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    BinaryReaderError, DataKind, ExternalKind, FuncType, FuncValidatorAllocations, FunctionBody, Operator, Parser,
    Payload, RefType, TypeRef, ValType, ValidPayload, Validator, WasmFeatures, WasmModuleResources,
};

/// What the engine must know about a module besides its code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Bytes of all memories at the start.
    pub(crate) initial_memory: u64,
    /// Elements of all tables at the start.
    pub(crate) initial_elements: u64,
    /// Bytes of all data segments.
    pub(crate) data_bytes: u64,
    /// Export of the depth global.
    pub(crate) depth_export: String,
    /// Export of what was the start function.
    pub(crate) start_export: Option<String>,
    /// Exported functions by name: number of parameters and results, all of them i32.
    pub(crate) entries: BTreeMap<String, (usize, usize)>,
}

/// A module that fits the profile.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What is compiled.
    pub(crate) bytes: Vec<u8>,
    pub(crate) facts: Facts,
}

/// Names of exports that the engine looks for.
const ENTRIES: [&str; 3] = ["_start", "_initialize", "compute"];

/// The order of sections in a module.
const ORDER: [u8; 12] = [TYPE, IMPORT, FUNCTION, TABLE, MEMORY, TAG, GLOBAL, EXPORT, ELEMENT, DATA_COUNT, CODE, DATA];
const TYPE: u8 = 1;
const IMPORT: u8 = 2;
const FUNCTION: u8 = 3;
const TABLE: u8 = 4;
const MEMORY: u8 = 5;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const START: u8 = 8;
const ELEMENT: u8 = 9;
const CODE: u8 = 10;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;
const TAG: u8 = 13;

/// Features that a module may want and the profile leaves out, and their names.
const LEFT_OUT: [(WasmFeatures, &str); 9] = [
    (WasmFeatures::THREADS, "threads"),
    (WasmFeatures::MEMORY64, "memory64"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions"),
    (WasmFeatures::FUNCTION_REFERENCES, "function references"),
    (WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES), "gc types"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic"),
    (WasmFeatures::STACK_SWITCHING.union(WasmFeatures::FUNCTION_REFERENCES), "stack switching"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS.union(WasmFeatures::THREADS), "shared everything"),
];

/// Checks a module and writes the instrumented copy.
pub(crate) fn prepare(profile: Profile, bytes: &[u8]) -> Result<Prepared, Refused> {
    if bytes.len() > MAX_MODULE_BYTES {
        return Err(Refused::TooLarge { bytes: bytes.len(), max: MAX_MODULE_BYTES });
    }
    if Parser::is_component(bytes) {
        return Err(Refused::Feature { feature: "the component model" });
    }
    let mut pass = Pass::new(profile);
    match pass.run(bytes) {
        Ok(()) => pass.finish(bytes),
        Err(Stop::Refused(refused)) => Err(refused),
        Err(Stop::Invalid(error)) => Err(name_the_feature(profile, bytes, error)),
    }
}

/// Which feature would have made an invalid module valid.
fn name_the_feature(profile: Profile, bytes: &[u8], error: BinaryReaderError) -> Refused {
    let valid =
        |extra: WasmFeatures| Validator::new_with_features(profile.features() | extra).validate_all(bytes).is_ok();
    for (feature, name) in LEFT_OUT {
        if valid(feature) {
            return Refused::Feature { feature: name };
        }
    }
    let all = LEFT_OUT.iter().fold(WasmFeatures::empty(), |all, (feature, _)| all | *feature);
    if valid(all) {
        return Refused::Feature { feature: "several features" };
    }
    malformed(error)
}

/// The features left out that a module cannot do without; nothing for one that is invalid with all of them.
pub(crate) fn needed_features(profile: Profile, bytes: &[u8]) -> Vec<&'static str> {
    let with = |features: &[(WasmFeatures, &str)]| {
        let extra = features.iter().fold(WasmFeatures::empty(), |all, (feature, _)| all | *feature);
        Validator::new_with_features(profile.features() | extra).validate_all(bytes).is_ok()
    };
    if with(&[]) || !with(&LEFT_OUT) {
        return Vec::new();
    }
    // What can be taken away is not needed. Some features hold others: the smallest come first.
    let mut needed = LEFT_OUT.to_vec();
    for candidate in LEFT_OUT.iter().rev() {
        let without: Vec<_> = needed.iter().copied().filter(|(_, name)| *name != candidate.1).collect();
        if with(&without) {
            needed = without;
        }
    }
    needed.into_iter().map(|(_, name)| name).collect()
}

fn malformed(error: BinaryReaderError) -> Refused {
    Refused::Malformed { offset: error.offset(), detail: error.message().to_owned() }
}

enum Stop {
    Refused(Refused),
    Invalid(BinaryReaderError),
}

impl From<BinaryReaderError> for Stop {
    fn from(error: BinaryReaderError) -> Self {
        Self::Invalid(error)
    }
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

struct Pass {
    validator: Validator,
    allocations: FuncValidatorAllocations,
    facts: Facts,
    /// Payloads by section id, as ranges of the module.
    sections: BTreeMap<u8, std::ops::Range<usize>>,
    types: Vec<FuncType>,
    /// Type index of every function, imported ones first.
    functions: Vec<u32>,
    globals: u32,
    export_names: BTreeSet<String>,
    start: Option<u32>,
    code: Vec<u8>,
    bodies: u32,
    /// Result lists that no inline block type can say, with their new type index.
    block_types: Vec<Vec<u8>>,
}

fn bounded(what: &'static str, count: u32, max: u32) -> Result<(), Refused> {
    if count > max {
        return Err(Refused::TooMany { what, count: u64::from(count), max: u64::from(max) });
    }
    Ok(())
}

impl Pass {
    fn new(profile: Profile) -> Self {
        Self {
            validator: Validator::new_with_features(profile.features()),
            allocations: FuncValidatorAllocations::default(),
            facts: Facts::default(),
            sections: BTreeMap::new(),
            types: Vec::new(),
            functions: Vec::new(),
            globals: 0,
            export_names: BTreeSet::new(),
            start: None,
            code: Vec::new(),
            bodies: 0,
            block_types: Vec::new(),
        }
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut parser = Parser::new(0);
        parser.set_features(*self.validator.features());
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            // Counts first: validation allocates by them.
            self.bound(&payload)?;
            let valid = self.validator.payload(&payload)?;
            if let Some((id, range)) = payload.as_section()
                && id != 0
            {
                self.sections.insert(id, range);
            }
            if let ValidPayload::Func(func, body) = valid {
                let allocations = std::mem::take(&mut self.allocations);
                self.function(func.into_validator(allocations), &body)?;
            } else {
                self.gather(&payload)?;
            }
        }
        Ok(())
    }

    fn bound(&self, payload: &Payload<'_>) -> Result<(), Refused> {
        match payload {
            Payload::TypeSection(s) => bounded("types", s.count(), MAX_TYPES),
            Payload::ImportSection(s) => bounded("imports", s.count(), MAX_IMPORTS),
            Payload::FunctionSection(s) => bounded("functions", s.count(), MAX_FUNCTIONS),
            Payload::TableSection(s) => bounded("tables", s.count(), MAX_TABLES),
            Payload::MemorySection(s) => bounded("memories", s.count(), MAX_MEMORIES),
            Payload::TagSection(s) => bounded("tags", s.count(), MAX_TAGS),
            Payload::GlobalSection(s) => bounded("globals", s.count(), MAX_GLOBALS),
            Payload::ExportSection(s) => bounded("exports", s.count(), MAX_EXPORTS),
            Payload::ElementSection(s) => bounded("element segments", s.count(), MAX_SEGMENTS),
            Payload::DataSection(s) => bounded("data segments", s.count(), MAX_SEGMENTS),
            Payload::CodeSectionEntry(body) => {
                let len = body.range().len();
                if len > MAX_FUNCTION_BYTES {
                    return Err(Refused::TooMany {
                        what: "bytes of a function",
                        count: len as u64,
                        max: MAX_FUNCTION_BYTES as u64,
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn gather(&mut self, payload: &Payload<'_>) -> Result<(), Stop> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.clone().into_iter_err_on_gc_types() {
                    let ty = ty?;
                    let wide = ty.params().len().max(ty.results().len());
                    if wide > MAX_PARAMS {
                        return Err(Refused::TooMany {
                            what: "parameters or results",
                            count: wide as u64,
                            max: MAX_PARAMS as u64,
                        }
                        .into());
                    }
                    self.types.push(ty);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    let TypeRef::Func(ty) = import.ty else {
                        return Err(Refused::ImportKind {
                            module: import.module.to_owned(),
                            name: import.name.to_owned(),
                        }
                        .into());
                    };
                    self.import(import.module, import.name, ty)?;
                    self.functions.push(ty);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let ty = table?.ty;
                    if ty.element_type == RefType::EXNREF {
                        return Err(Refused::StoredException { place: "table" }.into());
                    }
                    let elements = &mut self.facts.initial_elements;
                    *elements = elements.saturating_add(ty.initial);
                    if *elements > MAX_TABLE_ELEMENTS {
                        return Err(Refused::TooMany {
                            what: "table elements",
                            count: *elements,
                            max: MAX_TABLE_ELEMENTS,
                        }
                        .into());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let bytes = memory?.initial.saturating_mul(65_536);
                    self.facts.initial_memory = self.facts.initial_memory.saturating_add(bytes);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    if global?.ty.content_type == ValType::Ref(RefType::EXNREF) {
                        return Err(Refused::StoredException { place: "global" }.into());
                    }
                    self.globals = self.globals.saturating_add(1);
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.export_names.insert(export.name.to_owned());
                    if export.kind == ExternalKind::Func && ENTRIES.contains(&export.name) {
                        self.entry(export.name, export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(*func),
            Payload::DataSection(section) => {
                for data in section.clone() {
                    let data = data?;
                    // Passive segments cost when they are used.
                    if matches!(data.kind, DataKind::Active { .. }) {
                        let bytes = data.data.len() as u64;
                        self.facts.data_bytes = self.facts.data_bytes.saturating_add(bytes);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&self, module: &str, name: &str, ty: u32) -> Result<(), Refused> {
        let Some(signature) = abi::signature(module, name) else {
            return Err(Refused::UnknownImport { module: module.to_owned(), name: name.to_owned() });
        };
        let matches = self.type_at(ty).is_some_and(|ty| {
            let found = ty.params().iter().chain([&ValType::V128]).chain(ty.results());
            let letters = found.map(|ty| match ty {
                ValType::I32 => 'i',
                ValType::I64 => 'l',
                ValType::V128 => '>',
                _ => '?',
            });
            letters.eq(signature.chars())
        });
        if matches { Ok(()) } else { Err(Refused::ImportSignature { name: name.to_owned() }) }
    }

    fn entry(&mut self, name: &str, function: u32) {
        let ty = usize::try_from(function).ok().and_then(|at| self.functions.get(at)).and_then(|ty| self.type_at(*ty));
        if let Some(ty) = ty
            && ty.params().iter().chain(ty.results()).all(|ty| *ty == ValType::I32)
        {
            let shape = (ty.params().len(), ty.results().len());
            self.facts.entries.insert(name.to_owned(), shape);
        }
    }

    fn type_at(&self, index: u32) -> Option<&FuncType> {
        self.types.get(usize::try_from(index).ok()?)
    }

    fn function<T: WasmModuleResources>(
        &mut self,
        mut validator: wasmparser::FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Stop> {
        let mut reader = body.get_binary_reader();
        reader.set_features(*self.validator.features());
        validator.read_locals(&mut reader)?;
        bounded("locals of a function", validator.len_locals(), MAX_LOCALS)?;

        let mut operators = body.get_operators_reader()?;
        let mut scan = Scan::default();
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read()?;
            if let Operator::BrTable { targets } = &operator {
                bounded("targets of a branch", targets.len(), MAX_BRANCH_TARGETS)?;
            }
            validator.op(at, &operator)?;
            scan.note(at, &operator);
            scan.height = scan.height.max(validator.operand_stack_height());
        }
        operators.finish()?;
        let locals = validator.len_locals();
        let ty = usize::try_from(validator.index())
            .ok()
            .and_then(|at| self.functions.get(at))
            .and_then(|ty| self.type_at(*ty))
            .cloned();
        self.allocations = validator.into_allocations();
        self.bodies = self.bodies.saturating_add(1);

        let cost = FRAME_BASE
            .saturating_add(locals)
            .saturating_add(scan.height)
            .saturating_add(scan.operators / OPS_PER_DEPTH);
        let (Some(ty), true) = (ty, scan.calls || cost > LEAF_FREE) else {
            put_u32(&mut self.code, to_u32(body.as_bytes().len()));
            self.code.extend_from_slice(body.as_bytes());
            return Ok(());
        };
        let rewritten = self.rewrite(body, &scan, &ty, locals, cost)?;
        put_u32(&mut self.code, to_u32(rewritten.len()));
        self.code.extend_from_slice(&rewritten);
        Ok(())
    }

    fn rewrite(
        &mut self,
        body: &FunctionBody<'_>,
        scan: &Scan,
        ty: &FuncType,
        locals: u32,
        cost: u32,
    ) -> Result<Vec<u8>, Stop> {
        let left = self.globals;
        let cost = i32::try_from(cost).unwrap_or(i32::MAX);
        let all = body.as_bytes();
        let start = body.range().start;
        let slice =
            |from: usize, to: usize| all.get(from.saturating_sub(start)..to.saturating_sub(start)).unwrap_or(&[]);
        let mut out = Vec::with_capacity(all.len().saturating_add(48));

        // Locals, and one more for a function that catches.
        let mut reader = body.get_locals_reader()?;
        let groups = reader.get_count();
        let first = reader.original_position();
        for _ in 0..groups {
            reader.read()?;
        }
        let code = reader.original_position();
        put_u32(&mut out, groups.saturating_add(u32::from(scan.catches)));
        out.extend_from_slice(slice(first, code));
        if scan.catches {
            out.extend_from_slice(&[1, I32]);
        }
        let saved = locals;

        out.push(GLOBAL_GET);
        put_u32(&mut out, left);
        out.push(I32_CONST);
        put_i32(&mut out, cost);
        out.push(I32_SUB);
        if scan.catches {
            out.push(LOCAL_TEE);
            put_u32(&mut out, saved);
        }
        out.push(GLOBAL_SET);
        put_u32(&mut out, left);
        out.push(GLOBAL_GET);
        put_u32(&mut out, left);
        out.extend_from_slice(&[I32_CONST, 0, I32_LT_S, IF, EMPTY, UNREACHABLE, END]);
        out.push(BLOCK);
        self.block_type(&mut out, ty)?;

        let give_back = |out: &mut Vec<u8>| {
            out.push(GLOBAL_GET);
            put_u32(out, left);
            out.push(I32_CONST);
            put_i32(out, cost);
            out.push(I32_ADD);
            out.push(GLOBAL_SET);
            put_u32(out, left);
        };
        let restore = |out: &mut Vec<u8>| {
            out.push(LOCAL_GET);
            put_u32(out, saved);
            out.push(GLOBAL_SET);
            put_u32(out, left);
        };

        let mut copied = code;
        for mark in &scan.marks {
            match mark.what {
                What::Return { nesting } => {
                    out.extend_from_slice(slice(copied, mark.at));
                    out.push(BR);
                    put_u32(&mut out, nesting);
                    copied = mark.at.saturating_add(1);
                }
                What::TailCall => {
                    out.extend_from_slice(slice(copied, mark.at));
                    give_back(&mut out);
                    copied = mark.at;
                }
                What::Label if scan.catches => {
                    out.extend_from_slice(slice(copied, mark.at));
                    restore(&mut out);
                    copied = mark.at;
                }
                What::Label => {}
            }
        }
        // The rest, with the body's own `end`, which now ends the block.
        out.extend_from_slice(slice(copied, body.range().end));
        if scan.catches {
            restore(&mut out);
        }
        give_back(&mut out);
        out.push(END);
        Ok(out)
    }

    /// The type of a block that takes nothing and leaves a function's results.
    fn block_type(&mut self, out: &mut Vec<u8>, ty: &FuncType) -> Result<(), Stop> {
        match ty.results() {
            [] => out.push(EMPTY),
            [one] => out.push(val_type(*one)?),
            many => {
                let mut results = Vec::with_capacity(many.len());
                for ty in many {
                    results.push(val_type(*ty)?);
                }
                let known = self.block_types.iter().position(|known| *known == results);
                let at = known.unwrap_or(self.block_types.len());
                if known.is_none() {
                    self.block_types.push(results);
                }
                let index = to_u32(self.types.len()).saturating_add(to_u32(at));
                // A type index is a signed number of 33 bits; ours are small.
                put_i32(out, i32::try_from(index).unwrap_or(i32::MAX));
            }
        }
        Ok(())
    }

    /// Puts the copy together.
    fn finish(mut self, bytes: &[u8]) -> Result<Prepared, Refused> {
        let depth_export = self.unused("symbolon:depth");
        let start_export = self.start.map(|_| self.unused("symbolon:start"));
        let mut out = Vec::with_capacity(bytes.len().saturating_add(bytes.len() / 8));
        out.extend_from_slice(b"\0asm\x01\0\0\0");
        self.sections.remove(&START);
        for id in ORDER {
            let original = self.sections.get(&id).and_then(|range| bytes.get(range.clone()));
            match id {
                TYPE if !self.block_types.is_empty() => {
                    let mut extra = Vec::new();
                    for results in &self.block_types {
                        extra.extend_from_slice(&[FUNC, 0]);
                        put_u32(&mut extra, to_u32(results.len()));
                        extra.extend_from_slice(results);
                    }
                    append(&mut out, id, original, to_u32(self.block_types.len()), &extra)?;
                }
                GLOBAL => {
                    let mut extra = vec![I32, MUTABLE, I32_CONST];
                    put_i32(&mut extra, CALL_DEPTH);
                    extra.push(END);
                    append(&mut out, id, original, 1, &extra)?;
                }
                EXPORT => {
                    let mut extra = Vec::new();
                    put_export(&mut extra, &depth_export, 3, self.globals);
                    if let (Some(name), Some(start)) = (&start_export, self.start) {
                        put_export(&mut extra, name, 0, start);
                    }
                    let count = 1 + u32::from(start_export.is_some());
                    append(&mut out, id, original, count, &extra)?;
                }
                CODE => {
                    if original.is_some() {
                        let mut head = Vec::new();
                        put_u32(&mut head, self.bodies);
                        out.push(id);
                        put_u32(&mut out, to_u32(head.len().saturating_add(self.code.len())));
                        out.extend_from_slice(&head);
                        out.append(&mut self.code);
                    }
                }
                _ => {
                    if let Some(original) = original {
                        out.push(id);
                        put_u32(&mut out, to_u32(original.len()));
                        out.extend_from_slice(original);
                    }
                }
            }
        }
        self.facts.depth_export = depth_export;
        self.facts.start_export = start_export;
        Ok(Prepared { bytes: out, facts: self.facts })
    }

    /// A name that the guest does not export itself.
    fn unused(&self, wish: &str) -> String {
        let mut name = wish.to_owned();
        while self.export_names.contains(&name) {
            name.push('\'');
        }
        name
    }
}

/// What a first look at a body found.
#[derive(Default)]
struct Scan {
    operators: u32,
    height: u32,
    nesting: u32,
    calls: bool,
    catches: bool,
    marks: Vec<Mark>,
    /// The last operator opened or closed a label: the next position is a mark.
    label: bool,
}

struct Mark {
    at: usize,
    what: What,
}

enum What {
    /// A `return` at this depth of nesting.
    Return { nesting: u32 },
    /// The position of a tail call.
    TailCall,
    /// The position behind a label that a catch may branch to.
    Label,
}

impl Scan {
    fn note(&mut self, at: usize, operator: &Operator<'_>) {
        self.operators = self.operators.saturating_add(1);
        if std::mem::take(&mut self.label) {
            self.marks.push(Mark { at, what: What::Label });
        }
        match operator {
            Operator::Block { .. } | Operator::If { .. } => {
                self.nesting = self.nesting.saturating_add(1);
            }
            Operator::Loop { .. } => {
                self.nesting = self.nesting.saturating_add(1);
                self.label = true;
            }
            Operator::TryTable { .. } => {
                self.nesting = self.nesting.saturating_add(1);
                self.catches = true;
            }
            Operator::End => {
                self.nesting = self.nesting.saturating_sub(1);
                self.label = true;
            }
            Operator::Return => self.marks.push(Mark { at, what: What::Return { nesting: self.nesting } }),
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. } => {
                self.calls = true;
                self.marks.push(Mark { at, what: What::TailCall });
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                self.calls = true;
            }
            _ => {}
        }
    }
}

const UNREACHABLE: u8 = 0x00;
const BLOCK: u8 = 0x02;
const IF: u8 = 0x04;
const END: u8 = 0x0b;
const BR: u8 = 0x0c;
const LOCAL_GET: u8 = 0x20;
const LOCAL_TEE: u8 = 0x22;
const GLOBAL_GET: u8 = 0x23;
const GLOBAL_SET: u8 = 0x24;
const I32_CONST: u8 = 0x41;
const I32_LT_S: u8 = 0x48;
const I32_ADD: u8 = 0x6a;
const I32_SUB: u8 = 0x6b;
const EMPTY: u8 = 0x40;
const FUNC: u8 = 0x60;
const I32: u8 = 0x7f;
const MUTABLE: u8 = 1;

fn val_type(ty: ValType) -> Result<u8, Refused> {
    Ok(match ty {
        ValType::I32 => 0x7f,
        ValType::I64 => 0x7e,
        ValType::F32 => 0x7d,
        ValType::F64 => 0x7c,
        ValType::V128 => 0x7b,
        ValType::Ref(RefType::FUNCREF) => 0x70,
        ValType::Ref(RefType::EXTERNREF) => 0x6f,
        ValType::Ref(RefType::EXNREF) => 0x69,
        ValType::Ref(_) => {
            return Err(Refused::Feature { feature: "gc types" });
        }
    })
}

fn to_u32(len: usize) -> u32 {
    // A module has at most 64 MiB, and so has everything in it.
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn put_u32(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_i32(out: &mut Vec<u8>, mut value: i32) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        let done = (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0);
        if done {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn put_export(out: &mut Vec<u8>, name: &str, kind: u8, index: u32) {
    put_u32(out, to_u32(name.len()));
    out.extend_from_slice(name.as_bytes());
    out.push(kind);
    put_u32(out, index);
}

/// Writes a section of counted entries with more entries at its end.
fn append(out: &mut Vec<u8>, id: u8, original: Option<&[u8]>, more: u32, extra: &[u8]) -> Result<(), Refused> {
    let mut reader = wasmparser::BinaryReader::new(original.unwrap_or(&[0]), 0);
    let count = reader.read_var_u32().map_err(malformed)?;
    let rest = reader.read_bytes(reader.bytes_remaining()).map_err(malformed)?;
    let mut head = Vec::new();
    put_u32(&mut head, count.saturating_add(more));
    out.push(id);
    let len = head.len().saturating_add(rest.len()).saturating_add(extra.len());
    put_u32(out, to_u32(len));
    out.extend_from_slice(&head);
    out.extend_from_slice(rest);
    out.extend_from_slice(extra);
    Ok(())
}
