//! The determinism profile: everything that a result may depend on, as one text.
//!
//! Two nodes that serve the same [`Profile::id`] give the same result for the same
//! workunit. The text names the engine's exact version, its flags, what every
//! operator and host call costs, and every limit; the target is not part of it, since
//! [`Engine::self_check`](crate::Engine::self_check) compares real numbers on the
//! machine itself (SYM-31b). What only moves speed (optimisation level, guard pages,
//! copy-on-write) stays out.

use symbolon_primitives::{Limits, ProfileId, Workunit, keccak256};
use wasmparser::WasmFeatures;
use wasmtime::{Collector, Config, OperatorCost, OptLevel, VariableOperatorCost};

/// The engine whose numbers profile 1 is. A test compares it with the lock file.
pub const ENGINE_VERSION: &str = "48.0.8";

/// Fuel of every host call, before what it moves.
pub(crate) const HOST_CALL_FUEL: u64 = 100;
/// Bytes moved for one unit of fuel.
pub(crate) const BYTES_PER_FUEL: u64 = 8;
/// Fuel of one step in the file system: a path component, a directory entry.
pub(crate) const STEP_FUEL: u64 = 8;

/// Budget of call depth; a function takes its static cost out of it while it runs.
pub(crate) const CALL_DEPTH: i32 = 1 << 20;
/// What the smallest function that calls another costs.
pub(crate) const FRAME_BASE: u32 = 4;
/// Operators that add one unit to a function's depth cost.
pub(crate) const OPS_PER_DEPTH: u32 = 32;
/// Functions that call nothing and cost no more than this are not counted.
pub(crate) const LEAF_FREE: u32 = 1024;
/// Native stack for guests: 128 bytes a unit of depth, and the uncounted leaf.
pub(crate) const NATIVE_STACK: usize = (128 << 20) + (1 << 20);
/// Native stack beyond what guests may use: host calls run on the same one.
pub(crate) const HOST_STACK: usize = 2 << 20;

/// Wall clock at the start of every run: 2023-11-14T22:13:20Z, in nanoseconds.
pub(crate) const CLOCK_START_NS: u64 = 1_700_000_000_000_000_000;
/// Where the virtual clock stops.
pub(crate) const CLOCK_END_NS: u64 = i64::MAX as u64;

/// Bytes reserved for exceptions in flight; exhaustion is no outcome.
pub(crate) const EXCEPTION_HEAP: u64 = 64 << 20;

/// A module with its custom sections, which are dropped.
pub(crate) const MAX_FILE_BYTES: usize = 256 << 20;
/// A module without them.
pub(crate) const MAX_MODULE_BYTES: usize = 64 << 20;
pub(crate) const MAX_FUNCTION_BYTES: usize = 1 << 20;
pub(crate) const MAX_FUNCTIONS: u32 = 100_000;
pub(crate) const MAX_TYPES: u32 = 50_000;
pub(crate) const MAX_IMPORTS: u32 = 1_000;
pub(crate) const MAX_EXPORTS: u32 = 100_000;
pub(crate) const MAX_GLOBALS: u32 = 50_000;
pub(crate) const MAX_SEGMENTS: u32 = 100_000;
pub(crate) const MAX_LOCALS: u32 = 20_000;
pub(crate) const MAX_MEMORIES: u32 = 8;
pub(crate) const MAX_TABLES: u32 = 16;
pub(crate) const MAX_TAGS: u32 = 1_000;
pub(crate) const MAX_PARAMS: usize = 256;
/// Blocks of any kind within each other. This bound and the next four are on what the compiler's time grows with the
/// square of; each is above what any program seen has (3,232
/// nested blocks, 128 nested handlers, 1,833 handlers, 13,120 branches, 2.1 million locals times branches).
pub(crate) const MAX_NESTING: u32 = 10_000;
/// Loops, conditions and handlers within each other.
pub(crate) const MAX_LOOP_NESTING: u32 = 1_024;
/// Loops and handlers of one function.
pub(crate) const MAX_LOOPS: u32 = 4_096;
/// Conditions, loops, handlers, conditional branches and targets of branch tables of one function.
pub(crate) const MAX_BRANCHES: u32 = 20_000;
/// Locals of a function times these.
pub(crate) const MAX_LOCALS_TIMES_BRANCHES: u64 = 8_000_000;
/// Bytes of one function as it is compiled, with all that is added to it.
pub(crate) const MAX_WRITTEN_FUNCTION_BYTES: u32 = 7 << 20;
/// Bytes of all functions as they are compiled.
pub(crate) const MAX_WRITTEN_BYTES: u32 = 256 << 20;
/// Elements of all tables together, at any time.
pub(crate) const MAX_TABLE_ELEMENTS: u64 = 1 << 20;

