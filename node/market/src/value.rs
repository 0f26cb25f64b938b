//! Typed values. Each has one canonical text, so equal values are equal bytes.

use core::{cmp::Ordering, fmt, str::FromStr};

/// The most digits before, and the most after, a decimal point.
pub const MAX_DIGITS: usize = 40;

const MAX_VERSION_BYTES: usize = 64;
const SECS_PER_DAY: i64 = 86_400;

/// How the text of a property is read: the suffix of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As JSON says: string, boolean or number. No suffix.
    #[default]
    Plain,
    /// `@d`: a decimal in a string, for numbers that JSON readers would round.
    Decimal,
    /// `@t`: a date and time (RFC 3339).
    DateTime,
    /// `@v`: a version (semver precedence).
    Version,
}

impl Kind {
    /// What stands behind the name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Decimal => "@d",
            Self::DateTime => "@t",
            Self::Version => "@v",
        }
    }

    /// Reads a string under this kind.
    ///
    /// # Errors
    /// [`ValueError`] when the text is not of the kind.
    pub fn read(self, text: &str) -> Result<Value, ValueError> {
        Ok(match self {
            Self::Plain => Value::Text(text.to_owned()),
            Self::Decimal => Value::Decimal(text.parse()?),
            Self::DateTime => Value::DateTime(text.parse()?),
            Self::Version => Value::Version(text.parse()?),
        })
    }
}

/// Why a text is no value of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not digits, an optional sign and an optional point, or too many digits.
    #[error("not a decimal of at most {MAX_DIGITS} digits on either side of the point")]
    Decimal,
    /// Not a date and time that exists.
    #[error("not a date and time as RFC 3339 writes it")]
    DateTime,
    /// Not up to three numbers with optional pre-release and build.
    #[error("not a version such as 1.2.3")]
    Version,
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A JSON number, kept exactly.
    Number(Decimal),
    /// A decimal written as a string.
    Decimal(Decimal),
    /// A point in time.
    DateTime(DateTime),
    /// A version.
    Version(Version),
    /// Scalars in order; lists do not nest.
    List(Vec<Value>),
}

impl Value {
    /// Orders this value against a constraint's text, read as this value's type.
    /// Nothing when the text is not of the type, or the type has no order
    /// (booleans know only equal and not).
    #[must_use]
    pub fn compare(&self, text: &str) -> Option<Ordering> {
        let trimmed = text.trim();
        match self {
            Self::Text(own) => Some(own.as_str().cmp(text)),
            Self::Number(own) | Self::Decimal(own) => trimmed.parse().ok().map(|other| own.cmp(&other)),
            Self::DateTime(own) => trimmed.parse().ok().map(|other| own.cmp(&other)),
            Self::Version(own) => trimmed.parse().ok().map(|other| own.precedence(&other)),
            Self::Boolean(_) | Self::List(_) => None,
        }
    }

    /// Whether this value equals a constraint's text. A list equals `[a,b]` as a
    /// whole, and any other text when it contains it. Nothing when the text is
    /// not of the type.
    #[must_use]
    pub fn equals(&self, text: &str) -> Option<bool> {
        match self {
            Self::Boolean(own) => match text.trim() {
                "true" => Some(*own),
                "false" => Some(!*own),
                _ => None,
            },
            Self::List(items) => match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                Some("") => Some(items.is_empty()),
                Some(inner) => {
                    let parts: Vec<&str> = inner.split(',').collect();
                    if parts.len() != items.len() {
                        return Some(false);
                    }
                    items.iter().zip(parts).try_fold(true, |all, (item, part)| Some(all & item.equals(part)?))
                }
                None => {
                    let answers: Vec<_> = items.iter().map(|item| item.equals(text)).collect();
                    if answers.contains(&Some(true)) {
                        Some(true)
                    } else if answers.contains(&None) {
                        None
                    } else {
                        Some(false)
                    }
                }
            },
            other => other.compare(text).map(Ordering::is_eq),
        }
    }
}

/// An exact decimal: sign, digits, point, digits. Zero has no sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// Without leading zeros; empty for zero.
    whole: String,
    /// Without trailing zeros.
    fraction: String,
}

