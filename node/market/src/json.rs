//! Just enough JSON for properties: exact numbers, bounded depth, no repeated
//! names, no null. A general reader would round numbers and keep the last of
//! two equal names, and two nodes must never read one text differently.

use crate::value::Decimal;

/// How deep objects and lists may nest.
pub const MAX_JSON_DEPTH: usize = 8;

/// Why a text is not the JSON that properties are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Something else stands where this was expected.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What should have followed.
        expected: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
    /// Objects and lists nest too deep.
    #[error("nested deeper than {MAX_JSON_DEPTH} at byte {at}")]
    TooDeep {
        /// Where, in bytes from the start.
        at: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Boolean(bool),
    Number(Decimal),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

struct Reader<'a> {
    whole: usize,
    rest: &'a str,
}

/// Reads one value and nothing after it. The caller has bounded the length.
pub(crate) fn read(text: &str) -> Result<Json, JsonError> {
    let mut reader = Reader { whole: text.len(), rest: text };
    let value = reader.value(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.expected("the end")) }
}

impl<'a> Reader<'a> {
    fn at(&self) -> usize {
        self.whole.saturating_sub(self.rest.len())
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Expected { expected, at: self.at() }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.space();
        match self.rest.as_bytes().first() {
            Some(b'{' | b'[') if depth >= MAX_JSON_DEPTH => Err(JsonError::TooDeep { at: self.at() }),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("true") => Ok(Json::Boolean(true)),
            _ if self.take("false") => Ok(Json::Boolean(false)),
            _ => Err(self.expected("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut members = Vec::new();
        self.take("{");
        self.space();
        if self.take("}") {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            if !self.take(":") {
                return Err(self.expected("a colon"));
            }
            members.push((name, self.value(depth.saturating_add(1))?));
            self.space();
            if self.take("}") {
                return Ok(Json::Object(members));
            }
            if !self.take(",") {
                return Err(self.expected("a comma or a closing brace"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.take("[");
        self.space();
        if self.take("]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth.saturating_add(1))?);
            self.space();
            if self.take("]") {
                return Ok(Json::List(items));
            }
            if !self.take(",") {
                return Err(self.expected("a comma or a closing bracket"));
            }
        }
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let length = self.rest.bytes().take_while(|b| matches!(b, b'-' | b'.' | b'0'..=b'9')).count();
        let (text, after) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        let digits = text.strip_prefix('-').unwrap_or(text);
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        // Exponents are other texts for the same numbers: nobody needs them here.
        let exponent = after.starts_with(['e', 'E']);
        let number = text.parse().map_err(|_| self.expected("a number"))?;
        if padded || exponent {
            return Err(self.expected("a number without padding or exponent"));
        }
        self.rest = after;
        Ok(Json::Number(number))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        if !self.take("\"") {
            return Err(self.expected("a string"));
        }
        let mut text = String::new();
        loop {
            let mut chars = self.rest.chars();
            let next = chars.next();
            let after = chars.as_str();
            match next {
                Some('"') => {
                    self.rest = after;
                    return Ok(text);
                }
                Some('\\') => {
                    self.rest = after;
                    text.push(self.escape()?);
                }
                Some(plain) if plain >= ' ' => {
                    self.rest = after;
                    text.push(plain);
                }
                _ => return Err(self.expected("a closing quote")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let mut chars = self.rest.chars();
        let escaped = match chars.next() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                self.rest = chars.as_str();
                return self.unicode();
            }
            _ => return Err(self.expected("an escape")),
        };
        self.rest = chars.as_str();
        Ok(escaped)
    }

    /// One code point: a plain `\u` escape, or a high surrogate and its low one.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.unit()?;
        if let Ok(c) = char::try_from(u32::from(first)) {
            return Ok(c);
        }
        let wrong = self.expected("a pair of surrogates");
        if !self.take("\\u") {
            return Err(wrong);
        }
        let second = self.unit()?;
        match char::decode_utf16([first, second]).next() {
            Some(Ok(c)) => Ok(c),
            _ => Err(wrong),
        }
    }

    fn unit(&mut self) -> Result<u16, JsonError> {
        let wrong = self.expected("four hexadecimal digits");
        let (digits, after): (&'a str, &'a str) = self.rest.split_at_checked(4).ok_or(wrong)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        self.rest = after;
        u16::from_str_radix(digits, 16).map_err(|_| wrong)
    }
}

/// Appends the string as the canonical text has it: only what must be escaped
/// is, in the shortest form (as RFC 8785 does).
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_string_writes_itself_back(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert!(!out.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.clone());
            prop_assert_eq!(read(&out), Ok(Json::Text(text)));
        }

        #[test]
        fn whatever_we_read_is_json(text in "[\\[\\]{}\",:truefalse0-9.\\\\ -]{0,24}") {
            if read(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for bad in [
            "",
            "null",
            "nul",
            "01",
            "-",
            "1.",
            ".1",
            "1e3",
            "1E3",
            "--1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"a",
            "\"\n\"",
            "1 2",
            "{a:1}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("\"\\ud83d\\ude00\\/\""), Ok(Json::Text("\u{1f600}/".into())));
        assert_eq!(read(&"[".repeat(9)), Err(JsonError::TooDeep { at: 8 }));
        assert!(read(&format!("{}{}", "[".repeat(8), "]".repeat(8))).is_ok());
    }
}
