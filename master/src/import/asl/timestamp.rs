//! Which texts are times: RFC 3339 as the Amazon States Language narrows it, with capital `T` and `Z`.

/// Whether a text is a time, as in `2016-03-14T01:59:00Z` or `2016-03-14T01:59:00.5+01:00`.
pub(super) fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| -> Option<u32> {
        let digits = bytes.get(from..from + length)?;
        digits.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let mark = |at: usize, mark: u8| bytes.get(at) == Some(&mark);
    let within = |number: Option<u32>, least: u32, most: u32| {
        number.is_some_and(|number| (least..=most).contains(&number))
    };
    let moment = number(0, 4).is_some()
        && mark(4, b'-')
        && within(number(5, 2), 1, 12)
        && mark(7, b'-')
        && within(number(8, 2), 1, 31)
        && mark(10, b'T')
        && within(number(11, 2), 0, 23)
        && mark(13, b':')
        && within(number(14, 2), 0, 59)
        && mark(16, b':')
        && within(number(17, 2), 0, 60);
    if !moment {
        return false;
    }
    let mut at = 19;
    if mark(at, b'.') {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return false;
        }
        at += 1 + digits;
    }
    match bytes.get(at) {
        Some(b'Z') => at + 1 == bytes.len(),
        Some(b'+' | b'-') => {
            within(number(at + 1, 2), 0, 23)
                && mark(at + 3, b':')
                && within(number(at + 4, 2), 0, 59)
                && at + 6 == bytes.len()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_timestamp;

    #[test]
    fn times_are_told_from_other_texts() {
        for good in [
            "2016-03-14T01:59:00Z",
            "2016-03-14T01:59:00.125Z",
            "2016-03-14T01:59:60-23:59",
        ] {
            assert!(is_timestamp(good), "{good}");
        }
        for bad in [
            "",
            "2016-03-14",
            "2016-03-14t01:59:00Z",
            "2016-13-14T01:59:00Z",
            "2016-03-14T24:59:00Z",
            "2016-03-14T01:59:00",
            "2016-03-14T01:59:00.Z",
            "2016-03-14T01:59:00Zx",
            "2016-03-14T01:59:00+1",
            "2016-03-14T01:59:0é",
        ] {
            assert!(!is_timestamp(bad), "{bad}");
        }
    }
}
