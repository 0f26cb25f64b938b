//! Constraints: an LDAP-style filter over the other side's properties.
//!
//! `(&…)` all, `(|…)` any, `(!…)` not, `()` true, `(p=*)` present, `(p=v)` equal
//! (with `*` wildcards in strings), `<`, `<=`, `>`, `>=`. Three-valued: what is
//! missing or cannot be compared is Undefined, and only a full True matches.

use crate::properties::{Properties, split_name};
use crate::value::Value;
use core::{cmp::Ordering, fmt, str::FromStr};

/// How deep filters may nest.
pub const MAX_CONSTRAINT_DEPTH: usize = 8;
/// The most filters of one constraint, of every kind together.
pub const MAX_TERMS: usize = 64;

/// What a filter says about a set of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// A property is missing or of a type that cannot be compared so.
    Undefined,
}

impl Truth {
    const fn of(value: Option<bool>) -> Self {
        match value {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Undefined,
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Undefined => Self::Undefined,
        }
    }
}

/// How a property is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Operator {
    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// A text with wildcards: `head*middle*…*tail`, every part possibly empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    head: String,
    middle: Vec<String>,
    tail: String,
}

impl Pattern {
    /// Whether the text fits. Linear: every middle part is taken where it first fits.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let Some(mut rest) =
            text.strip_prefix(self.head.as_str()).and_then(|rest| rest.strip_suffix(self.tail.as_str()))
        else {
            return false;
        };
        for part in &self.middle {
            match rest.split_once(part.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

/// A filter. Its `Display` is its canonical text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// `()`
    Always,
    /// `(&…)`; of nothing, true.
    All(Vec<Constraint>),
    /// `(|…)`; of nothing, false.
    Any(Vec<Constraint>),
    /// `(!…)`
    Not(Box<Constraint>),
    /// `(p=*)`
    Present(String),
    /// `(p=v)` and the four orders.
    Compare {
        /// The property.
        name: String,
        /// How.
        operator: Operator,
        /// The text, read as the property's own type.
        value: String,
    },
    /// `(p=a*b)`
    Like {
        /// The property.
        name: String,
        /// What its text must fit.
        pattern: Pattern,
    },
}

/// Why a text is no constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// Something else stands where this was expected.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What should have followed.
        expected: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
    /// Nested deeper than [`MAX_CONSTRAINT_DEPTH`].
    #[error("nested deeper than {MAX_CONSTRAINT_DEPTH} at byte {at}")]
    TooDeep {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// More than [`MAX_TERMS`] filters.
    #[error("more than {MAX_TERMS} filters")]
    TooMany,
    /// The text has another, canonical form.
    #[error("not in canonical form")]
    NotCanonical,
}

impl Constraint {
    /// What the filter says about these properties.
    #[must_use]
    pub fn evaluate(&self, properties: &Properties) -> Truth {
        let value = |name: &str| properties.get(name).map(|property| property.value());
        match self {
            Self::Always => Truth::True,
            Self::All(parts) => fold(parts, properties, Truth::False, Truth::True),
            Self::Any(parts) => fold(parts, properties, Truth::True, Truth::False),
            Self::Not(inner) => inner.evaluate(properties).not(),
            Self::Present(name) => Truth::of(value(name).map(|_| true)),
            Self::Compare { name, operator: Operator::Equal, value: text } => {
                Truth::of(value(name).and_then(|own| own.equals(text)))
            }
            Self::Compare { name, operator, value: text } => {
                Truth::of(value(name).and_then(|own| own.compare(text)).map(|ordering| operator.holds(ordering)))
            }
            Self::Like { name, pattern } => Truth::of(value(name).and_then(|own| like(own, pattern))),
        }
    }

    /// Reads the canonical text and nothing else.
    ///
    /// # Errors
    /// [`ConstraintError`] naming the first thing wrong.
    pub fn read_canonical(text: &str) -> Result<Self, ConstraintError> {
        let constraint: Self = text.parse()?;
        if constraint.to_string() == text { Ok(constraint) } else { Err(ConstraintError::NotCanonical) }
    }
}

/// `strong` decides at once, else anything Undefined stays so, else `neutral`.
fn fold(parts: &[Constraint], properties: &Properties, strong: Truth, neutral: Truth) -> Truth {
    let mut answer = neutral;
    for part in parts {
        let truth = part.evaluate(properties);
        if truth == strong {
            return strong;
        }
        if truth == Truth::Undefined {
            answer = Truth::Undefined;
        }
    }
    answer
}

fn like(value: &Value, pattern: &Pattern) -> Option<bool> {
    match value {
        Value::Text(text) => Some(pattern.fits(text)),
        Value::List(items) => {
            let answers: Vec<_> = items.iter().map(|item| like(item, pattern)).collect();
            if answers.contains(&Some(true)) {
                Some(true)
            } else if answers.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        _ => None,
    }
}

struct Reader<'a> {
    whole: usize,
    rest: &'a str,
    terms: usize,
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    /// Reads a filter; white space around filters is free. The caller has
    /// bounded the length.
    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        let mut reader = Reader { whole: text.len(), rest: text, terms: 0 };
        reader.space();
        let constraint = reader.filter(0)?;
        reader.space();
        if reader.rest.is_empty() { Ok(constraint) } else { Err(reader.expected("the end")) }
    }
}

impl Reader<'_> {
    fn at(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    fn expected(&self, expected: &'static str) -> ConstraintError {
        ConstraintError::Expected { expected, at: self.at() }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: char) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn close(&mut self) -> Result<(), ConstraintError> {
        self.space();
        if self.take(')') { Ok(()) } else { Err(self.expected("a closing parenthesis")) }
    }

    fn filter(&mut self, depth: usize) -> Result<Constraint, ConstraintError> {
        if depth >= MAX_CONSTRAINT_DEPTH {
            return Err(ConstraintError::TooDeep { at: self.at() });
        }
        self.terms = self.terms.saturating_add(1);
        if self.terms > MAX_TERMS {
            return Err(ConstraintError::TooMany);
        }
        if !self.take('(') {
            return Err(self.expected("an opening parenthesis"));
        }
        self.space();
        let constraint = if self.take('&') {
            Constraint::All(self.filters(depth)?)
        } else if self.take('|') {
            Constraint::Any(self.filters(depth)?)
        } else if self.take('!') {
            self.space();
            Constraint::Not(Box::new(self.filter(depth.saturating_add(1))?))
        } else if self.rest.starts_with(')') {
            Constraint::Always
        } else {
            return self.item();
        };
        self.close()?;
        Ok(constraint)
    }

    fn filters(&mut self, depth: usize) -> Result<Vec<Constraint>, ConstraintError> {
        let mut parts = Vec::new();
        self.space();
        while self.rest.starts_with('(') {
            parts.push(self.filter(depth.saturating_add(1))?);
            self.space();
        }
        Ok(parts)
    }

    /// `name operator value` up to and with the closing parenthesis.
    fn item(&mut self) -> Result<Constraint, ConstraintError> {
        let wrong = self.expected("a property name");
        let end = self.rest.find(['=', '<', '>']).ok_or(wrong)?;
        let (name, after) = self.rest.split_at_checked(end).ok_or(wrong)?;
        let (name, ..) = split_name(name.trim()).ok_or(wrong)?;
        let name = name.to_owned();
        self.rest = after;
        let operator = if self.take('=') {
            Operator::Equal
        } else if self.take('<') {
            if self.take('=') { Operator::LessOrEqual } else { Operator::Less }
        } else {
            self.take('>');
            if self.take('=') { Operator::GreaterOrEqual } else { Operator::Greater }
        };
        let mut parts = self.parts()?;
        let tail = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Ok(Constraint::Compare { name, operator, value: tail });
        }
        if operator != Operator::Equal {
            return Err(self.expected("a value without wildcards"));
        }
        let mut middle = parts.into_iter();
        let head = middle.next().unwrap_or_default();
        let middle: Vec<String> = middle.filter(|part| !part.is_empty()).collect();
        if head.is_empty() && middle.is_empty() && tail.is_empty() {
            return Ok(Constraint::Present(name));
        }
        Ok(Constraint::Like { name, pattern: Pattern { head, middle, tail } })
    }

