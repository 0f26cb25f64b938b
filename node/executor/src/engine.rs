//! Compiling and running.

use crate::abi::{self, Exit, Forbidden};
use crate::instrument::atomics::{UNALIGNED, WAITED};
use crate::instrument::{Facts, prepare};
use crate::limiter::HostExhausted;
use crate::outcome::{Execution, Outcome, TrapKind};
use crate::profile::{BYTES_PER_FUEL, MAX_TABLE_ELEMENTS, Profile, ProfileError};
use crate::refuse::Refused;
use crate::tuning::Tuning;
use crate::world::{Loaded, Preopen, Spec, World};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use symbolon_primitives::{Level, Workunit};
use wasmtime::{Config, ExternRef, InstancePre, Linker, Module, Store, Trap, Val};

/// Fuel between two looks at a run's deadline and its cancel token: some milliseconds.
/// Guests have no instruction for it, as they would with the engine's epochs: the count
/// of fuel that they keep anyway hands control back. A host call sets that count anew,
/// so host calls look for themselves.
pub(crate) const SLICE_FUEL: u64 = 10_000_000;

/// A module's inputs by path, as [`Workunit::inputs`] names them.
pub type Inputs = BTreeMap<String, Arc<[u8]>>;

/// Why a run has no outcome: nothing of it is committed to or paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The workunit does not fit the profile.
    #[error("the workunit is not for this profile")]
    Profile(#[from] ProfileError),
    /// An input is not there.
    #[error("input {path} is missing")]
    MissingInput {
        /// Its path.
        path: String,
    },
    /// An input has another length than the workunit says.
    #[error("input {path} has {found} bytes instead of {expected}")]
    InputSize {
        /// Its path.
        path: String,
        /// What the workunit says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Two inputs claim one place, or one lies below another.
    #[error("the inputs do not make a folder")]
    InputPaths,
    /// Somebody cancelled the run.
    #[error("the run was cancelled")]
    Cancelled,
    /// The run took longer than this host lets it.
    #[error("the run exceeded {limit:?} of this host's time")]
    WallClock {
        /// This host's limit.
        limit: Duration,
    },
    /// The native stack ended before the call depth did.
    #[error("the native stack is exhausted")]
    NativeStack,
    /// The host could not give the memory that the limits promise.
    #[error("the host has no memory for this run")]
    HostMemory,
    /// More exceptions were thrown than the host keeps.
    #[error("the exception heap is exhausted")]
    ExceptionHeap,
    /// The runs in progress already hold what this host set aside for guests.
    #[error("guests hold {held} of {budget} bytes and this one asks for {need}")]
    NoRoom {
        /// Bytes that runs in progress may use.
        held: u64,
        /// What this host sets aside.
        budget: u64,
        /// What this run asks for.
        need: u64,
    },
    /// All slots of this host's pool are taken: see [`Tuning::pool`].
    #[error("as many guests run already as this host has set memory aside for")]
    PoolTaken,
    /// The engine failed in a way that says nothing about the guest.
    #[error("the engine failed")]
    Engine(#[source] wasmtime::Error),
    /// The engine or the virtual world panicked: a bug of ours, not an outcome.
    #[error("the executor panicked")]
    Panicked,
}

/// Ends runs from outside: by hand, or after a while.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    limit: Option<Duration>,
}

impl Cancel {
    /// A token that ends a run only by hand.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that also ends a run after so much of this host's time.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self { flag: Arc::default(), limit: Some(limit) }
    }

    /// Ends every run that holds this token, now and later.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Whether somebody cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// How long a run in progress may still go on.
#[derive(Debug)]
pub(crate) struct Patience {
    cancel: Cancel,
    start: Instant,
}

impl Patience {
    pub(crate) fn new(cancel: Cancel) -> Self {
        Self { cancel, start: Instant::now() }
    }

    /// Fails once somebody cancelled or the time is up.
    pub(crate) fn check(&self) -> Result<(), Killed> {
        if self.cancel.is_cancelled() {
            return Err(Killed { limit: None });
        }
        match self.cancel.limit {
            Some(limit) if self.start.elapsed() >= limit => Err(Killed { limit: Some(limit) }),
            _ => Ok(()),
        }
    }
}

/// This host's patience ended.
#[derive(Debug, thiserror::Error)]
#[error("the run was ended from outside")]
pub(crate) struct Killed {
    limit: Option<Duration>,
}

impl From<&Killed> for ExecutorError {
    fn from(killed: &Killed) -> Self {
        killed.limit.map_or(Self::Cancelled, |limit| Self::WallClock { limit })
    }
}

/// A module that fits the profile, compiled for this machine. Cheap to clone.
#[derive(Clone)]
pub struct CompiledModule {
    pre: InstancePre<World>,
    facts: Arc<Facts>,
    profile: Profile,
}

impl std::fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledModule")
            .field("profile", &self.profile)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl CompiledModule {
    /// The profile that the module was checked against.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether the module starts at `_start`.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.facts.entries.contains_key("_start")
    }

    /// Fuel that the start itself costs: initial memory and data, by the byte.
    #[must_use]
    pub fn start_fuel(&self) -> u64 {
        self.facts.initial_memory.saturating_add(self.facts.data_bytes).div_ceil(BYTES_PER_FUEL)
    }
}

