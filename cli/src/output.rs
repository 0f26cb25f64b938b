//! Results go to stdout, everything for people to stderr.

use std::io::Write;

/// Prints a line of results. A closed pipe ends the output, not the command.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a JSON value as a line of results.
pub(crate) fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// Says something to the person at the terminal.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tokens have 18 decimals: base units as people read them, without rounding.
pub(crate) fn tokens(base: u128) -> String {
    let (whole, part) = (base / 1_000_000_000_000_000_000, base % 1_000_000_000_000_000_000);
    let digits = format!("{part:018}");
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() { format!("{whole}") } else { format!("{whole}.{trimmed}") }
}

/// Reads an amount of tokens (`1`, `0.25`) into base units.
pub(crate) fn parse_tokens(text: &str) -> Result<symbolon_primitives::Amount, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 18 {
        return Err("expected a number of tokens with at most 18 decimals, such as 1 or 0.25".into());
    }
    format!("{whole}{part:0<18}").parse().map_err(|e: symbolon_primitives::AmountError| e.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_read_and_write_without_rounding() {
        for (text, base) in [("1", 10_u128.pow(18)), ("0.25", 25 * 10_u128.pow(16)), ("0.000000000000000001", 1)] {
            assert_eq!(parse_tokens(text).unwrap().get(), base);
            assert_eq!(tokens(base), text);
        }
        for bad in ["", ".", "-1", "1e3", "1.0000000000000000001", "1,5", "99999999999999999999999999999"] {
            assert!(parse_tokens(bad).is_err(), "{bad}");
        }
    }
}