impl Decimal {
    /// Whether there is nothing behind the point.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.fraction.is_empty()
    }

    /// The whole number it is, or nothing when it is negative, broken or too large.
    #[must_use]
    pub fn to_u128(&self) -> Option<u128> {
        match (self.negative, self.is_whole(), self.whole.as_str()) {
            (false, true, "") => Some(0),
            (false, true, digits) => digits.parse().ok(),
            _ => None,
        }
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        self.whole
            .len()
            .cmp(&other.whole.len())
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl From<u128> for Decimal {
    fn from(value: u128) -> Self {
        let whole = if value == 0 { String::new() } else { value.to_string() };
        Self { negative: false, whole, fraction: String::new() }
    }
}

impl FromStr for Decimal {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
        let sound =
            |part: &str| !part.is_empty() && part.len() <= MAX_DIGITS && part.bytes().all(|byte| byte.is_ascii_digit());
        if !sound(whole) || !fraction.is_none_or(sound) {
            return Err(ValueError::Decimal);
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.unwrap_or_default().trim_end_matches('0').to_owned();
        let zero = whole.is_empty() && fraction.is_empty();
        Ok(Self { negative: negative && !zero, whole, fraction })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{}", self.fraction)
    }
}

/// A point in time, years 0000 to 9999, to the nanosecond. Leap seconds are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// Seconds since the Unix epoch.
    secs: i64,
    nanos: u32,
}

impl DateTime {
    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn unix_secs(self) -> i64 {
        self.secs
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. The year starts
/// in March here, so that the leap day is its last.
#[expect(clippy::arithmetic_side_effects, reason = "years have four digits, months and days two")]
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_month = (153 * month + 2) / 5;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + before_month + day - 1 - 719_468
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes exactly `count` digits from the front of `text`.
fn digits(text: &mut &str, count: usize) -> Option<i64> {
    let (head, rest) = text.split_at_checked(count)?;
    if !head.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *text = rest;
    head.parse().ok()
}

fn expect(text: &mut &str, any: &[char]) -> Option<char> {
    let first = text.chars().next()?;
    *text = text.strip_prefix(any)?;
    Some(first)
}

#[expect(clippy::arithmetic_side_effects, reason = "every part has at most four digits")]
fn date_time(mut text: &str) -> Option<DateTime> {
    let rest = &mut text;
    let year = digits(rest, 4)?;
    expect(rest, &['-'])?;
    let month = digits(rest, 2)?;
    expect(rest, &['-'])?;
    let day = digits(rest, 2)?;
    expect(rest, &['T', 't', ' '])?;
    let hour = digits(rest, 2)?;
    expect(rest, &[':'])?;
    let minute = digits(rest, 2)?;
    expect(rest, &[':'])?;
    let second = digits(rest, 2)?;
    let nanos = match expect(rest, &['.']) {
        None => 0,
        Some(_) => {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, after) = rest.split_at_checked(length)?;
            *rest = after;
            if fraction.is_empty() || length > 9 {
                return None;
            }
            format!("{fraction:0<9}").parse().ok()?
        }
    };
    let offset_secs = match expect(rest, &['Z', 'z', '+', '-'])? {
        sign @ ('+' | '-') => {
            let hours = digits(rest, 2)?;
            expect(rest, &[':'])?;
            let minutes = digits(rest, 2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let secs = hours * 3600 + minutes * 60;
            if sign == '+' { secs } else { -secs }
        }
        _ => 0,
    };
    let real = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && rest.is_empty();
    let secs = days_of(year, month, day) * SECS_PER_DAY + hour * 3600 + minute * 60 + second - offset_secs;
    // An offset may carry the time out of the four-digit years.
    let within = secs >= days_of(0, 1, 1) * SECS_PER_DAY && secs < days_of(10_000, 1, 1) * SECS_PER_DAY;
    (real && within).then_some(DateTime { secs, nanos })
}

impl FromStr for DateTime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        date_time(text).ok_or(ValueError::DateTime)
    }
}

impl fmt::Display for DateTime {
    #[expect(clippy::arithmetic_side_effects, reason = "the years have four digits by construction")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second_of_day) = (self.secs.div_euclid(SECS_PER_DAY), self.secs.rem_euclid(SECS_PER_DAY));
        // 400 years have 146,097 days; the estimate is off by at most one year.
        let mut year = 1970 + (days * 400).div_euclid(146_097);
        while days_of(year, 1, 1) > days {
            year -= 1;
        }
        while days_of(year + 1, 1, 1) <= days {
            year += 1;
        }
        let mut month = 12;
        while days_of(year, month, 1) > days {
            month -= 1;
        }
        let day = days - days_of(year, month, 1) + 1;
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// A version: up to three numbers, an optional pre-release and build.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    numbers: [u64; 3],
    pre: String,
    build: String,
}

impl Version {
    /// Semver precedence: a pre-release comes before its release, the build does not count.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => pre_release(&self.pre, &other.pre),
        })
    }
}