/// Compiles and runs modules under one profile. Cheap to clone; one a process.
#[derive(Clone)]
pub struct Engine {
    profile: Profile,
    /// For modules that need no heap for exceptions, which are nearly all.
    plain: Side,
    /// For the others.
    throwing: Side,
    budget: Arc<Budget>,
}

/// One configuration of the engine below, and the world's functions for it.
#[derive(Clone)]
struct Side {
    inner: wasmtime::Engine,
    linker: Arc<Linker<World>>,
}

impl Side {
    fn new(config: &Config) -> wasmtime::Result<Self> {
        let inner = wasmtime::Engine::new(config)?;
        let mut linker = Linker::new(&inner);
        abi::link(&mut linker)?;
        Ok(Self { inner, linker: Arc::new(linker) })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("profile", &self.profile).field("budget", &self.budget).finish_non_exhaustive()
    }
}

/// Linear memory that all runs together may use.
#[derive(Debug)]
struct Budget {
    bytes: u64,
    held: Mutex<u64>,
}

/// A part of the budget; given back when dropped.
struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    fn take(&self, bytes: u64) -> Result<Held<'_>, ExecutorError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let total = held.saturating_add(bytes);
        if total > self.bytes {
            return Err(ExecutorError::NoRoom { held: *held, budget: self.bytes, need: bytes });
        }
        *held = total;
        Ok(Held { budget: self, bytes })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_sub(self.bytes);
    }
}

impl Engine {
    /// An engine for a profile, whose runs together may use any amount of memory.
    ///
    /// # Errors
    /// [`ExecutorError::Engine`] on a machine that the engine cannot serve.
    pub fn new(profile: Profile) -> Result<Self, ExecutorError> {
        Self::with_memory_budget(profile, u64::MAX)
    }

    /// An engine whose runs together may use so many bytes of linear memory; a run
    /// that does not fit is [`ExecutorError::NoRoom`], before it starts.
    ///
    /// # Errors
    /// [`ExecutorError::Engine`] on a machine that the engine cannot serve.
    pub fn with_memory_budget(profile: Profile, bytes: u64) -> Result<Self, ExecutorError> {
        Self::tuned(profile, bytes, Tuning::default())
    }

    /// The same, run as this host wants it.
    ///
    /// # Errors
    /// [`ExecutorError::Engine`] on a machine that the engine cannot serve, or not so.
    pub fn tuned(profile: Profile, bytes: u64, tuning: Tuning) -> Result<Self, ExecutorError> {
        let side = |heap| tuning.config(profile, heap).and_then(|config| Side::new(&config));
        let (plain, throwing) =
            side(false).and_then(|plain| Ok((plain, side(true)?))).map_err(ExecutorError::Engine)?;
        Ok(Self { profile, plain, throwing, budget: Arc::new(Budget { bytes, held: Mutex::new(0) }) })
    }