/// Most linear memory that a workunit may ask for, in bytes.
pub(crate) const MAX_MEMORY_BYTES: u64 = 2 << 30;
/// Most output bytes that a workunit may ask for.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 1 << 30;
/// Most files that a workunit may ask for.
pub(crate) const MAX_FILES: u32 = 65_536;
/// Most fuel that a workunit may ask for.
pub(crate) const MAX_FUEL: u64 = 1 << 60;

pub(crate) const MAX_DESCRIPTORS: usize = 1_024;
/// Entries of all listings that descriptors keep, together.
pub(crate) const MAX_LISTED: usize = 65_536;
pub(crate) const MAX_DIR_DEPTH: usize = 32;
pub(crate) const MAX_NAME_BYTES: usize = 255;
pub(crate) const MAX_PATH_BYTES: usize = 1_024;
pub(crate) const MAX_LINK_HOPS: u32 = 40;
pub(crate) const MAX_IOVECS: u32 = 1_024;
pub(crate) const MAX_SUBSCRIPTIONS: u32 = 1_024;

/// Why a profile is not served, or a workunit does not fit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The engine counts differently than the profile says: serving it would cost
    /// every quorum.
    #[error("fuel vector {vector} burns {found} instead of {expected}")]
    OtherNumbers {
        /// Which vector.
        vector: &'static str,
        /// Fuel that the profile fixes.
        expected: u64,
        /// Fuel that this machine counts.
        found: u64,
    },
    /// A vector did not end as it must.
    #[error("fuel vector {vector} does not run to its result")]
    OtherResult {
        /// Which vector.
        vector: &'static str,
    },
    /// A workunit asks for more than the profile allows.
    #[error("workunit asks for {what} {asked}, at most {max} are allowed")]
    BeyondLimits {
        /// Of what.
        what: &'static str,
        /// What it asks for.
        asked: u64,
        /// The bound.
        max: u64,
    },
    /// A workunit whose parts are out of bounds or out of order.
    #[error("workunit is malformed")]
    Unsound,
}

/// A determinism profile. There is one so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Profile {
    /// Profile 1 (SYM-30 to SYM-36).
    V1,
}

impl Profile {
    /// The canonical text; its hash is the profile's name.
    #[must_use]
    pub fn text(self) -> String {
        let Self::V1 = self;
        let costs = VariableOperatorCost { memory_grow_per_page: GROW_PAGE_FUEL, ..VariableOperatorCost::new() };
        format!(
            "symbolon determinism profile 1\n\
             engine: wasmtime {ENGINE_VERSION} cranelift\n\
             wasm: 2.0 without shared memory, memory64 and guest gc types; atomics on one's own memory, simd, relaxed simd deterministic, \
             exceptions (exnref in no table or global), tail calls, extended const, multi memory\n\
             flags: consume_fuel, relaxed_simd_deterministic, no inlining, null collector with {EXCEPTION_HEAP} bytes\n\
             floats: a computed nan is the positive canonical one; moved bits are kept\n\
             operator fuel: 1; 0 for nop drop block loop unreachable return else end\n\
             per byte: copy {copy} fill {fill} init {init}; per page: grow {grow}; \
             per element: copy {tcopy} fill {tfill} init {tinit} grow {tgrow}\n\
             host fuel: call {HOST_CALL_FUEL}, one for {BYTES_PER_FUEL} bytes, step {STEP_FUEL}\n\
             start fuel: one for {BYTES_PER_FUEL} bytes of initial memory and of data\n\
             call depth: {CALL_DEPTH}; function {FRAME_BASE} + locals + operand height + operators/{OPS_PER_DEPTH}; \
             leaves up to {LEAF_FREE} free\n\
             instrumentation: 3, its operators are paid for\n\
             module: file {MAX_FILE_BYTES} bytes {MAX_MODULE_BYTES} function {MAX_FUNCTION_BYTES} functions {MAX_FUNCTIONS} types {MAX_TYPES} \
             imports {MAX_IMPORTS} exports {MAX_EXPORTS} globals {MAX_GLOBALS} segments {MAX_SEGMENTS} \
             locals {MAX_LOCALS} memories {MAX_MEMORIES} tables {MAX_TABLES} tags {MAX_TAGS} params {MAX_PARAMS} \
             elements {MAX_TABLE_ELEMENTS} \
             nesting {MAX_NESTING} loop nesting {MAX_LOOP_NESTING} loops {MAX_LOOPS} branches {MAX_BRANCHES} locals times branches {MAX_LOCALS_TIMES_BRANCHES} \
             written function {MAX_WRITTEN_FUNCTION_BYTES} written {MAX_WRITTEN_BYTES}\n\
             run: memory {MAX_MEMORY_BYTES} output {MAX_OUTPUT_BYTES} files {MAX_FILES} fuel {MAX_FUEL}\n\
             world: wasi_unstable wasi_snapshot_preview1; descriptors {MAX_DESCRIPTORS} listed {MAX_LISTED} depth {MAX_DIR_DEPTH} name {MAX_NAME_BYTES} \
             path {MAX_PATH_BYTES} hops {MAX_LINK_HOPS} iovecs {MAX_IOVECS} subscriptions {MAX_SUBSCRIPTIONS}\n\
             clock: starts {CLOCK_START_NS}, 1 ns a unit, ends {CLOCK_END_NS}\n\
             random: chacha20, key workunit id, nonce 0, counter 0\n\
             manifest: symres 1\n",
            copy = costs.memory_copy_per_byte,
            fill = costs.memory_fill_per_byte,
            init = costs.memory_init_per_byte,
            grow = costs.memory_grow_per_page,
            tcopy = costs.table_copy_per_element,
            tfill = costs.table_fill_per_element,
            tinit = costs.table_init_per_element,
            tgrow = costs.table_grow_per_element,
        )
    }

