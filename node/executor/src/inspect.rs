//! What is in a module, and everything for which a profile refuses it.
//!
//! Loading stops at the first reason; this goes on, so that an author can mend all of
//! them at once. Nothing is compiled.

use crate::abi;
use crate::instrument::{SHARED, kept_bytes, needed_features, prepare};
use crate::profile::{BYTES_PER_FUEL, MAX_FILE_BYTES, MAX_MODULE_BYTES, Profile};
use crate::refuse::Refused;
use symbolon_content::{ContentRef, reference};
use symbolon_primitives::Level;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// The most imports, exports or memories listed; a module with more is refused anyway.
const MAX_LISTED: usize = 100_000;

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The module named.
    pub module: String,
    /// The name in it.
    pub name: String,
    /// `function`, `memory`, `table`, `global` or `tag`.
    pub kind: &'static str,
    /// Whether the virtual world has a function of this name.
    pub known: bool,
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// `function`, `memory`, `table`, `global` or `tag`.
    pub kind: &'static str,
}

/// A memory of the module's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Pages of 64 KiB at the start.
    pub initial_pages: u64,
    /// Pages that it may grow to, where it says so.
    pub maximum_pages: Option<u64>,
}

/// What [`inspect`] finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The module's reference.
    pub reference: ContentRef,
    /// Its length in bytes.
    pub bytes: usize,
    /// Why the profile refuses it: empty when it fits.
    pub problems: Vec<Refused>,
    /// The levels at which it can be run.
    pub levels: Vec<Level>,
    /// Imports, in the module's order.
    pub imports: Vec<Import>,
    /// Exports, in the module's order.
    pub exports: Vec<Export>,
    /// Memories of its own.
    pub memories: Vec<Memory>,
    /// Functions of its own.
    pub functions: u32,
    /// Bytes of all data segments.
    pub data_bytes: u64,
    /// Fuel that the start itself costs; known for a module that fits.
    pub start_fuel: Option<u64>,
}

