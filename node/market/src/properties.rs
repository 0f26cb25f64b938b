//! Properties: what one side says about itself, as one canonical JSON object.
//!
//! A member's name is the property's name, then the suffix of its type (`@d`,
//! `@t`, `@v`, or none), then `?` when it is negotiable. Suffixes are no part of
//! the name: a constraint says `symbolon.price.flat`, whatever the type.

use crate::{
    json::{self, Json, JsonError},
    value::{Decimal, Kind, Value, ValueError},
};
use core::fmt;
use std::collections::BTreeMap;
use symbolon_primitives::{Amount, AmountError};

/// The most properties of one body.
pub const MAX_PROPERTIES: usize = 48;
/// The longest name, without suffixes, in bytes.
pub const MAX_NAME_BYTES: usize = 96;
/// The longest string value, in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// The most items of a list.
pub const MAX_LIST: usize = 16;

/// Why a text is no set of properties, or a property is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The text is not JSON of our kind.
    #[error("not a property text")]
    Json(#[from] JsonError),
    /// The text is JSON, but no object.
    #[error("properties are one JSON object")]
    NotAnObject,
    /// The text has another, canonical form.
    #[error("not in canonical form")]
    NotCanonical,
    /// More than [`MAX_PROPERTIES`].
    #[error("{have} properties, at most {MAX_PROPERTIES}")]
    TooMany {
        /// How many there are.
        have: usize,
    },
    /// Empty, too long, or of other characters than letters, digits, `.`, `_`, `-`.
    #[error("{name:?} is no property name")]
    BadName {
        /// The name, with suffixes.
        name: String,
    },
    /// The name stands twice, perhaps under two types.
    #[error("property {name} stands twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A value that is too long, nested, or of another type than its suffix.
    #[error("property {name} has no usable value")]
    BadValue {
        /// The name.
        name: String,
    },
    /// A text that is not of the type its suffix names.
    #[error("property {name}")]
    BadText {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// Asked for, and not there.
    #[error("property {name} is missing")]
    Missing {
        /// The name.
        name: &'static str,
    },
    /// There, but of another type.
    #[error("property {name} is no {expected}")]
    WrongType {
        /// The name.
        name: &'static str,
        /// The type asked for.
        expected: &'static str,
    },
    /// There, but not an amount of base units.
    #[error("property {name}")]
    NotAnAmount {
        /// The name.
        name: &'static str,
        /// What is wrong with it.
        source: AmountError,
    },
}

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    kind: Kind,
    value: Value,
    negotiable: bool,
}

impl Property {
    /// The value.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Whether the name ends in `?`: agreed when both sides repeat the same value.
    #[must_use]
    pub const fn is_negotiable(&self) -> bool {
        self.negotiable
    }
}

/// Typed properties by name, within bounds. Equal sets have equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, Property>);

/// Splits a member's name into the property's name, its type and whether it is negotiable.
pub(crate) fn split_name(full: &str) -> Option<(&str, Kind, bool)> {
    let (rest, negotiable) = full.strip_suffix('?').map_or((full, false), |rest| (rest, true));
    let (name, kind) = match rest.split_once('@') {
        None => (rest, Kind::Plain),
        Some((name, "d")) => (name, Kind::Decimal),
        Some((name, "t")) => (name, Kind::DateTime),
        Some((name, "v")) => (name, Kind::Version),
        Some(_) => return None,
    };
    let sound = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    (name.len() <= MAX_NAME_BYTES && name.split('.').all(sound)).then_some((name, kind, negotiable))
}

impl Properties {
    /// Reads any JSON object within the bounds: nested objects are flattened
    /// with dots, order and white space are free. For texts that a person wrote.
    ///
    /// # Errors
    /// [`PropertyError`] naming the first thing wrong.
    pub fn read(text: &str) -> Result<Self, PropertyError> {
        let Json::Object(members) = json::read(text)? else {
            return Err(PropertyError::NotAnObject);
        };
        let mut properties = Self::default();
        properties.flatten("", members)?;
        Ok(properties)
    }

