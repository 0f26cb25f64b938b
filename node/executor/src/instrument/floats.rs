//! Where a computed NaN is made canonical.
//!
//! What an arithmetic operator says about the sign and the payload of a NaN is left to the processor. The rule
//! of the profile is that each such NaN is the positive canonical one; what is only moved (loaded, constant,
//! reinterpreted, an argument) keeps its bits, and `abs`, `neg` and `copysign` do to the sign what they always
//! do. To write that down behind every operator costs up to half of a program's time, and is mostly for nothing:
//! other arithmetic, comparisons and conversions to integers cannot tell one NaN from another. So a function is
//! looked at once more, and a value is made canonical where it comes from if, and only if, its bits may be seen
//! where it goes: stored, reinterpreted, asked for its sign, passed, returned, thrown, or carried over a label
//! on the operand stack.
//!
//! ```text
//! f64.add                  f64.mul
//! f64.sqrt                 local.tee t  f64.const nan  local.get t  local.get t  f64.eq  select
//! i32.trunc_sat_f64_s      f64.store
//! ```
//!
//! **Locals** have no order here: a local is of one [`Class`] in the whole function. It is loose if nobody sees
//! the bits of what is read from it, or if all that it is ever set to was computed; then it holds what the
//! processor gave, and reading it counts as computing it. Else what is set is fixed before, since loaded bits
//! that share a local with computed ones must not change. Classes only ever move from loose to fixed, until
//! nothing moves; a function that takes too long over it has no loose locals.
//!
//! **Vectors** are made canonical behind each of their operators.
//!
//! Everything that this pass does not know takes its operands as seen. Code that is never reached is left as
//! it is.

use super::encode::{
    F32_CONST, F32_EQ, F32X4_EQ, F64_CONST, F64_EQ, F64X2_EQ, LOCAL_GET, LOCAL_TEE, SELECT, V128_BITSELECT, V128_CONST,
    put_op,
};
use wasmparser::{FuncValidator, Operator, ValType, WasmModuleResources};

/// Times that a function's locals are looked at before all of them are fixed.
const ROUNDS: usize = 8;

/// The NaNs that computed ones become.
const CANONICAL_32: u32 = 0x7fc0_0000;
const CANONICAL_64: u64 = 0x7ff8_0000_0000_0000;

/// What is made canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Lanes {
    /// The type of a local that holds it for a moment.
    pub(super) fn scratch(self) -> ValType {
        match self {
            Self::F32 => ValType::F32,
            Self::F64 => ValType::F64,
            Self::F32x4 | Self::F64x2 => ValType::V128,
        }
    }

    fn of(ty: ValType) -> Option<Self> {
        match ty {
            ValType::F32 => Some(Self::F32),
            ValType::F64 => Some(Self::F64),
            _ => None,
        }
    }
}

/// A value to be made canonical, on top of the operand stack at a place in a function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fix {
    /// Bytes from the start of the function's body.
    pub(super) at: usize,
    pub(super) lanes: Lanes,
    /// Whether it is the negative of what was computed.
    pub(super) negative: bool,
}

impl Fix {
    /// Writes the operators, with the number of a local to use.
    pub(super) fn write(self, out: &mut Vec<u8>, scratch: u32) {
        put_op(out, LOCAL_TEE, scratch);
        let single = (CANONICAL_32 | u32::from(self.negative) << 31).to_le_bytes();
        let double = (CANONICAL_64 | u64::from(self.negative) << 63).to_le_bytes();
        match self.lanes {
            Lanes::F32 => {
                out.push(F32_CONST);
                out.extend_from_slice(&single);
            }
            Lanes::F64 => {
                out.push(F64_CONST);
                out.extend_from_slice(&double);
            }
            Lanes::F32x4 => {
                out.extend_from_slice(&V128_CONST);
                out.extend_from_slice(&single.repeat(4));
            }
            Lanes::F64x2 => {
                out.extend_from_slice(&V128_CONST);
                out.extend_from_slice(&double.repeat(2));
            }
        }
        put_op(out, LOCAL_GET, scratch);
        put_op(out, LOCAL_GET, scratch);
        match self.lanes {
            Lanes::F32 => out.extend_from_slice(&[F32_EQ, SELECT]),
            Lanes::F64 => out.extend_from_slice(&[F64_EQ, SELECT]),
            Lanes::F32x4 => out.extend_from_slice(&[F32X4_EQ, V128_BITSELECT].concat()),
            Lanes::F64x2 => out.extend_from_slice(&[F64X2_EQ, V128_BITSELECT].concat()),
        }
    }
}