    /// The profile that this engine serves.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Checks a module against the profile and compiles it.
    ///
    /// Work and memory are bounded by the profile's limits on modules, not by time; a
    /// node that compiles for strangers does it with [`Modules`](crate::Modules), in a
    /// process that it can end.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub fn compile(&self, bytes: &[u8]) -> Result<CompiledModule, Refused> {
        let prepared = prepare(self.profile, bytes)?;
        Module::from_binary(self.inner(&prepared.facts), &prepared.bytes)
            .and_then(|module| self.linked(&module, prepared.facts))
            .map_err(|error| {
                tracing::warn!(%error, "the compiler refuses a module that the profile admits");
                Refused::Compiler
            })
    }

    /// A module whose code is there already.
    pub(crate) fn linked(&self, module: &Module, facts: Facts) -> wasmtime::Result<CompiledModule> {
        let pre = self.side(&facts).linker.instantiate_pre(module)?;
        Ok(CompiledModule { pre, facts: Arc::new(facts), profile: self.profile })
    }

    fn side(&self, facts: &Facts) -> &Side {
        if facts.heap { &self.throwing } else { &self.plain }
    }

    /// What compiles and loads code of such a module.
    pub(crate) fn inner(&self, facts: &Facts) -> &wasmtime::Engine {
        &self.side(facts).inner
    }

    /// Runs a workunit to its end. Blocks; a run has a stack of its own that is large
    /// enough for the profile's call depth. A node has as many runs at once as it calls
    /// this from threads.
    ///
    /// The caller has compiled the module that the workunit names, and checked the
    /// inputs' bytes against their references (a [`Joiner`](symbolon_content::Joiner)
    /// does); paths and lengths are checked here.
    ///
    /// # Errors
    /// An [`ExecutorError`] whenever there is no outcome.
    ///
    /// # Safety of funds
    /// An error must never be committed to: another machine may well have an outcome.
    pub fn run(
        &self,
        module: &CompiledModule,
        unit: &Workunit,
        inputs: &Inputs,
        cancel: &Cancel,
    ) -> Result<Execution, ExecutorError> {
        self.profile.admits(unit)?;
        let mut entries = Vec::with_capacity(unit.inputs.len());
        for input in &unit.inputs {
            let bytes =
                inputs.get(&input.path).ok_or_else(|| ExecutorError::MissingInput { path: input.path.clone() })?;
            if bytes.len() as u64 != input.size {
                return Err(ExecutorError::InputSize {
                    path: input.path.clone(),
                    expected: input.size,
                    found: bytes.len() as u64,
                });
            }
            entries.push(Loaded::File(input.path.clone().into_bytes(), Arc::clone(bytes)));
        }
        let spec = Spec {
            level: unit.level,
            args: unit.args.iter().map(|arg| arg.clone().into_bytes()).collect(),
            env: unit.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect(),
            stdin: Arc::from(&[][..]),
            preopens: vec![Preopen { name: "/".to_owned(), entries, writable: false }],
            limits: unit.limits,
            max_fuel: unit.max_fuel,
            table_elements: MAX_TABLE_ELEMENTS,
            random_key: *unit.id(self.profile.id()).as_bytes(),
        };
        let (mut execution, mut world) = self.run_world(module, spec, cancel)?;
        if let Outcome::Exited { .. } = execution.outcome {
            execution.outputs = world.fs.outputs();
        }
        Ok(execution)
    }

    /// Runs a module in a world and hands the world back.
    fn run_world(
        &self,
        module: &CompiledModule,
        spec: Spec,
        cancel: &Cancel,
    ) -> Result<(Execution, World), ExecutorError> {
        self.run_world_noting(module, spec, cancel, |_| {})
    }

    /// The same, after a look at the world as it is before the run.
    pub(crate) fn run_world_noting(
        &self,
        module: &CompiledModule,
        spec: Spec,
        cancel: &Cancel,
        note: impl FnOnce(&World),
    ) -> Result<(Execution, World), ExecutorError> {
        let _held = self.budget.take(spec.limits.memory_bytes)?;
        let memory_bytes = spec.limits.memory_bytes;
        let max_fuel = spec.max_fuel;
        let level = spec.level;
        let world = World::new(spec).map_err(|_| ExecutorError::InputPaths)?;
        note(&world);
        let facts = &module.facts;

        // What needs no machine to know.
        let early = if facts.initial_memory > memory_bytes {
            Some(Outcome::Trapped { kind: TrapKind::InitialLimits })
        } else if !has_entry(facts, level) {
            Some(Outcome::Trapped { kind: TrapKind::NoEntry })
        } else if module.start_fuel() >= max_fuel {
            Some(Outcome::OutOfFuel)
        } else {
            None
        };
        if let Some(outcome) = early {
            return Ok(finish(world, outcome, max_fuel));
        }
        let mut store = Store::new(self.inner(facts), world);
        let end = poll_to_end(&mut store, module, level, cancel)?;
        let left = store.get_fuel().map_err(ExecutorError::Engine)?;
        store.data_mut().burned = max_fuel.saturating_sub(left);
        let outcome = match end {
            // However it came: a run that ends with nothing left ran dry (SYM-31).
            Ok(_) if left == 0 => Outcome::OutOfFuel,
            Ok(outcome) => outcome,
            Err(error) => return Err(error),
        };
        let fuel = match outcome {
            Outcome::Exited { .. } => max_fuel.saturating_sub(left),
            _ => max_fuel,
        };
        Ok(finish(store.into_data(), outcome, fuel))
    }
}

