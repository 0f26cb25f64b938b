//! Results go to stdout, everything for people to stderr. Whoever wrote the
//! words, nothing printed here can move the cursor or reorder a line (W7).

use indicatif::{ProgressBar, ProgressStyle};
use std::{borrow::Cow, io::Write};
use symbolon_executor::outcome::for_terminal;

/// A command as it is typed, from its words without the program's name.
pub(crate) fn command_line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let typed = words.iter().map(|word| match word.as_str() {
        word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    });
    std::iter::once("symbolon".to_owned()).chain(typed).collect::<Vec<_>>().join(" ")
}

/// The most characters shown of what a stranger said.
const MOST_SHOWN: usize = 300;

/// Prints a line of results. A closed pipe ends the output, not the command.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", for_terminal(text.as_bytes()));
}

/// Prints a JSON value as a line of results.
pub(crate) fn json(value: &serde_json::Value) {
    let _ = writeln!(std::io::stdout().lock(), "{}", json_text(value));
}

/// Says something to the person at the terminal.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", for_terminal(text.as_bytes()));
}

/// A bar for work of several parts, on stderr, where somebody looks.
pub(crate) fn gauge(parts: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(parts).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// What a stranger said, in one line of bounded length. Every word of a peer, a
/// guest or an endpoint that people see goes through here.
pub(crate) fn foreign(text: &str) -> String {
    // One more than is shown tells whether there is more; what is cut off is never looked at.
    let whole = text.char_indices().nth(MOST_SHOWN).map_or(text, |(end, _)| text.get(..end).unwrap_or_default());
    let shown = for_terminal(whole.as_bytes()).replace(['\n', '\t'], " ");
    if whole.len() < text.len() { format!("{shown}…") } else { shown }
}

/// A guest's output as it is written to a stream: the bytes themselves, unless somebody looks.
pub(crate) fn guest_bytes(bytes: &[u8], terminal: bool) -> Cow<'_, [u8]> {
    if terminal { Cow::Owned(for_terminal(bytes).into_bytes()) } else { Cow::Borrowed(bytes) }
}

/// JSON escapes control characters of ASCII only; the others mean the same escaped.
fn json_text(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_control();
    }
    for_terminal(character.encode_utf8(&mut [0; 4]).as_bytes()).chars().eq([character])
}

/// Tokens have 18 decimals: base units as people read them, without rounding.
pub(crate) fn tokens(base: u128) -> String {
    let (whole, part) = (base / 1_000_000_000_000_000_000, base % 1_000_000_000_000_000_000);
    let digits = format!("{part:018}");
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() { format!("{whole}") } else { format!("{whole}.{trimmed}") }
}

/// Wei as gwei, without rounding.
pub(crate) fn gwei(wei: u128) -> String {
    tokens(wei.saturating_mul(1_000_000_000))
}

/// Reads an amount of tokens (`1`, `0.25`) into base units.
pub(crate) fn parse_tokens(text: &str) -> Result<symbolon_primitives::Amount, String> {
    let digits = decimal(text, 18)
        .ok_or("expected a number of tokens with at most 18 decimals, such as 1 or 0.25".to_owned())?;
    digits.parse().map_err(|e: symbolon_primitives::AmountError| e.to_string())
}

/// Reads an amount of ether (`0.1`) into wei.
pub(crate) fn parse_ether(text: &str) -> Result<u128, String> {
    let digits = decimal(text, 18).ok_or("expected a number of ether with at most 18 decimals, such as 0.1")?;
    digits.parse().map_err(|_| "that is more ether than there is".to_owned())
}

/// Reads an amount of gwei (`1.5`) into wei.
pub(crate) fn parse_gwei(text: &str) -> Result<u128, String> {
    let digits = decimal(text, 9).ok_or("expected a number of gwei with at most 9 decimals, such as 40 or 1.5")?;
    digits.parse().map_err(|_| "that is more gwei than there are".to_owned())
}

/// Reads a ratio from 0 to 1 (`0.05`, `5%`) into basis points.
pub(crate) fn parse_ratio(text: &str) -> Result<u16, String> {
    let digits = match text.strip_suffix('%') {
        Some(percent) => decimal(percent, 2),
        None => decimal(text, 4),
    };
    let wrong = "expected a ratio from 0 to 1 with at most four decimals, such as 0.05 or 5%";
    let bps: u32 = digits.ok_or(wrong)?.parse().map_err(|_| wrong)?;
    if bps > 10_000 { Err(wrong.to_owned()) } else { u16::try_from(bps).map_err(|_| wrong.to_owned()) }
}

/// The digits of a number with at most so many decimals, as many of them as are missing added.
fn decimal(text: &str, places: usize) -> Option<String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let is_number = !(whole.is_empty() && part.is_empty()) && digits(whole) && digits(part) && part.len() <= places;
    is_number.then(|| format!("{whole}{part:0<places$}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn w7_what_strangers_say_stays_in_its_line() {
        assert_eq!(foreign("caf\u{e9} is plain"), "caf\u{e9} is plain");
        assert_eq!(foreign("a\nwarning: b\r\t\u{1b}[2J"), "a warning: b\\u{d} \\u{1b}[2J");
        assert_eq!(foreign("\u{9b}31m\u{202e}abc"), "\\u{9b}31m\\u{202e}abc");
        let long = "\u{e9}".repeat(MOST_SHOWN);
        assert_eq!(foreign(&long), long);
        assert_eq!(foreign(&(long.clone() + "x")), long + "…");
    }

    #[test]
    fn w7_a_guest_speaks_bytes_to_a_pipe_and_text_to_a_terminal() {
        let said = b"\x1b[2Jx\xff\n";
        assert_eq!(guest_bytes(said, false).as_ref(), said);
        assert_eq!(guest_bytes(said, true).as_ref(), "\\u{1b}[2Jx\u{fffd}\n".as_bytes());
    }

    #[test]
    fn w7_json_hides_nothing_and_says_the_same() {
        let value = serde_json::json!({ "said": "\u{1b}[2J \u{9b}1m \u{7f} \u{202e}abc \u{e9}" });
        let shown = json_text(&value);
        assert!(shown.chars().all(is_plain), "{shown}");
        assert!(shown.contains('\u{e9}'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

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

    #[test]
    fn ratios_and_fees_read_into_whole_numbers() {
        for (text, bps) in [
            ("0", 0),
            ("0.05", 500),
            ("5%", 500),
            ("0.0001", 1),
            ("0.01%", 1),
            (".5", 5_000),
            ("1", 10_000),
            ("100%", 10_000),
        ] {
            assert_eq!(parse_ratio(text), Ok(bps), "{text}");
        }
        for bad in
            ["", "%", ".", "5", "1.0001", "101%", "100.01%", "0.00001", "0.001%", "-1%", "5 %", "1e-2", "99999999999"]
        {
            assert!(parse_ratio(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_ether("0.000000000000000001"), Ok(1));
        assert_eq!(parse_ether("5"), Ok(5 * 10_u128.pow(18)));
        assert_eq!(parse_gwei("1.000000001"), Ok(1_000_000_001));
        assert_eq!((gwei(1_000_000_001), gwei(7)), ("1.000000001".to_owned(), "0.000000007".to_owned()));
        for bad in ["", "1,5", "0.0000000000000000001", "999999999999999999999999999999"] {
            assert!(parse_ether(bad).is_err(), "{bad}");
        }
        assert!(parse_gwei("0.0000000001").is_err());
    }
}
