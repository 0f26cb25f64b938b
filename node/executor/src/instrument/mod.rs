//! One pass over a module: validate it against the profile, gather what the engine
//! must know, and write the copy that is compiled, with call depth counted.
//!
//! **Depth (SYM-31c).** A private global holds what is left of [`CALL_DEPTH`]. A
//! function takes its static cost on entry, traps when the rest is negative, and
//! puts back what it found on every way out:
//!
//! ```text
//! found = left; left = found - cost; if left < 0 { unreachable }
//! block <results>  …the body; `return` became a branch to this block…  end
//! left = found
//! ```
//!
//! Wrapping keeps all label indices: what branched to the function now branches to
//! the block. A tail call puts back before it leaves. A function that catches also
//! takes its cost anew at every label, since a throw unwinds callees that put nothing
//! back. What was found stays in a local: reading it again from the global would make
//! every call wait for the one before it (docs/determinism.md, what it costs). Functions that call nothing stay as they are
//! unless they are huge: one uncounted leaf fits the native stack's reserve.
//!
//! **Atomics** become plain operators: `atomics`.
//!
//! **Floats.** Computed NaNs are made canonical where they can be seen: `floats`.
//!
//! The start function is exported and called by the engine instead, so that depth and
//! fuel are known at its traps too. Custom sections are dropped.

pub(crate) mod atomics;
mod body;
mod encode;
mod floats;

use crate::abi;
use crate::profile::{
    CALL_DEPTH, MAX_EXPORTS, MAX_FILE_BYTES, MAX_FUNCTION_BYTES, MAX_FUNCTIONS, MAX_GLOBALS, MAX_IMPORTS, MAX_MEMORIES,
    MAX_MODULE_BYTES, MAX_PARAMS, MAX_SEGMENTS, MAX_TABLE_ELEMENTS, MAX_TABLES, MAX_TAGS, MAX_TYPES, Profile,
};
use crate::refuse::Refused;
use encode::{END, FUNC, I32, I32_CONST, MUTABLE, put_export, put_i32, put_u32, to_u32};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    BinaryReader, BinaryReaderError, DataKind, ExternalKind, FuncType, FuncValidatorAllocations, Parser, Payload,
    RefType, TypeRef, ValType, ValidPayload, Validator, WasmFeatures,
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
    /// Whether it can throw, or have a reference to anything but a function: only then does a run need a heap for
    /// exceptions.
    pub(crate) heap: bool,
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
const LEFT_OUT: [(WasmFeatures, &str); 8] = [
    (WasmFeatures::MEMORY64, "memory64"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions"),
    (WasmFeatures::FUNCTION_REFERENCES, "function references"),
    (WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES), "gc types"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic"),
    (WasmFeatures::STACK_SWITCHING.union(WasmFeatures::FUNCTION_REFERENCES), "stack switching"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared everything"),
];

/// A memory that several threads are to share.
pub(crate) const SHARED: Refused = Refused::Feature { feature: "shared memory" };

/// Checks a module and writes the instrumented copy.
pub(crate) fn prepare(profile: Profile, bytes: &[u8]) -> Result<Prepared, Refused> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Refused::TooLarge { bytes: bytes.len(), max: MAX_FILE_BYTES });
    }
    let kept = kept_bytes(bytes);
    if kept > MAX_MODULE_BYTES {
        return Err(Refused::TooLarge { bytes: kept, max: MAX_MODULE_BYTES });
    }
    if Parser::is_component(bytes) {
        return Err(Refused::Feature { feature: "the component model" });
    }
    let mut pass = Pass::new(profile);
    match pass.run(bytes) {
        Ok(()) => {
            let without = profile.features().difference(WasmFeatures::GC_TYPES.union(WasmFeatures::EXCEPTIONS));
            pass.facts.heap = Validator::new_with_features(without).validate_all(bytes).is_err();
            pass.finish(bytes)
        }
        Err(Stop::Refused(refused)) => Err(refused),
        Err(Stop::Invalid(error)) => Err(name_the_feature(profile, bytes, error)),
    }
}

/// The length of a module without its custom sections, which nobody compiles; all of it that is no section.
pub(crate) fn kept_bytes(bytes: &[u8]) -> usize {
    let mut reader = BinaryReader::new(bytes.get(8..).unwrap_or(&[]), 0);
    let mut kept = bytes.len();
    while !reader.eof() {
        let start = reader.original_position();
        let Ok(id) = reader.read_u8() else { break };
        let Ok(len) = reader.read_var_u32() else { break };
        if reader.read_bytes(len as usize).is_err() {
            break;
        }
        if id == 0 {
            kept = kept.saturating_sub(reader.original_position().saturating_sub(start));
        }
    }
    kept
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

/// The same, of a function.
fn bounded_in(function: u32, what: &'static str, count: u32, max: u32) -> Result<(), Refused> {
    if count > max {
        return Err(Refused::Function { function, what, count: u64::from(count), max: u64::from(max) });
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
                    if matches!(import.ty, TypeRef::Memory(memory) if memory.shared) {
                        return Err(SHARED.into());
                    }
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
                    let memory = memory?;
                    if memory.shared {
                        return Err(SHARED.into());
                    }
                    let bytes = memory.initial.saturating_mul(65_536);
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

/// Writes a section of counted entries with more entries at its end.
fn append(out: &mut Vec<u8>, id: u8, original: Option<&[u8]>, more: u32, extra: &[u8]) -> Result<(), Refused> {
    let mut reader = BinaryReader::new(original.unwrap_or(&[0]), 0);
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