/// Drives a run on this thread, on a stack of its own that is large enough for the
/// profile's call depth, and looks after every slice of fuel whether it may go on.
fn poll_to_end(
    store: &mut Store<World>,
    module: &CompiledModule,
    level: Level,
    cancel: &Cancel,
) -> Result<Result<Outcome, ExecutorError>, ExecutorError> {
    let patience = Patience::new(cancel.clone());
    patience.check().map_err(|killed| ExecutorError::from(&killed))?;
    store.data_mut().patience = Some(Patience::new(cancel.clone()));
    let run = AssertUnwindSafe(|| {
        let mut run = pin!(drive(store, module, level));
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(end) = run.as_mut().poll(&mut context) {
                return Ok(end);
            }
            // A run that is dropped here is unwound on its own stack.
            patience.check().map_err(|killed| ExecutorError::from(&killed))?;
        }
    });
    // Whoever panicked is not asked again: the store goes with it.
    catch_unwind(run).map_err(|_| ExecutorError::Panicked)?
}

fn has_entry(facts: &Facts, level: Level) -> bool {
    match level {
        Level::Command => facts.entries.get("_start") == Some(&(0, 0)),
        Level::Compute => matches!(facts.entries.get("compute"), Some((2, 0 | 1))),
    }
}

fn finish(world: World, outcome: Outcome, fuel: u64) -> (Execution, World) {
    let mut world = world;
    let execution = Execution {
        outcome,
        fuel,
        stdout: std::mem::take(&mut world.stdout),
        stderr: std::mem::take(&mut world.stderr),
        outputs: BTreeMap::new(),
        virtual_time_ns: world.elapsed(),
        peak_memory_bytes: world.limiter.peak(),
    };
    (execution, world)
}

