//! How this host runs guests: what moves speed and memory, and never a number.
//!
//! None of it is in the profile's text, so all of it must give the same fuel and the
//! same result. The tests of the determinism matrix hold every combination to that.

use crate::profile::{MAX_MEMORIES, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES, Profile};
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// The largest instance record that a pool holds, in bytes: a module at the
/// profile's limits on functions, globals and exports.
const INSTANCE_BYTES: usize = 8 << 20;

/// The target of the engine's portable interpreter.
const INTERPRETER: &str = "pulley64";

/// What only this host sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Whether compiled code is optimised: slower to compile, faster to run.
    pub optimise: bool,
    /// Runs at one time whose memories, tables and stacks are set aside once and used
    /// again; a run beyond them has no outcome ([`PoolTaken`]). 0: each run asks the
    /// host for its own, as does each run of a module that throws, always: in a pool
    /// the engine would let the exception heap grow past the profile's bound.
    ///
    /// [`PoolTaken`]: crate::ExecutorError::PoolTaken
    pub pool: u32,
    /// Whether guests are interpreted, as on a machine without a native compiler.
    pub interpret: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { optimise: true, pool: 0, interpret: false }
    }
}

impl Tuning {
    /// The engine's configuration under a profile, for modules that need a heap for exceptions or for those that do
    /// not.
    pub(crate) fn config(self, profile: Profile, heap: bool) -> wasmtime::Result<Config> {
        let mut config = profile.config(heap);
        if !self.optimise {
            config.cranelift_opt_level(OptLevel::None);
        }
        if self.interpret {
            config.target(INTERPRETER)?;
        }
        if self.pool > 0 && !heap {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_core_instances(self.pool)
                .total_memories(self.pool.saturating_mul(MAX_MEMORIES))
                .total_stacks(self.pool)
                .total_tables(self.pool.saturating_mul(MAX_TABLES))
                .total_gc_heaps(0)
                .max_core_instance_size(INSTANCE_BYTES)
                .max_memories_per_module(MAX_MEMORIES)
                .max_tables_per_module(MAX_TABLES)
                .max_memory_size(usize::try_from(MAX_MEMORY_BYTES)?)
                .table_elements(usize::try_from(MAX_TABLE_ELEMENTS)?);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Ok(config)
    }
}
