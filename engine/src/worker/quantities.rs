//! How people write CPU lists and sizes on the command line, `0-2,4` and `512M`; and how sizes and durations are shown to
//! them.

use thiserror::Error;

/// CPUs in one list, at most: above what any host has, so that `0-4000000000` is an error and not a long wait.
const CPUS_MAX: usize = 4096;

/// What is wrong with a list of CPUs.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpuListError {
    /// Nothing there.
    #[error("no CPU is named; write numbers and ranges, as in `0-2,4`")]
    Empty,
    /// Not a number or range.
    #[error("`{part}` is neither a CPU number nor a range; write them as in `0-2,4`")]
    Part {
        /// As written.
        part: String,
    },
    /// A range that runs backwards.
    #[error("the range `{part}` runs backwards")]
    Backwards {
        /// As written.
        part: String,
    },
    /// Twice the same.
    #[error("CPU {cpu} is named twice")]
    Twice {
        /// Which.
        cpu: u32,
    },
    /// More than any host has.
    #[error("more than {CPUS_MAX} CPUs are named")]
    TooMany,
}

/// The CPUs of a list such as `0-2,4`, in the order in which they are named.
///
/// # Errors
/// A [`CpuListError`] that quotes the part which is wrong.
pub fn parse_cpus(text: &str) -> Result<Vec<u32>, CpuListError> {
    if text.trim().is_empty() {
        return Err(CpuListError::Empty);
    }
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        let wrong = || CpuListError::Part {
            part: part.to_owned(),
        };
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u32 = first.trim().parse().map_err(|_| wrong())?;
        let last: u32 = last.trim().parse().map_err(|_| wrong())?;
        if last < first {
            return Err(CpuListError::Backwards {
                part: part.to_owned(),
            });
        }
        if (last - first) as usize >= CPUS_MAX - cpus.len() {
            return Err(CpuListError::TooMany);
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(CpuListError::Twice { cpu });
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// What is wrong with a size.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// Not a number with a unit.
    #[error(
        "`{text}` is not a size; write a number of bytes, or one with a unit: K, M, G, T (or KiB, MiB, GiB, TiB; all \
         powers of 1024)"
    )]
    Form {
        /// As written.
        text: String,
    },
    /// Beyond 2^64.
    #[error("`{text}` is more bytes than a number can hold")]
    Large {
        /// As written.
        text: String,
    },
}

/// The bytes of a size such as `4096`, `512M` or `2GiB`. Units are powers of 1024, in either case of letters.
///
/// # Errors
/// A [`SizeError`] that quotes the text.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => {
            return Err(SizeError::Form {
                text: text.to_owned(),
            });
        }
    };
    if number.is_empty() {
        return Err(SizeError::Form {
            text: text.to_owned(),
        });
    }
    let large = || SizeError::Large {
        text: text.to_owned(),
    };
    let number: u64 = number.parse().map_err(|_| large())?;
    number.checked_mul(1 << shift).ok_or_else(large)
}

/// A size as people read it: in the largest unit that divides it, or with one decimal.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes >> shift > 0 {
            let (whole, rest) = (bytes >> shift, bytes & ((1 << shift) - 1));
            let tenth = (rest as u128 * 10) >> shift;
            return if tenth == 0 {
                format!("{whole} {unit}")
            } else {
                format!("{whole}.{tenth} {unit}")
            };
        }
    }
    format!("{bytes} bytes")
}

/// A duration for people, with three digits that count.
#[must_use]
pub fn duration_text(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read_in_the_order_named() {
        assert_eq!(parse_cpus("0-2,4"), Ok(vec![0, 1, 2, 4]));
        assert_eq!(parse_cpus(" 7 , 3-3 "), Ok(vec![7, 3]));
    }

    #[test]
    fn a_wrong_cpu_list_is_an_error_that_quotes_it() {
        let part = |part: &str| {
            Err(CpuListError::Part {
                part: part.to_owned(),
            })
        };
        assert_eq!(parse_cpus(""), Err(CpuListError::Empty));
        assert_eq!(parse_cpus("0,,1"), part(""));
        assert_eq!(parse_cpus("a-b"), part("a-b"));
        assert_eq!(parse_cpus("-1"), part("-1"));
        assert_eq!(parse_cpus("1-2-3"), part("1-2-3"));
        assert_eq!(
            parse_cpus("3-1"),
            Err(CpuListError::Backwards {
                part: "3-1".to_owned()
            })
        );
        assert_eq!(parse_cpus("0-2,1"), Err(CpuListError::Twice { cpu: 1 }));
        assert_eq!(parse_cpus("0-4294967295"), Err(CpuListError::TooMany));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("1t"), Ok(1 << 40));
        assert_eq!(parse_size("0"), Ok(0));
    }

    #[test]
    fn a_wrong_size_is_an_error_that_quotes_it() {
        for text in ["", "M", "12Q", "-1", "1.5G", "GB"] {
            assert_eq!(
                parse_size(text),
                Err(SizeError::Form {
                    text: text.to_owned()
                })
            );
        }
        for text in ["99999999999999999999", "18446744073709551615K"] {
            assert_eq!(
                parse_size(text),
                Err(SizeError::Large {
                    text: text.to_owned()
                })
            );
        }
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size_text(512 << 20), "512 MiB");
        assert_eq!(size_text(1536 << 20), "1.5 GiB");
        assert_eq!(size_text(12), "12 bytes");
    }
}