    /// The value's parts between wildcards. Escapes are `\` and two hexadecimal digits of a byte.
    fn parts(&mut self) -> Result<Vec<String>, ConstraintError> {
        let mut parts = Vec::new();
        let mut part: Vec<u8> = Vec::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next();
            let after = chars.as_str();
            let finish = |bytes: Vec<u8>, wrong| String::from_utf8(bytes).map_err(|_| wrong);
            match next {
                Some(')') => {
                    parts.push(finish(part, self.expected("text"))?);
                    self.rest = after;
                    return Ok(parts);
                }
                Some('*') => {
                    parts.push(finish(core::mem::take(&mut part), self.expected("text"))?);
                    self.rest = after;
                }
                Some('\\') => {
                    let wrong = self.expected("two hexadecimal digits after a backslash");
                    let (digits, after) = after.split_at_checked(2).ok_or(wrong)?;
                    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return Err(wrong);
                    }
                    part.push(u8::from_str_radix(digits, 16).map_err(|_| wrong)?);
                    self.rest = after;
                }
                Some('(') | None => return Err(self.expected("a closing parenthesis")),
                Some(plain) => {
                    part.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                    self.rest = after;
                }
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write as _;
    for c in text.chars() {
        match c {
            '(' | ')' | '*' | '\\' | '\0'..='\x1f' | '\x7f' => write!(f, "\\{:02x}", u32::from(c))?,
            plain => f.write_char(plain)?,
        }
    }
    Ok(())
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, sign: &str, parts: &[Self]| {
            write!(f, "({sign}")?;
            parts.iter().try_for_each(|part| part.fmt(f))?;
            f.write_str(")")
        };
        match self {
            Self::Always => f.write_str("()"),
            Self::All(parts) => list(f, "&", parts),
            Self::Any(parts) => list(f, "|", parts),
            Self::Not(inner) => write!(f, "(!{inner})"),
            Self::Present(name) => write!(f, "({name}=*)"),
            Self::Compare { name, operator, value } => {
                write!(f, "({name}{}", operator.sign())?;
                // Behind a bare `<` or `>` an equals sign would belong to the operator.
                match (operator, value.strip_prefix('=')) {
                    (Operator::Less | Operator::Greater, Some(rest)) => {
                        f.write_str("\\3d")?;
                        write_text(f, rest)?;
                    }
                    _ => write_text(f, value)?,
                }
                f.write_str(")")
            }
            Self::Like { name, pattern: Pattern { head, middle, tail } } => {
                write!(f, "({name}=")?;
                write_text(f, head)?;
                for part in middle {
                    f.write_str("*")?;
                    write_text(f, part)?;
                }
                f.write_str("*")?;
                write_text(f, tail)?;
                f.write_str(")")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn properties(text: &str) -> Properties {
        Properties::read(text).unwrap()
    }

    fn truth(filter: &str, text: &str) -> Truth {
        filter.parse::<Constraint>().unwrap().evaluate(&properties(text))
    }

    fn any_constraint() -> impl Strategy<Value = Constraint> {
        let text = "[ -~é\\n]{0,6}";
        let name = "[a-c](\\.[a-c])?";
        let operator = prop_oneof![
            Just(Operator::Equal),
            Just(Operator::Less),
            Just(Operator::LessOrEqual),
            Just(Operator::Greater),
            Just(Operator::GreaterOrEqual),
        ];
        let leaf = prop_oneof![
            Just(Constraint::Always),
            name.prop_map(Constraint::Present),
            (name, operator, text).prop_map(|(name, operator, value)| Constraint::Compare { name, operator, value }),
            (name, text, proptest::collection::vec("[a-z*]{1,3}", 0..3), "[a-z]{1,3}").prop_map(
                |(name, head, middle, tail)| Constraint::Like { name, pattern: Pattern { head, middle, tail } }
            ),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let many = proptest::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                many.clone().prop_map(Constraint::All),
                many.prop_map(Constraint::Any),
                inner.prop_map(|inner| Constraint::Not(Box::new(inner))),
            ]
        })
    }

    proptest! {
        #[test]
        fn l13_every_constraint_reads_back_from_its_text(constraint in any_constraint()) {
            let text = constraint.to_string();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(text.parse(), Ok(constraint.clone()));
            prop_assert_eq!(Constraint::read_canonical(&text), Ok(constraint));
        }

        #[test]
        fn de_morgan_holds_in_three_values(
            a in any_constraint(), b in any_constraint(), set in crate::properties::tests::any_properties(),
        ) {
            let not = |inner: Constraint| Constraint::Not(Box::new(inner));
            let left = not(Constraint::All(vec![a.clone(), b.clone()]));
            let right = Constraint::Any(vec![not(a), not(b)]);
            prop_assert_eq!(left.evaluate(&set), right.evaluate(&set));
        }

        #[test]
        fn n1_no_text_panics(text in "[()&|!*=<>\\\\a-c0-9 .]{0,60}") {
            if let Ok(constraint) = text.parse::<Constraint>() {
                prop_assert_eq!(constraint.to_string().parse(), Ok(constraint));
            }
        }

        #[test]
        fn wildcards_agree_with_a_slow_matcher(pattern in "[ab*]{1,8}", text in "[ab]{0,10}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => slow(rest, text) || matches!(text, [_, after @ ..] if slow(pattern, after)),
                    ([p, rest @ ..], [t, after @ ..]) => p == t && slow(rest, after),
                    _ => false,
                }
            }
            let expected = if slow(pattern.as_bytes(), text.as_bytes()) { Truth::True } else { Truth::False };
            prop_assert_eq!(truth(&format!("(p={pattern})"), &format!("{{\"p\":\"{text}\"}}")), expected);
        }
    }

    #[test]
    fn only_what_is_there_and_comparable_is_true_or_false() {
        let set = r#"{"b":true,"d@d":"100000000000000000000000000001","l":["x","y"],"n":4,"s":"wasm","t@t":"2024-01-01T00:00:00Z","v@v":"1.10.0"}"#;
        for filter in [
            "()",
            "(&)",
            "(n=4)",
            "(n=4.0)",
            "(n>=4)",
            "(n<5)",
            "(n>-1)",
            "(s=wasm)",
            "(s=w*m)",
            "(s=*)",
            "(b=true)",
            "(l=x)",
            "(l=[x,y])",
            "(l=y*)",
            "(d>100000000000000000000000000000)",
            "(t<2024-01-01T00:00:01Z)",
            "(t=2024-01-01T01:00:00+01:00)",
            "(v>1.9)",
            "(!(s=java))",
            "(|(missing=1)(n=4))",
            " ( & (n=4)\n\t(s=wasm) ) ",
        ] {
            assert_eq!(truth(filter, set), Truth::True, "{filter}");
        }
        for filter in [
            "(|)",
            "(n=5)",
            "(n<4)",
            "(s=w)",
            "(!(n=4))",
            "(b=false)",
            "(l=z)",
            "(l=[x])",
            "(&(missing=1)(n=5))",
            "(v<1.9)",
        ] {
            assert_eq!(truth(filter, set), Truth::False, "{filter}");
        }
        for filter in [
            "(missing=*)",
            "(!(missing=1))",
            "(!(missing=*))",
            "(n=four)",
            "(!(n=four))",
            "(n=4*)",
            "(b<true)",
            "(b=yes)",
            "(l<x)",
            "(&(missing=1)(n=4))",
            "(|(missing=1)(n=5))",
            "(v=x)",
            "(t=now)",
        ] {
            assert_eq!(truth(filter, set), Truth::Undefined, "{filter}");
        }
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(truth(r"(s=\28a\2a\29\5c)", r#"{"s":"(a*)\\"}"#), Truth::True);
        assert_eq!(truth(r"(s=\c3\a9)", r#"{"s":"é"}"#), Truth::True);
        for bad in [
            r"(s=\c3)", r"(s=\2)", r"(s=\zz)", r"(s=\+1)", "(s=a(b)", "(s=a", "s=a", "(s)", "(=a)", "(a b=1)",
            "(n>=4*)", "()()", "",
        ] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
        }
        assert_eq!(Constraint::read_canonical("( )"), Err(ConstraintError::NotCanonical));
        assert_eq!(Constraint::read_canonical(r"(s=\61)"), Err(ConstraintError::NotCanonical));
        assert_eq!(Constraint::read_canonical("(s@d=1)"), Err(ConstraintError::NotCanonical));
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| format!("{}(){}", "(!".repeat(depth), ")".repeat(depth));
        assert!(nested(MAX_CONSTRAINT_DEPTH - 1).parse::<Constraint>().is_ok());
        assert!(matches!(nested(MAX_CONSTRAINT_DEPTH).parse::<Constraint>(), Err(ConstraintError::TooDeep { .. })));
        let wide = |count: usize| format!("(&{})", "()".repeat(count));
        assert!(wide(MAX_TERMS - 1).parse::<Constraint>().is_ok());
        assert_eq!(wide(MAX_TERMS).parse::<Constraint>(), Err(ConstraintError::TooMany));
    }
}