/// What an operator does to the bits of its operands.
#[derive(Debug, Clone, Copy)]
enum What {
    /// Sees so many operands; the operand stack then has this height, what is new of bits that count.
    Sees {
        takes: u32,
        height: u32,
    },
    /// Cannot tell one NaN from another, and leaves so many values that are no floats.
    Compares {
        takes: u8,
        leaves: u8,
    },
    /// Cannot tell one NaN from another, and computes.
    Computes {
        takes: u8,
        lanes: Lanes,
    },
    /// Leaves a number, or the canonical NaN.
    Numbers {
        takes: u8,
    },
    Negates(Lanes),
    Absolutes(Lanes),
    Selects(Lanes),
    Gets(u32, Lanes),
    Sets(u32),
    Tees(u32),
    /// Computes a vector.
    Vectors {
        takes: u8,
        lanes: Lanes,
    },
}

/// One operator.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: What,
    /// Where its result can be made canonical: the position behind it.
    behind: u32,
}

/// The operators of a function, as far as floats are concerned.
#[derive(Debug, Default)]
pub(super) struct Floats {
    steps: Vec<Step>,
    computes: bool,
}

/// What must be known about an operator before it is validated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    reachable: bool,
    takes: Option<u32>,
}

/// Operators by what they do, with their operands.
macro_rules! group {
    ($operator:expr, $($name:ident)|+) => { matches!($operator, $(Operator::$name)|+) };
}

impl Floats {
    /// Looks at an operator that comes next.
    pub(super) fn before<T: WasmModuleResources>(validator: &FuncValidator<T>, operator: &Operator<'_>) -> Before {
        let reachable = validator.get_control_frame(0).is_some_and(|frame| !frame.unreachable);
        let takes = if reachable { operator.operator_arity(validator).map(|(takes, _)| takes) } else { Some(0) };
        Before { reachable, takes }
    }

    /// Notes an operator that is valid, and the position behind it.
    pub(super) fn note<T: WasmModuleResources>(
        &mut self,
        before: Before,
        validator: &FuncValidator<T>,
        operator: &Operator<'_>,
        behind: usize,
    ) {
        let height = validator.operand_stack_height();
        // A number of operands that is not known: all that there are.
        let sees = What::Sees { takes: before.takes.unwrap_or(u32::MAX), height };
        let what = if before.reachable { known(validator, operator).unwrap_or(sees) } else { sees };
        self.computes |= matches!(what, What::Computes { .. } | What::Vectors { .. });
        self.steps.push(Step { what, behind: u32::try_from(behind).unwrap_or(u32::MAX) });
    }

    /// What is to be made canonical, in the order of the places.
    pub(super) fn fixes(&self, parameters: usize, locals: u32) -> Vec<Fix> {
        if !self.computes {
            return Vec::new();
        }
        let mut analysis = Analysis { locals: vec![Local::default(); locals as usize], ..Analysis::default() };
        for local in analysis.locals.iter_mut().take(parameters) {
            local.keeps = true;
        }
        analysis.solve(&self.steps);
        analysis.nodes.iter().filter(|node| node.seen).filter_map(|node| node.fix).collect()
    }
}