/// Instantiates and calls what the level starts with.
async fn drive(store: &mut Store<World>, module: &CompiledModule, level: Level) -> Result<Outcome, ExecutorError> {
    let max_fuel = store.data().max_fuel;
    let facts = &module.facts;
    store.fuel_async_yield_interval(Some(SLICE_FUEL)).map_err(ExecutorError::Engine)?;
    // The engine charges for what instantiation does in its own way; the profile has
    // its own price for that, taken below.
    store.set_fuel(u64::MAX >> 1).map_err(ExecutorError::Engine)?;
    if facts.heap {
        // It comes first, past the limiter: it is no memory of the guest.
        ExternRef::new(&mut *store, ()).map_err(|_| ExecutorError::HostMemory)?;
    }
    store.limiter(|world| &mut world.limiter);
    let instance = match module.pre.instantiate_async(&mut *store).await {
        Ok(instance) => instance,
        Err(error) => {
            store.set_fuel(1).map_err(ExecutorError::Engine)?;
            return classify(error, || 0);
        }
    };
    let left = max_fuel.saturating_sub(module.start_fuel());
    store.set_fuel(left).map_err(ExecutorError::Engine)?;
    store.data_mut().memory = instance.get_memory(&mut *store, "memory");

    let mut calls: Vec<(&str, Vec<Val>, usize)> = Vec::new();
    if let Some(start) = &facts.start_export {
        calls.push((start, Vec::new(), 0));
    }
    match level {
        Level::Command => calls.push(("_start", Vec::new(), 0)),
        Level::Compute => {
            if facts.entries.get("_initialize") == Some(&(0, 0)) {
                calls.push(("_initialize", Vec::new(), 0));
            }
            let streams = [crate::world::COMPUTE_IN, crate::world::COMPUTE_OUT];
            let streams = streams.map(|fd| Val::I32(fd.cast_signed())).to_vec();
            let results = facts.entries.get("compute").map_or(0, |shape| shape.1);
            calls.push(("compute", streams, results));
        }
    }
    let mut code = 0u32;
    for (name, arguments, results) in calls {
        let Some(function) = instance.get_func(&mut *store, name) else {
            return Ok(Outcome::Trapped { kind: TrapKind::NoEntry });
        };
        let mut returned = vec![Val::I32(0); results];
        if let Err(error) = function.call_async(&mut *store, &arguments, &mut returned).await {
            let left = instance.get_global(&mut *store, &facts.depth_export).map(|global| global.get(&mut *store));
            return classify(error, || left.and_then(|left| left.i32()).unwrap_or(0));
        }
        if let Some(Val::I32(value)) = returned.first() {
            code = value.cast_unsigned();
        }
    }
    Ok(Outcome::Exited { code })
}

/// What an error of the engine says about the run: an outcome, or nothing.
fn classify(error: wasmtime::Error, depth_left: impl FnOnce() -> i32) -> Result<Outcome, ExecutorError> {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return Ok(Outcome::Exited { code: exit.code });
    }
    if let Some(killed) = error.downcast_ref::<Killed>() {
        return Err(killed.into());
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Err(ExecutorError::PoolTaken);
    }
    if error.is::<HostExhausted>() {
        return Err(ExecutorError::HostMemory);
    }
    let trapped = |kind| Ok(Outcome::Trapped { kind });
    if error.is::<Forbidden>() {
        return trapped(TrapKind::Forbidden);
    }
    if error.is::<wasmtime::ThrownException>() {
        return trapped(TrapKind::UncaughtException);
    }
    if error.is::<wasmtime::GcHeapOutOfMemory<()>>() {
        return Err(ExecutorError::ExceptionHeap);
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return Err(ExecutorError::Engine(error));
    };
    match trap {
        Trap::OutOfFuel => Ok(Outcome::OutOfFuel),
        Trap::UnreachableCodeReached => trapped(match depth_left() {
            UNALIGNED => TrapKind::UnalignedAtomic,
            WAITED => TrapKind::AtomicWait,
            left if left < 0 => TrapKind::CallDepth,
            _ => TrapKind::Unreachable,
        }),
        Trap::MemoryOutOfBounds => trapped(TrapKind::MemoryOutOfBounds),
        Trap::TableOutOfBounds => trapped(TrapKind::TableOutOfBounds),
        Trap::IndirectCallToNull => trapped(TrapKind::IndirectCallToNull),
        Trap::BadSignature => trapped(TrapKind::BadSignature),
        Trap::IntegerOverflow => trapped(TrapKind::IntegerOverflow),
        Trap::IntegerDivisionByZero => trapped(TrapKind::IntegerDivisionByZero),
        Trap::BadConversionToInteger => trapped(TrapKind::BadConversionToInteger),
        Trap::NullReference => trapped(TrapKind::NullReference),
        Trap::StackOverflow => Err(ExecutorError::NativeStack),
        // Without array types only an exception can be what found no room.
        Trap::AllocationTooLarge => Err(ExecutorError::ExceptionHeap),
        _ => Err(ExecutorError::Engine(error)),
    }
}
