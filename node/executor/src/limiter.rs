//! Memory and tables: growth fails at the limit and at no other time (SYM-31c).

use wasmtime::ResourceLimiter;

/// The host could not give what the limits promise. No outcome: see
/// [`ExecutorError`](crate::ExecutorError).
#[derive(Debug, thiserror::Error)]
#[error("the host could not provide memory within the limits")]
pub(crate) struct HostExhausted;

/// Counts what one run has, all memories together and all tables together.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_max: u64,
    memory: u64,
    peak: u64,
    table_max: u64,
    table: u64,
}

impl Limiter {
    pub(crate) fn new(memory_max: u64, table_max: u64) -> Self {
        Self { memory_max, memory: 0, peak: 0, table_max, table: 0 }
    }

    /// The most linear memory held at once, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }
}

/// The total after one part went from `current` to `desired`, if that is allowed.
fn grown(total: u64, max: u64, current: usize, desired: usize, own_max: Option<usize>) -> Option<u64> {
    // The engine asks even when the type's own maximum forbids the growth; answering
    // yes would count bytes that never come.
    if own_max.is_some_and(|own| desired > own) {
        return None;
    }
    let more = u64::try_from(desired.saturating_sub(current)).ok()?;
    total.checked_add(more).filter(|total| *total <= max)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        match grown(self.memory, self.memory_max, current, desired, maximum) {
            Some(total) => {
                self.memory = total;
                self.peak = self.peak.max(total);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // What the limits forbid was answered above; the rest is the host's failure,
        // or a request past the address space, which no host can serve either.
        let _ = error;
        Err(HostExhausted.into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        match grown(self.table, self.table_max, current, desired, maximum) {
            Some(total) => {
                self.table = total;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let _ = error;
        Err(HostExhausted.into())
    }
}