impl Inspection {
    /// Whether the profile takes the module.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What is compiled in a module's stead: the module with all that is counted and made canonical, without its custom
/// sections. For whoever wants to check that, or to measure what it costs.
///
/// # Errors
/// [`Refused`], as [`Engine::compile`](crate::Engine::compile).
pub fn compiled_form(profile: Profile, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    Ok(prepare(profile, bytes)?.bytes)
}

/// Looks at a module under a profile.
#[must_use]
pub fn inspect(profile: Profile, bytes: &[u8]) -> Inspection {
    let mut found = Inspection {
        reference: reference(bytes),
        bytes: bytes.len(),
        problems: Vec::new(),
        levels: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        memories: Vec::new(),
        functions: 0,
        data_bytes: 0,
        start_fuel: None,
    };
    if bytes.len() <= MAX_FILE_BYTES && kept_bytes(bytes) <= MAX_MODULE_BYTES {
        let shared = list(bytes, &mut found);
        found.problems.extend(needed_features(profile, bytes).into_iter().map(|feature| Refused::Feature { feature }));
        if shared {
            found.problems.push(SHARED);
        }
        for import in &found.imports {
            let (module, name) = (import.module.clone(), import.name.clone());
            if import.kind != "function" {
                found.problems.push(Refused::ImportKind { module, name });
            } else if !import.known {
                found.problems.push(Refused::UnknownImport { module, name });
            }
        }
    }
    match prepare(profile, bytes) {
        Ok(prepared) => {
            let facts = prepared.facts;
            found.data_bytes = facts.data_bytes;
            found.start_fuel = Some(facts.initial_memory.saturating_add(facts.data_bytes).div_ceil(BYTES_PER_FUEL));
            if facts.entries.get("_start") == Some(&(0, 0)) {
                found.levels.push(Level::Command);
            }
            if matches!(facts.entries.get("compute"), Some((2, 0 | 1))) {
                found.levels.push(Level::Compute);
            }
        }
        // What loading says first is one of those found, in the same words, or the only one.
        Err(refused) if found.problems.is_empty() => found.problems.push(refused),
        Err(
            refused @ (Refused::ImportSignature { .. }
            | Refused::TooMany { .. }
            | Refused::Function { .. }
            | Refused::StoredException { .. }),
        ) => {
            found.problems.push(refused);
        }
        Err(_) => {}
    }
    found
}

/// Lists what can be read; stops where the bytes stop making sense. Says whether a memory is shared.
fn list(bytes: &[u8], found: &mut Inspection) -> bool {
    let mut shared = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ImportSection(section)) => {
                for import in section.into_imports().map_while(Result::ok).take(MAX_LISTED) {
                    shared |= matches!(import.ty, TypeRef::Memory(memory) if memory.shared);
                    found.imports.push(Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        kind: match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
                            TypeRef::Memory(_) => "memory",
                            TypeRef::Table(_) => "table",
                            TypeRef::Global(_) => "global",
                            TypeRef::Tag(_) => "tag",
                        },
                        known: abi::signature(import.module, import.name).is_some(),
                    });
                }
            }
            Ok(Payload::ExportSection(section)) => {
                for export in section.into_iter().map_while(Result::ok).take(MAX_LISTED) {
                    found.exports.push(Export {
                        name: export.name.to_owned(),
                        kind: match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => "function",
                            ExternalKind::Memory => "memory",
                            ExternalKind::Table => "table",
                            ExternalKind::Global => "global",
                            ExternalKind::Tag => "tag",
                        },
                    });
                }
            }
            Ok(Payload::MemorySection(section)) => {
                for memory in section.into_iter().map_while(Result::ok).take(MAX_LISTED) {
                    shared |= memory.shared;
                    found.memories.push(Memory { initial_pages: memory.initial, maximum_pages: memory.maximum });
                }
            }
            Ok(Payload::FunctionSection(section)) => found.functions = section.count(),
            Err(_) => break,
            Ok(_) => {}
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Inspection {
        inspect(Profile::V1, &wat::parse_str(text).unwrap())
    }

    #[test]
    fn sym_30_every_reason_is_named_not_only_the_first() {
        let found = of(r#"(module
            (import "env" "emscripten_resize_heap" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "thread_spawn" (func))
            (import "env" "memory" (memory 1 2 shared))
            (memory 1)
            (func (export "_start")))"#);
        let names: Vec<_> = found.problems.iter().map(Refused::name).collect();
        assert_eq!(names, ["feature", "unknown-import", "unknown-import", "import-kind"]);
        assert!(matches!(found.problems.first(), Some(Refused::Feature { feature: "shared memory" })));
        assert!(!found.fits() && found.start_fuel.is_none());
        assert_eq!(found.imports.iter().filter(|import| import.known).count(), 1);
    }

    #[test]
    fn sym_35_a_module_that_fits_tells_its_levels_and_what_a_start_costs() {
        let found = of(r#"(module
            (memory (export "memory") 2 10)
            (data (i32.const 0) "12345678")
            (func (export "_start"))
            (func (export "compute") (param i32 i32) (result i32) i32.const 0))"#);
        assert!(found.fits(), "{:?}", found.problems);
        assert_eq!(found.levels, [Level::Command, Level::Compute]);
        assert_eq!(found.memories, [Memory { initial_pages: 2, maximum_pages: Some(10) }]);
        assert_eq!(found.start_fuel, Some((2 * 65_536 + 8) / 8));
        assert_eq!((found.functions, found.exports.len()), (2, 3));
    }

    #[test]
    fn sym_30_bytes_that_are_no_module_are_said_to_be_none() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01", b"#!/bin/sh", &[0xff; 64]] {
            let found = inspect(Profile::V1, bytes);
            assert_eq!(found.problems.iter().map(Refused::name).collect::<Vec<_>>(), ["malformed"], "{bytes:?}");
        }
    }
}