    /// The profile's name: keccak256 of its text.
    #[must_use]
    pub fn id(self) -> ProfileId {
        ProfileId::from_bytes(keccak256(self.text().as_bytes()))
    }

    /// Whether a workunit is well formed and within this profile's bounds.
    ///
    /// # Errors
    /// [`ProfileError::Unsound`] and [`ProfileError::BeyondLimits`].
    pub fn admits(self, unit: &Workunit) -> Result<(), ProfileError> {
        if !unit.is_sound() {
            return Err(ProfileError::Unsound);
        }
        self.admits_limits(&unit.limits, unit.max_fuel)
    }

    /// Whether limits and a maximum of fuel are within this profile's bounds.
    ///
    /// # Errors
    /// [`ProfileError::BeyondLimits`].
    pub fn admits_limits(self, limits: &Limits, max_fuel: u64) -> Result<(), ProfileError> {
        let Self::V1 = self;
        for (what, asked, max) in [
            ("memory", limits.memory_bytes, MAX_MEMORY_BYTES),
            ("output", limits.output_bytes, MAX_OUTPUT_BYTES),
            ("files", u64::from(limits.files), u64::from(MAX_FILES)),
            ("fuel", max_fuel, MAX_FUEL),
        ] {
            if asked > max {
                return Err(ProfileError::BeyondLimits { what, asked, max });
            }
        }
        Ok(())
    }

    /// The WebAssembly features that a module may use.
    pub(crate) fn features(self) -> WasmFeatures {
        let Self::V1 = self;
        WasmFeatures::MUTABLE_GLOBAL
            | WasmFeatures::SATURATING_FLOAT_TO_INT
            | WasmFeatures::SIGN_EXTENSION
            | WasmFeatures::REFERENCE_TYPES
            | WasmFeatures::MULTI_VALUE
            | WasmFeatures::BULK_MEMORY
            | WasmFeatures::FLOATS
            | WasmFeatures::SIMD
            | WasmFeatures::RELAXED_SIMD
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::TAIL_CALL
            | WasmFeatures::EXTENDED_CONST
            | WasmFeatures::MULTI_MEMORY
            // Atomic operators; memories that are shared are refused.
            | WasmFeatures::THREADS
            // Not the guest's own: `externref` and `exnref` are kept behind this bit.
            | WasmFeatures::GC_TYPES
    }

    /// The engine's configuration, with a heap for exceptions or for modules that need none.
    pub(crate) fn config(self, heap: bool) -> Config {
        let Self::V1 = self;
        let mut costs = OperatorCost::new();
        costs.variable.memory_grow_per_page = GROW_PAGE_FUEL;
        let mut config = Config::new();
        // What results depend on.
        config
            .consume_fuel(true)
            .operator_cost(costs)
            // The instrumentation does it, where it can be seen.
            .cranelift_nan_canonicalization(false)
            .relaxed_simd_deterministic(true)
            .compiler_inlining(wasmtime::Inlining::No)
            .wasm_simd(true)
            .wasm_relaxed_simd(true)
            .wasm_exceptions(true)
            .wasm_tail_call(true)
            .wasm_extended_const(true)
            .wasm_multi_memory(true)
            .wasm_memory64(false)
            .wasm_function_references(false)
            .wasm_gc(false)
            .wasm_wide_arithmetic(false)
            .wasm_custom_page_sizes(false)
            .wasm_stack_switching(false)
            .collector(Collector::Null);
        if heap {
            config.gc_heap_reservation(EXCEPTION_HEAP).gc_heap_initial_size(EXCEPTION_HEAP).gc_heap_may_move(false);
        }
        // What only this machine sees.
        config
            .memory_may_move(false)
            .async_stack_size(NATIVE_STACK.saturating_add(HOST_STACK))
            .max_wasm_stack(NATIVE_STACK)
            .cranelift_opt_level(OptLevel::Speed)
            .generate_address_map(false)
            .native_unwind_info(false)
            .wasm_backtrace_max_frames(None);
        config
    }
}

/// Fuel of one page asked for by `memory.grow`, granted or not.
const GROW_PAGE_FUEL: u8 = 64;