    /// Reads the canonical text and nothing else. For texts that were heard.
    ///
    /// # Errors
    /// [`PropertyError`] naming the first thing wrong.
    pub fn read_canonical(text: &str) -> Result<Self, PropertyError> {
        let properties = Self::read(text)?;
        if properties.to_string() == text { Ok(properties) } else { Err(PropertyError::NotCanonical) }
    }

    fn flatten(&mut self, prefix: &str, members: Vec<(String, Json)>) -> Result<(), PropertyError> {
        for (name, value) in members {
            let full = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Json::Object(inner) => self.flatten(&full, inner)?,
                value => self.put(&full, value)?,
            }
        }
        Ok(())
    }

    fn put(&mut self, full: &str, value: Json) -> Result<(), PropertyError> {
        let Some((name, kind, negotiable)) = split_name(full) else {
            return Err(PropertyError::BadName { name: full.to_owned() });
        };
        let value = match value {
            Json::List(items) if items.len() <= MAX_LIST => Value::List(
                items.into_iter().map(|item| scalar(name, kind, item)).collect::<Result<_, PropertyError>>()?,
            ),
            one => scalar(name, kind, one)?,
        };
        let before = self.0.insert(name.to_owned(), Property { kind, value, negotiable });
        if before.is_some() {
            return Err(PropertyError::Duplicate { name: name.to_owned() });
        }
        if self.0.len() > MAX_PROPERTIES {
            return Err(PropertyError::TooMany { have: self.0.len() });
        }
        Ok(())
    }

    fn set(&mut self, full: &str, value: Json) -> Result<&mut Self, PropertyError> {
        if let Some((name, ..)) = split_name(full) {
            self.0.remove(name);
        }
        self.put(full, value)?;
        Ok(self)
    }

    /// Sets a property from a text, read as the suffix of `name` says.
    ///
    /// # Errors
    /// [`PropertyError`] for a bad name, a bad value or one property too many.
    pub fn set_text(&mut self, name: &str, value: &str) -> Result<&mut Self, PropertyError> {
        self.set(name, Json::Text(value.to_owned()))
    }

    /// Sets a JSON number.
    ///
    /// # Errors
    /// [`PropertyError`] for a bad name or one property too many.
    pub fn set_number(&mut self, name: &str, value: u64) -> Result<&mut Self, PropertyError> {
        self.set(name, Json::Number(Decimal::from(u128::from(value))))
    }

    /// Sets a boolean.
    ///
    /// # Errors
    /// [`PropertyError`] for a bad name or one property too many.
    pub fn set_boolean(&mut self, name: &str, value: bool) -> Result<&mut Self, PropertyError> {
        self.set(name, Json::Boolean(value))
    }

    /// Sets a list of texts.
    ///
    /// # Errors
    /// [`PropertyError`] for a bad name, a bad value or one property too many.
    pub fn set_list<'a>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = &'a str>,
    ) -> Result<&mut Self, PropertyError> {
        self.set(name, Json::List(items.into_iter().map(|item| Json::Text(item.to_owned())).collect()))
    }

    /// Sets an amount of base units, as a decimal (`@d`).
    ///
    /// # Errors
    /// [`PropertyError`] for a bad name or one property too many.
    pub fn set_amount(&mut self, name: &str, amount: Amount) -> Result<&mut Self, PropertyError> {
        self.set_text(&format!("{name}{}", Kind::Decimal.suffix()), &amount.to_string())
    }

    /// The property of this name (without suffixes).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.0.get(name)
    }

    /// All of them, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Property)> {
        self.0.iter().map(|(name, property)| (name.as_str(), property))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The string under this name.
    ///
    /// # Errors
    /// [`PropertyError`] when it is missing or no string.
    pub fn text(&self, name: &'static str) -> Result<&str, PropertyError> {
        match self.0.get(name).map(Property::value) {
            Some(Value::Text(text)) => Ok(text),
            Some(_) => Err(PropertyError::WrongType { name, expected: "string" }),
            None => Err(PropertyError::Missing { name }),
        }
    }

    /// The string, or the strings of the list, under this name.
    ///
    /// # Errors
    /// [`PropertyError`] when it is missing or has anything but strings.
    pub fn texts(&self, name: &'static str) -> Result<Vec<&str>, PropertyError> {
        let wrong = PropertyError::WrongType { name, expected: "string or list of strings" };
        match self.0.get(name).map(Property::value) {
            Some(Value::Text(text)) => Ok(vec![text]),
            Some(Value::List(items)) => items
                .iter()
                .map(|item| if let Value::Text(text) = item { Ok(text.as_str()) } else { Err(wrong.clone()) })
                .collect(),
            Some(_) => Err(wrong),
            None => Err(PropertyError::Missing { name }),
        }
    }

    /// The whole number under this name.
    ///
    /// # Errors
    /// [`PropertyError`] when it is missing, no number, or not a whole one of 64 bits.
    pub fn number(&self, name: &'static str) -> Result<u64, PropertyError> {
        let wrong = PropertyError::WrongType { name, expected: "whole number" };
        self.whole(name, wrong.clone())?.try_into().map_err(|_| wrong)
    }

    /// The amount of base units under this name.
    ///
    /// # Errors
    /// [`PropertyError`] when it is missing, no whole number, or above 2^96 - 1.
    pub fn amount(&self, name: &'static str) -> Result<Amount, PropertyError> {
        let wrong = PropertyError::WrongType { name, expected: "whole number of base units" };
        let base = self.whole(name, wrong)?;
        Amount::new(base).map_err(|source| PropertyError::NotAnAmount { name, source })
    }

    fn whole(&self, name: &'static str, wrong: PropertyError) -> Result<u128, PropertyError> {
        match self.0.get(name).map(Property::value) {
            Some(Value::Number(number) | Value::Decimal(number)) => number.to_u128().ok_or(wrong),
            Some(_) => Err(wrong),
            None => Err(PropertyError::Missing { name }),
        }
    }
}