/// What is known of an operator in code that is reached; nothing for one that may see all of its operands.
fn known<T: WasmModuleResources>(validator: &FuncValidator<T>, operator: &Operator<'_>) -> Option<What> {
    use Lanes::{F32, F32x4, F64, F64x2};
    let computes = |takes, lanes| Some(What::Computes { takes, lanes });
    let vectors = |takes, lanes| Some(What::Vectors { takes, lanes });
    let top = || validator.get_operand_type(0).flatten().and_then(Lanes::of);
    let local = |index| validator.get_local_type(index).and_then(Lanes::of);
    match operator {
        op if group!(op, F32Add | F32Sub | F32Mul | F32Div | F32Min | F32Max) => computes(2, F32),
        op if group!(op, F64Add | F64Sub | F64Mul | F64Div | F64Min | F64Max) => computes(2, F64),
        op if group!(op, F32Sqrt | F32Ceil | F32Floor | F32Trunc | F32Nearest | F32DemoteF64) => computes(1, F32),
        op if group!(op, F64Sqrt | F64Ceil | F64Floor | F64Trunc | F64Nearest | F64PromoteF32) => computes(1, F64),
        op if group!(
            op,
            F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge | F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge
        ) =>
        {
            Some(What::Compares { takes: 2, leaves: 1 })
        }
        // They trap, or give zero.
        op if group!(
            op,
            I32TruncF32S
                | I32TruncF32U
                | I32TruncF64S
                | I32TruncF64U
                | I64TruncF32S
                | I64TruncF32U
                | I64TruncF64S
                | I64TruncF64U
                | I32TruncSatF32S
                | I32TruncSatF32U
                | I32TruncSatF64S
                | I32TruncSatF64U
                | I64TruncSatF32S
                | I64TruncSatF32U
                | I64TruncSatF64S
                | I64TruncSatF64U
        ) =>
        {
            Some(What::Compares { takes: 1, leaves: 1 })
        }
        Operator::Drop => Some(What::Compares { takes: 1, leaves: 0 }),
        op if group!(
            op,
            F32ConvertI32S
                | F32ConvertI32U
                | F32ConvertI64S
                | F32ConvertI64U
                | F64ConvertI32S
                | F64ConvertI32U
                | F64ConvertI64S
                | F64ConvertI64U
        ) =>
        {
            Some(What::Numbers { takes: 1 })
        }
        Operator::F32Const { value } if !f32::from_bits(value.bits()).is_nan() || value.bits() == CANONICAL_32 => {
            Some(What::Numbers { takes: 0 })
        }
        Operator::F64Const { value } if !f64::from_bits(value.bits()).is_nan() || value.bits() == CANONICAL_64 => {
            Some(What::Numbers { takes: 0 })
        }
        Operator::F32Neg => Some(What::Negates(F32)),
        Operator::F64Neg => Some(What::Negates(F64)),
        Operator::F32Abs => Some(What::Absolutes(F32)),
        Operator::F64Abs => Some(What::Absolutes(F64)),
        Operator::Select | Operator::TypedSelect { .. } => top().map(What::Selects),
        Operator::LocalGet { local_index } => local(*local_index).map(|lanes| What::Gets(*local_index, lanes)),
        Operator::LocalSet { local_index } => local(*local_index).map(|_| What::Sets(*local_index)),
        Operator::LocalTee { local_index } => local(*local_index).map(|_| What::Tees(*local_index)),
        op if group!(
            op,
            F32x4Add | F32x4Sub | F32x4Mul | F32x4Div | F32x4Min | F32x4Max | F32x4RelaxedMin | F32x4RelaxedMax
        ) =>
        {
            vectors(2, F32x4)
        }
        op if group!(
            op,
            F64x2Add | F64x2Sub | F64x2Mul | F64x2Div | F64x2Min | F64x2Max | F64x2RelaxedMin | F64x2RelaxedMax
        ) =>
        {
            vectors(2, F64x2)
        }
        op if group!(op, F32x4Sqrt | F32x4Ceil | F32x4Floor | F32x4Trunc | F32x4Nearest | F32x4DemoteF64x2Zero) => {
            vectors(1, F32x4)
        }
        op if group!(op, F64x2Sqrt | F64x2Ceil | F64x2Floor | F64x2Trunc | F64x2Nearest | F64x2PromoteLowF32x4) => {
            vectors(1, F64x2)
        }
        op if group!(op, F32x4RelaxedMadd | F32x4RelaxedNmadd) => vectors(3, F32x4),
        op if group!(op, F64x2RelaxedMadd | F64x2RelaxedNmadd) => vectors(3, F64x2),
        _ => None,
    }
}

