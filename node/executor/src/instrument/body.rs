//! Functions: looked at once, and written again with what is counted and what is made canonical.

use super::encode::{
    BLOCK, BR, EMPTY, END, GLOBAL_GET, GLOBAL_SET, I32_CONST, I32_LT_S, I32_SUB, IF, LOCAL_GET, LOCAL_TEE, UNREACHABLE,
    put_i32, put_i32_const, put_op, put_u32, to_u32, val_type,
};
use super::floats::{Fix, Floats};
use super::{Pass, Stop, bounded, bounded_in};
use super::{atomics, atomics::Places};
use crate::profile::{
    FRAME_BASE, LEAF_FREE, MAX_BRANCHES, MAX_LOCALS, MAX_LOCALS_TIMES_BRANCHES, MAX_LOOP_NESTING, MAX_LOOPS,
    MAX_NESTING, MAX_WRITTEN_BYTES, MAX_WRITTEN_FUNCTION_BYTES, OPS_PER_DEPTH,
};
use crate::refuse::Refused;
use wasmparser::{FuncType, FunctionBody, Operator, ValType, WasmModuleResources};

impl Pass {
    /// Validates a function and appends what is compiled in its stead.
    pub(super) fn function<T: WasmModuleResources>(
        &mut self,
        mut validator: wasmparser::FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Stop> {
        let index = validator.index();
        let mut reader = body.get_binary_reader();
        reader.set_features(*self.validator.features());
        validator.read_locals(&mut reader)?;
        bounded_in(index, "locals", validator.len_locals(), MAX_LOCALS)?;

        let start = body.range().start;
        let mut operators = body.get_operators_reader()?;
        let mut scan = Scan::default();
        let mut floats = Floats::default();
        while !operators.eof() {
            let at = operators.original_position();
            let operator = operators.read()?;
            let before = Floats::before(&validator, &operator);
            validator.op(at, &operator)?;
            scan.note(at, &operator);
            let end = operators.original_position();
            if body.as_bytes().get(at.saturating_sub(start)) == Some(&atomics::PREFIX) {
                scan.atomics = true;
                scan.marks.push(Mark { at, what: What::Atomic { end } });
            }
            scan.bounded(index)?;
            scan.height = scan.height.max(validator.operand_stack_height());
            floats.note(before, &validator, &operator, end.saturating_sub(start));
        }
        operators.finish()?;
        let locals = validator.len_locals();
        let product = u64::from(locals).saturating_mul(u64::from(scan.branches));
        if product > MAX_LOCALS_TIMES_BRANCHES {
            let (what, max) = ("locals times branches", MAX_LOCALS_TIMES_BRANCHES);
            return Err(Refused::Function { function: index, what, count: product, max }.into());
        }
        let ty =
            usize::try_from(index).ok().and_then(|at| self.functions.get(at)).and_then(|ty| self.type_at(*ty)).cloned();
        self.allocations = validator.into_allocations();
        self.bodies = self.bodies.saturating_add(1);

        let cost = FRAME_BASE
            .saturating_add(locals)
            .saturating_add(scan.height)
            .saturating_add(scan.operators / OPS_PER_DEPTH);
        let fixes = floats.fixes(ty.as_ref().map_or(0, |ty| ty.params().len()), locals);
        let counted = ty.filter(|_| scan.calls || cost > LEAF_FREE).map(|ty| (ty, cost));
        if counted.is_none() && fixes.is_empty() && !scan.atomics {
            put_u32(&mut self.code, to_u32(body.as_bytes().len()));
            self.code.extend_from_slice(body.as_bytes());
            return Ok(());
        }
        let written = self.rewrite(body, &scan, &fixes, locals, counted)?;
        bounded_in(index, "bytes to compile", to_u32(written.len()), MAX_WRITTEN_FUNCTION_BYTES)?;
        put_u32(&mut self.code, to_u32(written.len()));
        self.code.extend_from_slice(&written);
        bounded("bytes to compile", to_u32(self.code.len()), MAX_WRITTEN_BYTES)?;
        Ok(())
    }

    fn rewrite(
        &mut self,
        body: &FunctionBody<'_>,
        scan: &Scan,
        fixes: &[Fix],
        locals: u32,
        counted: Option<(FuncType, u32)>,
    ) -> Result<Vec<u8>, Stop> {
        let left = self.globals;
        let counts = counted.is_some();
        let catches = counts && scan.catches;
        let cost = counted.as_ref().map_or(0, |(_, cost)| i32::try_from(*cost).unwrap_or(i32::MAX));
        let all = body.as_bytes();
        let start = body.range().start;
        let slice =
            |from: usize, to: usize| all.get(from.saturating_sub(start)..to.saturating_sub(start)).unwrap_or(&[]);
        let mut out = Vec::with_capacity(all.len().saturating_add(48));

        // Locals: the guest's, one for what was left of the depth before, one for each type that is made canonical, and
        // those of atomic operators.
        let mut more = Vec::new();
        if counts {
            more.push(ValType::I32);
        }
        for fix in fixes {
            if !more.contains(&fix.lanes.scratch()) {
                more.push(fix.lanes.scratch());
            }
        }
        let saved = locals;
        let scratch = |fix: &Fix| {
            let at = more.iter().position(|ty| *ty == fix.lanes.scratch());
            locals.saturating_add(to_u32(at.unwrap_or(0)))
        };
        let mut reader = body.get_locals_reader()?;
        let groups = reader.get_count();
        let first = reader.original_position();
        for _ in 0..groups {
            reader.read()?;
        }
        let code = reader.original_position();
        let for_atomics = atomics::SCRATCH.iter().filter(|_| scan.atomics);
        put_u32(
            &mut out,
            groups.saturating_add(to_u32(more.len())).saturating_add(to_u32(for_atomics.clone().count())),
        );
        out.extend_from_slice(slice(first, code));
        for ty in &more {
            out.extend_from_slice(&[1, val_type(*ty)?]);
        }
        for (count, ty) in for_atomics {
            put_u32(&mut out, *count);
            out.push(*ty);
        }
        let places = Places { scratch: locals.saturating_add(to_u32(more.len())), left };

        if let Some((ty, _)) = &counted {
            put_op(&mut out, GLOBAL_GET, left);
            put_op(&mut out, LOCAL_TEE, saved);
            put_i32_const(&mut out, cost);
            out.push(I32_SUB);
            put_op(&mut out, GLOBAL_SET, left);
            put_op(&mut out, GLOBAL_GET, left);
            out.extend_from_slice(&[I32_CONST, 0, I32_LT_S, IF, EMPTY, UNREACHABLE, END]);
            out.push(BLOCK);
            self.block_type(&mut out, ty)?;
        }
        let give_back = |out: &mut Vec<u8>| {
            put_op(out, LOCAL_GET, saved);
            put_op(out, GLOBAL_SET, left);
        };
        let restore = |out: &mut Vec<u8>| {
            put_op(out, LOCAL_GET, saved);
            put_i32_const(out, cost);
            out.push(I32_SUB);
            put_op(out, GLOBAL_SET, left);
        };

        let mut copied = code;
        let mut fixes = fixes.iter().peekable();
        // What a value is made canonical for comes after that.
        let mut fix_up_to = |out: &mut Vec<u8>, copied: &mut usize, to: usize| {
            while let Some(fix) = fixes.next_if(|fix| fix.at.saturating_add(start) <= to) {
                let at = fix.at.saturating_add(start);
                out.extend_from_slice(slice(*copied, at));
                fix.write(out, scratch(fix));
                *copied = at;
            }
            out.extend_from_slice(slice(*copied, to));
            *copied = to;
        };
        for mark in &scan.marks {
            match mark.what {
                What::Atomic { end } => {
                    fix_up_to(&mut out, &mut copied, mark.at);
                    // Whatever it is, it was validated: there is nothing else to write.
                    let _ = atomics::write(&mut out, slice(mark.at, end), places);
                    copied = end;
                }
                What::Return { nesting } if counts => {
                    fix_up_to(&mut out, &mut copied, mark.at);
                    put_op(&mut out, BR, nesting);
                    copied = mark.at.saturating_add(1);
                }
                What::TailCall if counts => {
                    fix_up_to(&mut out, &mut copied, mark.at);
                    give_back(&mut out);
                }
                What::Label if catches => {
                    fix_up_to(&mut out, &mut copied, mark.at);
                    restore(&mut out);
                }
                What::Return { .. } | What::TailCall | What::Label => {}
            }
        }
        // The rest, with the body's own `end`, which now ends the block.
        fix_up_to(&mut out, &mut copied, body.range().end);
        if counts {
            give_back(&mut out);
            out.push(END);
        }
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
}

/// What a first look at a body found.
#[derive(Default)]
struct Scan {
    operators: u32,
    height: u32,
    nesting: u32,
    /// Loops, conditions and handlers that are open: at which nesting they began.
    open: Vec<u32>,
    loops: u32,
    branches: u32,
    calls: bool,
    catches: bool,
    atomics: bool,
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
    /// An atomic operator, up to its end.
    Atomic { end: usize },
}

impl Scan {
    /// Holds what was seen so far to the profile's bounds.
    fn bounded(&self, function: u32) -> Result<(), Refused> {
        bounded_in(function, "nested blocks", self.nesting, MAX_NESTING)?;
        bounded_in(function, "nested loops, conditions and handlers", to_u32(self.open.len()), MAX_LOOP_NESTING)?;
        bounded_in(function, "loops and handlers", self.loops, MAX_LOOPS)?;
        bounded_in(function, "branches", self.branches, MAX_BRANCHES)
    }

    /// A block opens; the costly ones are counted.
    fn enter(&mut self, costly: bool, loops: bool) {
        self.nesting = self.nesting.saturating_add(1);
        if costly {
            self.open.push(self.nesting);
            self.branches = self.branches.saturating_add(1);
            self.loops = self.loops.saturating_add(u32::from(loops));
        }
    }

    fn note(&mut self, at: usize, operator: &Operator<'_>) {
        self.operators = self.operators.saturating_add(1);
        if std::mem::take(&mut self.label) {
            self.marks.push(Mark { at, what: What::Label });
        }
        match operator {
            Operator::Block { .. } => self.enter(false, false),
            Operator::If { .. } => self.enter(true, false),
            Operator::Loop { .. } => {
                self.enter(true, true);
                self.label = true;
            }
            Operator::TryTable { .. } => {
                self.enter(true, true);
                self.catches = true;
            }
            Operator::BrIf { .. } => self.branches = self.branches.saturating_add(1),
            Operator::BrTable { targets } => self.branches = self.branches.saturating_add(targets.len()),
            Operator::End => {
                self.open.pop_if(|began| *began == self.nesting);
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