fn scalar(name: &str, kind: Kind, value: Json) -> Result<Value, PropertyError> {
    match (kind, value) {
        (Kind::Plain, Json::Boolean(value)) => Ok(Value::Boolean(value)),
        (Kind::Plain, Json::Number(value)) => Ok(Value::Number(value)),
        (kind, Json::Text(text)) if text.len() <= MAX_TEXT_BYTES => {
            kind.read(&text).map_err(|source| PropertyError::BadText { name: name.to_owned(), source })
        }
        _ => Err(PropertyError::BadValue { name: name.to_owned() }),
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) => json::write_string(out, text),
        Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::Decimal(number) => json::write_string(out, &number.to_string()),
        Value::DateTime(time) => json::write_string(out, &time.to_string()),
        Value::Version(version) => json::write_string(out, &version.to_string()),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
    }
}

/// The canonical text: members ascending by property name, no white space, one
/// form for every value.
impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::from("{");
        for (index, (name, property)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            let mark = if property.negotiable { "?" } else { "" };
            json::write_string(&mut out, &format!("{name}{}{mark}", property.kind.suffix()));
            out.push(':');
            write_value(&mut out, &property.value);
        }
        out.push('}');
        f.write_str(&out)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn member() -> impl Strategy<Value = (String, String)> {
        let name = "[a-c](\\.[a-z0-9_-]{1,3}){0,2}";
        let text = "[ -~é]{0,12}".prop_map(|text| {
            let mut out = String::new();
            json::write_string(&mut out, &text);
            out
        });
        let plain = prop_oneof![
            text,
            any::<bool>().prop_map(|value| value.to_string()),
            (any::<i32>(), 0_u8..100).prop_map(|(whole, part)| format!("{whole}.{part:02}")),
        ];
        let list = proptest::collection::vec(plain.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
        let typed = prop_oneof![
            prop_oneof![plain, list].prop_map(|value| ("", value)),
            any::<u64>().prop_map(|n| ("@d", format!("\"{n}.50\""))),
            (0_u8..3, 0_u8..30).prop_map(|(a, b)| ("@v", format!("\"{a}.{b}\""))),
            (1_u8..13, 1_u8..29).prop_map(|(m, d)| ("@t", format!("\"2024-{m:02}-{d:02}T01:02:03+01:00\""))),
        ];
        (name, typed, prop_oneof![Just(""), Just("?")])
            .prop_map(|(name, (suffix, value), mark)| (format!("{name}{suffix}{mark}"), value))
    }

    prop_compose! {
        /// Any set of properties, as its members stood in some text.
        pub(crate) fn any_properties()(members in proptest::collection::vec(member(), 0..6)) -> Properties {
            let mut properties = Properties::default();
            for (name, value) in members {
                properties.set(&name, json::read(&value).unwrap()).unwrap();
            }
            properties
        }
    }

    proptest! {
        #[test]
        fn l13_the_canonical_text_is_the_only_one(properties in any_properties()) {
            let text = properties.to_string();
            prop_assert_eq!(Properties::read_canonical(&text), Ok(properties.clone()));
            prop_assert_eq!(Properties::read_canonical(&format!("{text} ")), Err(PropertyError::NotCanonical));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }

        #[test]
        fn n1_no_text_panics(text in "[{}\\[\\]\",:a-c@dtv?.0-9 -]{0,60}") {
            let _ = Properties::read(&text);
        }
    }

    #[test]
    fn nested_objects_are_flattened() {
        let flat = r#"{"golem.inf.mem.gib":0.5,"golem.runtime.name":"symbolon","symbolon.price.flat@d":"100"}"#;
        let nested = r#" { "symbolon": {"price": {"flat@d": "100.0"}},
            "golem": {"runtime.name": "symbolon", "inf": {"mem": {"gib": 0.50}}} } "#;
        let properties = Properties::read(nested).unwrap();
        assert_eq!(properties.to_string(), flat);
        assert_eq!(properties.amount("symbolon.price.flat"), Ok(Amount::from_u64(100)));
        assert_eq!(Properties::read_canonical(nested), Err(PropertyError::NotCanonical));
        assert!(matches!(properties.number("golem.inf.mem.gib"), Err(PropertyError::WrongType { .. })));
        assert!(matches!(properties.amount("golem.runtime.name"), Err(PropertyError::WrongType { .. })));
        assert!(matches!(properties.text("none"), Err(PropertyError::Missing { name: "none" })));
    }

    #[test]
    fn bad_sets_are_named() {
        let read = |text: &str| Properties::read(text).unwrap_err();
        assert!(matches!(read(r#"{"a":1,"a":2}"#), PropertyError::Duplicate { .. }));
        assert!(matches!(read(r#"{"a":1,"a@d":"1"}"#), PropertyError::Duplicate { .. }));
        assert!(matches!(read(r#"{"a":1,"a?":1}"#), PropertyError::Duplicate { .. }));
        assert!(matches!(read(r#"{"a.b":1,"a":{"b":1}}"#), PropertyError::Duplicate { .. }));
        assert!(matches!(read(r#"{"a@x":1}"#), PropertyError::BadName { .. }));
        assert!(matches!(read(r#"{"a b":1}"#), PropertyError::BadName { .. }));
        assert!(matches!(read(r#"{"a..b":1}"#), PropertyError::BadName { .. }));
        assert!(matches!(read(r#"{"":1}"#), PropertyError::BadName { .. }));
        assert!(matches!(read(r#"{"a":[[1]]}"#), PropertyError::BadValue { .. }));
        assert!(matches!(read(r#"{"a":[{}]}"#), PropertyError::BadValue { .. }));
        assert!(matches!(read(r#"{"a@d":1}"#), PropertyError::BadValue { .. }));
        assert!(matches!(read(r#"{"a@d":"x"}"#), PropertyError::BadText { .. }));
        assert!(matches!(read("[]"), PropertyError::NotAnObject));
        assert!(matches!(read(r#"{"a":null}"#), PropertyError::Json(_)));
        let list = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
        assert!(Properties::read(&list(MAX_LIST)).is_ok());
        assert!(Properties::read(&list(MAX_LIST + 1)).is_err());
        let many =
            |count: usize| format!("{{{}}}", (0..count).map(|i| format!("\"a{i}\":1")).collect::<Vec<_>>().join(","));
        assert!(Properties::read(&many(MAX_PROPERTIES)).is_ok());
        assert!(matches!(Properties::read(&many(MAX_PROPERTIES + 1)), Err(PropertyError::TooMany { .. })));
        let text = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        assert!(Properties::read(&text(MAX_TEXT_BYTES)).is_ok());
        assert!(Properties::read(&text(MAX_TEXT_BYTES + 1)).is_err());
    }
}
