//! Points in time, as RFC 3339 writes them.

use std::fmt;

/// A point in time, ordered as time goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Time {
    /// Since 1970-01-01T00:00:00Z.
    seconds: i64,
    nanoseconds: u32,
}

impl Time {
    /// Reads `2024-02-29T12:00:00.5+01:00` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            let all = digits.bytes().all(|digit| digit.is_ascii_digit());
            digits.parse::<i64>().ok().filter(|_| all)
        };
        let sign = |at: usize, signs: &[u8]| {
            text.as_bytes()
                .get(at)
                .is_some_and(|byte| signs.contains(byte))
        };
        let marks = [
            (4, &b"-"[..]),
            (7, b"-"),
            (10, b"Tt "),
            (13, b":"),
            (16, b":"),
        ];
        if !marks.iter().all(|(at, signs)| sign(*at, signs)) {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let in_range = (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !in_range {
            return None;
        }
        let mut rest = &text[19..];
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let length = fraction.find(|c: char| !c.is_ascii_digit())?;
            if length == 0 || length > 9 {
                return None;
            }
            nanoseconds = fraction[..length].parse::<u32>().ok()? * 10u32.pow(9 - length as u32);
            rest = &fraction[length..];
        }
        let offset = match rest.as_bytes() {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let from = text.len() - 5;
                let (hours, minutes) = (number(from..from + 2)?, number(from + 3..from + 5)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = (hours * 60 + minutes) * 60;
                if *sign == b'-' { -seconds } else { seconds }
            }
            _ => return None,
        };
        let seconds = days(year, month, day) * 86_400 + (hour * 60 + minute) * 60 + second - offset;
        Some(Self {
            seconds,
            nanoseconds,
        })
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z; negative before.
    pub(crate) fn since_epoch_ns(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && year % 100 != 0 || year % 400 == 0
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date from the year 0 on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| year * 365 + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    before(year) - before(1970) + months + day - 1
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut left, second_of_day) = (
            self.seconds.div_euclid(86_400),
            self.seconds.rem_euclid(86_400),
        );
        // Never later than the right one, and a few years earlier at most.
        let mut year = 1970 + left.div_euclid(if left < 0 { 365 } else { 366 });
        while days(year + 1, 1, 1) <= left {
            year += 1;
        }
        left -= days(year, 1, 1);
        let mut month = 1;
        while left >= days_in(year, month) {
            left -= days_in(year, month);
            month += 1;
        }
        let (hour, minute, second) = (
            second_of_day / 3600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        write!(
            f,
            "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}",
            left + 1
        )?;
        if self.nanoseconds > 0 {
            let fraction = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_and_ordered() {
        let same = [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2024-02-29T23:59:59.5+01:30", "2024-02-29T22:29:59.5Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            (
                "9999-12-31T23:59:59.999999999Z",
                "9999-12-31T23:59:59.999999999Z",
            ),
            ("1969-12-31T20:00:00-04:00", "1970-01-01T00:00:00Z"),
            ("1900-03-01t00:00:00z", "1900-03-01T00:00:00Z"),
        ];
        for (text, written) in same {
            assert_eq!(Time::parse(text).unwrap().to_string(), written);
        }
        assert_eq!(
            Time::parse("2001-09-09T01:46:40Z").unwrap().seconds,
            1_000_000_000
        );
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01",
            "+024-01-01T00:00:00Z",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
        let earlier = Time::parse("2024-01-01T00:00:00.1Z");
        assert!(earlier < Time::parse("2024-01-01T00:00:00.25Z"));
    }
}