/// What is known of the bits of a value on the operand stack.
#[derive(Debug, Clone, Copy)]
enum Bits {
    /// Fixed, and no business of ours; also everything that is no float.
    Kept,
    /// Fixed; a NaN among them is the positive canonical one.
    Canonical,
    /// Not fixed: a node.
    Open(u32),
}

/// A value whose bits are not fixed unless somebody fixes them.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// How to fix them; nothing where that is for the sources to do.
    fix: Option<Fix>,
    /// Whether some of its bits are not to be lost: making it canonical is no way to fix it.
    keeps: bool,
    /// The local that it was read from.
    local: Option<u32>,
    /// What it was made from by moving bits.
    sources: [Option<u32>; 2],
    /// Whether somebody sees the bits.
    seen: bool,
}

/// How a local is treated in the whole function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Class {
    /// It holds what the processor gave; what is read from it is open.
    #[default]
    Loose,
    /// What is set is fixed before, so that what is read need not be: it is read more often than set.
    Canonical,
    /// The same, for a local that also holds bits that are not to be lost.
    Fixed,
}

#[derive(Debug, Clone, Copy, Default)]
struct Local {
    class: Class,
    /// It is set to bits that are not to be lost.
    keeps: bool,
    /// How often what is read from it is seen, and how often it is set to what is open.
    seen: u32,
    set: u32,
}

#[derive(Debug, Default)]
struct Analysis {
    locals: Vec<Local>,
    stack: Vec<Bits>,
    nodes: Vec<Node>,
    /// A walk found a local that holds bits that are not to be lost: what was read from it before counted as less.
    grown: bool,
    /// Nodes that are about to be seen.
    next: Vec<u32>,
}

impl Analysis {
    fn solve(&mut self, steps: &[Step]) {
        let mut settled = false;
        for _ in 0..ROUNDS {
            self.grown = false;
            self.walk(steps);
            settled = !self.grown;
            for local in &mut self.locals {
                if local.class == Class::Loose && local.keeps && local.seen > 0 {
                    local.class = Class::Fixed;
                    settled = false;
                }
            }
            if settled {
                break;
            }
        }
        for local in &mut self.locals {
            if local.class == Class::Loose && !settled {
                local.class = Class::Fixed;
            } else if local.class == Class::Loose && local.seen > local.set {
                local.class = Class::Canonical;
            }
        }
        self.walk(steps);
    }

    /// Goes over the function once, with the classes that locals have.
    fn walk(&mut self, steps: &[Step]) {
        self.stack.clear();
        self.nodes.clear();
        for local in &mut self.locals {
            (local.seen, local.set) = (0, 0);
        }
        for step in steps {
            self.step(*step);
        }
    }

