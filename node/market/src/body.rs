//! Bodies: the text a signed demand or offer commits to, and when two match.

use crate::{
    constraint::{Constraint, ConstraintError, Truth},
    properties::{Properties, PropertyError},
};
use core::fmt;
use symbolon_primitives::{B256, keccak256};

/// The longest body, in bytes. With the signed terms, the signature and the
/// framing around it a gossip message stays under 1 KiB.
pub const MAX_BODY_BYTES: usize = 800;

/// Why a text is no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("a body of {have} bytes, at most {MAX_BODY_BYTES}")]
    TooLong {
        /// Its length in bytes.
        have: usize,
    },
    /// Properties and constraint stand on one line each.
    #[error("a body has two lines")]
    NotTwoLines,
    /// The first line.
    #[error("properties")]
    Properties(#[from] PropertyError),
    /// The second line.
    #[error("constraint")]
    Constraint(#[from] ConstraintError),
}

/// What one side says about itself and asks of the other: the canonical
/// properties, a line feed, the canonical constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    properties: Properties,
    constraint: Constraint,
    text: String,
}

impl Body {
    /// Puts a body together.
    ///
    /// # Errors
    /// [`BodyError`] when it is too long, or the constraint too deep or too large.
    pub fn new(properties: &Properties, constraint: &Constraint) -> Result<Self, BodyError> {
        Self::read(&format!("{properties}\n{constraint}"))
    }

    /// Reads the canonical text and nothing else: equal bodies have equal bytes.
    ///
    /// # Errors
    /// [`BodyError`] naming the first thing wrong. The length is checked first.
    pub fn read(text: &str) -> Result<Self, BodyError> {
        if text.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLong { have: text.len() });
        }
        let (properties, constraint) = text.split_once('\n').ok_or(BodyError::NotTwoLines)?;
        Ok(Self {
            properties: Properties::read_canonical(properties)?,
            constraint: Constraint::read_canonical(constraint)?,
            text: text.to_owned(),
        })
    }

    /// What this side says about itself.
    #[must_use]
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// What this side asks of the other.
    #[must_use]
    pub const fn constraint(&self) -> &Constraint {
        &self.constraint
    }

    /// The canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// keccak256 of the text: the `body` member of the signed demand or offer.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(self.text.as_bytes()).into()
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether each side's constraint is fully True of the other's properties.
#[must_use]
pub fn matches(demand: &Body, offer: &Body) -> bool {
    demand.constraint.evaluate(&offer.properties) == Truth::True
        && offer.constraint.evaluate(&demand.properties) == Truth::True
}

/// Where two sides stand on the properties that either marked with `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiation {
    /// Both sides say the same, ascending by name.
    pub agreed: Vec<String>,
    /// One side says nothing or something else, ascending by name.
    pub open: Vec<String>,
}

/// Compares the negotiable properties. A proposal is acceptable only when none is open.
#[must_use]
pub fn negotiate(demand: &Body, offer: &Body) -> Negotiation {
    let mut negotiation = Negotiation::default();
    let negotiable = |body: &Body, name: &str| body.properties.get(name).is_some_and(|p| p.is_negotiable());
    let mut names: Vec<&str> = demand.properties.iter().chain(offer.properties.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| negotiable(demand, name) || negotiable(offer, name)) {
        let said = (demand.properties.get(name).map(|p| p.value()), offer.properties.get(name).map(|p| p.value()));
        let to = match said {
            (Some(one), Some(other)) if one == other => &mut negotiation.agreed,
            _ => &mut negotiation.open,
        };
        to.push(name.to_owned());
    }
    negotiation
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn body(properties: &str, constraint: &str) -> Body {
        Body::new(&Properties::read(properties).unwrap(), &constraint.parse().unwrap()).unwrap()
    }

    #[test]
    fn both_sides_must_be_fully_true() {
        let offer = body(r#"{"golem.inf.mem.gib":2,"golem.runtime.name":"symbolon"}"#, "(symbolon.redundancy>=2)");
        let demand = |own: &str, asks: &str| body(own, asks);
        let asks = "(&(golem.inf.mem.gib>=1)(golem.runtime.name=symbolon))";
        assert!(matches(&demand(r#"{"symbolon.redundancy":3}"#, asks), &offer));
        assert!(!matches(&demand(r#"{"symbolon.redundancy":1}"#, asks), &offer));
        assert!(!matches(&demand("{}", asks), &offer));
        assert!(!matches(&demand(r#"{"symbolon.redundancy":3}"#, "(golem.inf.cpu.cores>=1)"), &offer));
        assert!(!matches(&demand(r#"{"symbolon.redundancy":3}"#, "(!(golem.inf.cpu.cores>=1))"), &offer));
    }

    #[test]
    fn a_negotiable_property_is_agreed_when_both_repeat_it() {
        let demand = body(r#"{"a?":1,"b?":"x","c":true,"d":4}"#, "()");
        let offer = body(r#"{"a?":1,"b":"y","c?":true,"e@d?":"5"}"#, "()");
        let negotiation = negotiate(&demand, &offer);
        assert_eq!(negotiation.agreed, ["a", "c"]);
        assert_eq!(negotiation.open, ["b", "e"]);
        assert!(matches(&body("{}", "(a=1)"), &body(r#"{"a?":1}"#, "()")));
    }

    #[test]
    fn l13_a_body_has_one_text() {
        let good = body(r#"{"a":"line\nfeed"}"#, "(a=*)");
        assert_eq!(good.text(), "{\"a\":\"line\\nfeed\"}\n(a=*)");
        assert_eq!(Body::read(good.text()), Ok(good.clone()));
        assert_eq!(good.hash().0, keccak256(good.text().as_bytes()));
        for bad in ["", "{}", "{}\n", "{} \n()", "{}\n()\n", "{}\n( )", "{ }\n()", "\n()"] {
            assert!(Body::read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn n2_a_long_body_is_refused_before_it_is_read() {
        let long = |length: usize| format!("{{\"a\":[\"{}\",\"\"", "x".repeat(length));
        assert!(matches!(Body::read(&long(MAX_BODY_BYTES)), Err(BodyError::TooLong { .. })));
        let fill = MAX_BODY_BYTES - "{}\n(a=)".len();
        assert!(Body::read(&format!("{{}}\n(a={})", "x".repeat(fill))).is_ok());
        assert!(Body::read(&format!("{{}}\n(a={})", "x".repeat(fill + 1))).is_err());
    }
}
