//! Bodies: what the texts of a demand or offer say, and when two match.
//!
//! The signature over a body is checked before it gets here (SYM-20).

use crate::{
    constraint::{Constraint, ConstraintError, Truth},
    properties::{Properties, PropertyError},
};

/// The longest body, both texts together, in bytes. With the signed terms, the
/// signature and the peer's addresses around it a gossip message stays under 1 KiB.
pub const MAX_BODY_BYTES: usize = 640;

/// Why two texts are no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("a body of {have} bytes, at most {MAX_BODY_BYTES}")]
    TooLong {
        /// The length of both texts together, in bytes.
        have: usize,
    },
    /// The properties cannot be read.
    #[error("properties")]
    Properties(#[from] PropertyError),
    /// The constraint cannot be read.
    #[error("constraint")]
    Constraint(#[from] ConstraintError),
}

/// What one side says about itself, and what it asks of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    properties: Properties,
    constraint: Constraint,
}

impl Body {
    /// Puts a body together.
    ///
    /// # Errors
    /// [`BodyError`] when it is too long, or the constraint too deep or too large.
    pub fn new(properties: &Properties, constraint: &Constraint) -> Result<Self, BodyError> {
        Self::read(&properties.to_string(), &constraint.to_string())
    }

    /// Reads the two canonical texts and nothing else: equal bodies have equal bytes.
    ///
    /// # Errors
    /// [`BodyError`] naming the first thing wrong. The length is checked first.
    pub fn read(properties: &str, constraint: &str) -> Result<Self, BodyError> {
        let have = properties.len().saturating_add(constraint.len());
        if have > MAX_BODY_BYTES {
            return Err(BodyError::TooLong { have });
        }
        Ok(Self {
            properties: Properties::read_canonical(properties)?,
            constraint: Constraint::read_canonical(constraint)?,
        })
    }

    /// What this side says about itself. Its `Display` is the canonical text.
    #[must_use]
    pub const fn properties(&self) -> &Properties {
        &self.properties
    }

    /// What this side asks of the other. Its `Display` is the canonical text.
    #[must_use]
    pub const fn constraint(&self) -> &Constraint {
        &self.constraint
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
        assert_eq!(Body::read(&good.properties().to_string(), &good.constraint().to_string()), Ok(good));
        for (properties, constraint) in
            [("", "()"), ("{} ", "()"), ("{}", "( )"), ("{ }", "()"), ("{}", ""), ("{}", "()\n")]
        {
            assert!(Body::read(properties, constraint).is_err(), "{properties:?} {constraint:?}");
        }
    }

    #[test]
    fn n2_a_long_body_is_refused_before_it_is_read() {
        let junk = "[".repeat(MAX_BODY_BYTES);
        assert_eq!(Body::read(&junk, "("), Err(BodyError::TooLong { have: MAX_BODY_BYTES + 1 }));
        let fill = |length: usize| format!("(a={})", "x".repeat(length - "{}(a=)".len()));
        assert!(Body::read("{}", &fill(MAX_BODY_BYTES)).is_ok());
        assert!(Body::read("{}", &fill(MAX_BODY_BYTES + 1)).is_err());
    }
}