    fn step(&mut self, Step { what, behind }: Step) {
        let fix = |lanes, negative| Some(Fix { at: behind as usize, lanes, negative });
        match what {
            What::Sees { takes, height } => {
                for _ in 0..takes {
                    let Some(bits) = self.stack.pop() else { break };
                    self.see(bits);
                }
                self.stack.resize(height as usize, Bits::Kept);
            }
            What::Compares { takes, leaves } => {
                self.take(takes);
                self.stack.extend((0..leaves).map(|_| Bits::Kept));
            }
            What::Computes { takes, lanes } => {
                self.take(takes);
                self.open(fix(lanes, false), false, None, [None; 2]);
            }
            What::Numbers { takes } => {
                self.take(takes);
                self.stack.push(Bits::Canonical);
            }
            What::Negates(lanes) => match self.pop() {
                (_, Some((source, node))) => {
                    let own = node.fix.and_then(|under| fix(lanes, !under.negative));
                    self.open(own, node.keeps, None, [Some(source), None]);
                }
                _ => self.stack.push(Bits::Kept),
            },
            What::Absolutes(lanes) => match self.pop() {
                (_, Some((source, node))) => {
                    let own = node.fix.and_then(|_| fix(lanes, false));
                    self.open(own, node.keeps, None, [Some(source), None]);
                }
                (bits, None) => self.stack.push(bits),
            },
            What::Selects(lanes) => {
                self.take(1);
                let (second, first) = (self.pop(), self.pop());
                // The sign that a canonical NaN would have to have, where there is only one.
                let sign = |(bits, node): (Bits, Option<(u32, Node)>)| match (bits, node) {
                    (Bits::Canonical, _) => Some(false),
                    (_, Some((_, node))) => node.fix.map(|fix| fix.negative),
                    _ => None,
                };
                let own = sign(first).filter(|own| sign(second) == Some(*own));
                match (first, second) {
                    ((Bits::Canonical, _), (Bits::Canonical, _)) => self.stack.push(Bits::Canonical),
                    ((_, None), (_, None)) => self.stack.push(Bits::Kept),
                    ((_, one), (_, other)) => {
                        let keeps = own.is_none() || [one, other].iter().flatten().any(|(_, node)| node.keeps);
                        let sources = [one, other].map(|source| source.map(|(at, _)| at));
                        self.open(own.and_then(|negative| fix(lanes, negative)), keeps, None, sources);
                    }
                }
            }
            What::Gets(index, lanes) => match self.local(index) {
                Local { class: Class::Loose, keeps, .. } => {
                    self.open(fix(lanes, false), keeps, Some(index), [None; 2]);
                }
                Local { class: Class::Canonical, .. } => self.stack.push(Bits::Canonical),
                Local { class: Class::Fixed, .. } => self.stack.push(Bits::Kept),
            },
            What::Sets(index) => {
                self.set(index);
            }
            What::Tees(index) => {
                let left = self.set(index);
                self.stack.push(left);
            }
            What::Vectors { takes, lanes } => {
                self.take(takes);
                self.stack.push(Bits::Kept);
                let (keeps, local, sources) = (false, None, [None; 2]);
                self.nodes.push(Node { fix: fix(lanes, false), keeps, local, sources, seen: true });
            }
        }
    }

    /// Takes operands whose bits nobody sees.
    fn take(&mut self, count: u8) {
        self.stack.truncate(self.stack.len().saturating_sub(usize::from(count)));
    }

    /// Takes one operand, and its node.
    fn pop(&mut self) -> (Bits, Option<(u32, Node)>) {
        let bits = self.stack.pop().unwrap_or(Bits::Kept);
        let node = match bits {
            Bits::Open(at) => self.nodes.get(at as usize).map(|node| (at, *node)),
            _ => None,
        };
        (bits, node)
    }

    fn open(&mut self, fix: Option<Fix>, keeps: bool, local: Option<u32>, sources: [Option<u32>; 2]) {
        // A function has at most a million operators, and each has one node.
        self.stack.push(Bits::Open(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)));
        self.nodes.push(Node { fix, keeps, local, sources, seen: false });
    }

    fn local(&self, index: u32) -> Local {
        self.locals.get(index as usize).copied().unwrap_or(Local { class: Class::Fixed, ..Local::default() })
    }

    /// Sets a local to what is on top, and says what a `local.tee` leaves.
    fn set(&mut self, index: u32) -> Bits {
        let (bits, node) = self.pop();
        let node = node.map(|(_, node)| node);
        // Read back and made canonical, it would be something else.
        let keeps = match (bits, node) {
            (Bits::Canonical, _) => false,
            (_, Some(node)) => node.keeps || node.fix.is_none_or(|fix| fix.negative),
            _ => true,
        };
        if self.local(index).class != Class::Loose {
            self.see(bits);
            return if keeps { Bits::Kept } else { Bits::Canonical };
        }
        if let Some(local) = self.locals.get_mut(index as usize) {
            self.grown |= keeps && !local.keeps;
            local.keeps |= keeps;
            local.set = local.set.saturating_add(u32::from(node.is_some()));
        }
        bits
    }

    /// Somebody sees these bits: they are fixed where they come from.
    fn see(&mut self, bits: Bits) {
        let Bits::Open(at) = bits else { return };
        self.next.push(at);
        while let Some(at) = self.next.pop() {
            let Some(node) = self.nodes.get_mut(at as usize).filter(|node| !node.seen) else { continue };
            node.seen = true;
            if node.fix.is_none() || node.keeps {
                self.next.extend(node.sources.iter().flatten());
            }
            if let Some(local) = node.local.and_then(|local| self.locals.get_mut(local as usize)) {
                local.seen = local.seen.saturating_add(1);
            }
        }
    }
}