fn pre_release(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let step = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => x.cmp(y),
            },
        };
        if step.is_ne() {
            return step;
        }
    }
}

impl FromStr for Version {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let labels = |part: Option<&str>| -> Result<String, ValueError> {
            let label = |one: &str| !one.is_empty() && one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            match part {
                None => Ok(String::new()),
                Some(text) if text.split('.').all(label) => Ok(text.to_owned()),
                Some(_) => Err(ValueError::Version),
            }
        };
        if text.len() > MAX_VERSION_BYTES {
            return Err(ValueError::Version);
        }
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = [0; 3];
        let mut parts = core.split('.');
        for (index, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => {
                    *number = part.parse().map_err(|_| ValueError::Version)?;
                }
                None if index > 0 => {}
                _ => return Err(ValueError::Version),
            }
        }
        if parts.next().is_some() {
            return Err(ValueError::Version);
        }
        Ok(Self { numbers, pre: labels(pre)?, build: labels(build)? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn decimals_order_as_numbers_do(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let text = |n: i64| {
                let (sign, n) = (if n < 0 { "-" } else { "" }, n.unsigned_abs());
                format!("{sign}{}.{:03}", n / 1000, n % 1000)
            };
            prop_assert_eq!(decimal(&text(a)).cmp(&decimal(&text(b))), a.cmp(&b));
            prop_assert_eq!(decimal(&decimal(&text(a)).to_string()), decimal(&text(a)));
        }

        #[test]
        fn every_second_of_the_calendar_writes_itself_back(secs in -62_167_219_200_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
            let time = DateTime { secs, nanos };
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "[-0-9.:TZ+a]{0,40}") {
            let _ = (text.parse::<Decimal>(), text.parse::<DateTime>(), text.parse::<Version>());
        }
    }

    #[test]
    fn decimals_have_one_text() {
        for (text, canonical) in [("007.500", "7.5"), ("-0", "0"), ("-0.0", "0"), ("0.10", "0.1"), ("-3", "-3")] {
            assert_eq!(decimal(text).to_string(), canonical);
        }
        for bad in ["", "-", ".5", "5.", "1e3", "+1", "1.2.3", "0x1", " 1", &"9".repeat(41)] {
            assert_eq!(bad.parse::<Decimal>(), Err(ValueError::Decimal), "{bad}");
        }
        assert_eq!(decimal(&u128::MAX.to_string()).to_u128(), Some(u128::MAX));
        assert_eq!(decimal("340282366920938463463374607431768211456").to_u128(), None);
        assert_eq!(decimal("-1").to_u128(), None);
        assert_eq!(decimal("0").to_u128(), Some(0));
        assert_eq!(Decimal::from(0), decimal("0"));
    }

    #[test]
    fn times_are_compared_as_instants() {
        let at = |text: &str| text.parse::<DateTime>().unwrap();
        assert_eq!(at("1970-01-01T00:00:00Z").unix_secs(), 0);
        assert_eq!(at("2000-02-29T12:00:00+02:00"), at("2000-02-29T10:00:00Z"));
        assert_eq!(at("2024-12-31T23:59:59.5-00:30").to_string(), "2025-01-01T00:29:59.5Z");
        assert_eq!(at("1969-12-31T23:59:59Z").unix_secs(), -1);
        for bad in [
            "2001-02-29T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-00-01T00:00:00Z",
            "2001-01-01T24:00:00Z",
            "2001-01-01T00:00:60Z",
            "2001-01-01T00:00:00",
            "2001-01-01T00:00:00.Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2001-01-01T00:00:00Z ",
            "2001-1-01T00:00:00Z",
        ] {
            assert_eq!(bad.parse::<DateTime>(), Err(ValueError::DateTime), "{bad}");
        }
    }

    #[test]
    fn versions_follow_semver_precedence() {
        let ordered = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1",
            "1.0.1",
            "1.10.0",
        ];
        let versions: Vec<Version> = ordered.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted_by(|a, b| a.precedence(b).is_lt()));
        let build: Version = "1.0.0+b7".parse().unwrap();
        assert_eq!(build.precedence(&"1".parse().unwrap()), Ordering::Equal);
        assert_eq!(build.to_string(), "1.0.0+b7");
        for bad in ["", "v1", "1.", "1.2.3.4", "1.0-", "1..2", "1.0.0-a..b", "99999999999999999999"] {
            assert_eq!(bad.parse::<Version>(), Err(ValueError::Version), "{bad}");
        }
    }
}
