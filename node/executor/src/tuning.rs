//! How this host runs guests: what moves speed and memory, and never a number.
//!
//! None of it is in the profile's text, so all of it must give the same fuel and the
//! same result. The tests of the determinism matrix hold every combination to that.

use crate::profile::{MAX_MEMORIES, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, MAX_TABLES};
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// The largest instance record that a pool holds, in bytes: a module at the
/// profile's limits on functions, globals and exports.
const INSTANCE_BYTES: usize = 8 << 20;

/// Address space of one slot of a pool: all that 32 bits can name.
const SLOT_BYTES: u64 = 1 << 32;

/// The target of the engine's portable interpreter.
const INTERPRETER: &str = "pulley64";

/// What only this host sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Whether compiled code is optimised: slower to compile, faster to run.
    pub optimise: bool,
    /// Runs at one time whose memories are set aside once and used again; a run beyond
    /// them has no outcome. 0: each run asks the host for its own.
    ///
    /// Not for strangers' modules so far: the engine then lets the exception heap grow
    /// past the profile's bound, and counts that as the guest's memory.
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
    /// Puts these choices into the engine's configuration.
    pub(crate) fn apply(self, config: &mut Config) -> wasmtime::Result<()> {
        if !self.optimise {
            config.cranelift_opt_level(OptLevel::None);
        }
        if self.interpret {
            config.target(INTERPRETER)?;
        }
        if self.pool > 0 {
            // The exception heap is one memory more.
            let memories = self.pool.saturating_mul(MAX_MEMORIES.saturating_add(1));
            let mut pool = PoolingAllocationConfig::new();
            pool.total_core_instances(self.pool)
                .total_memories(memories)
                .total_tables(self.pool.saturating_mul(MAX_TABLES))
                .total_gc_heaps(self.pool)
                .max_core_instance_size(INSTANCE_BYTES)
                .max_memories_per_module(MAX_MEMORIES)
                .max_tables_per_module(MAX_TABLES)
                .max_memory_size(usize::try_from(MAX_MEMORY_BYTES)?)
                .table_elements(usize::try_from(MAX_TABLE_ELEMENTS)?);
            // One kind of slot serves memories and exception heaps.
            config.memory_reservation(SLOT_BYTES).gc_heap_reservation(SLOT_BYTES);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
        Ok(())
    }
}
