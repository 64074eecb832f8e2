//! How long a node waits whose delays are computed: what their expressions give, made one span of time.
//!
//! The wall clock is looked at once, when the wait begins; from then on the wait is a span of the monotonic clock. So a core
//! needs no wall clock, and a clock that is set meanwhile makes no wait shorter or longer.

use crate::expression::{Expression, ExpressionError, Time};
use crate::plan::{Delay, DelayExpression};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Longest wait that an expression may ask for: one day, in milliseconds.
pub const DELAY_MS_MAX: u32 = 24 * 60 * 60 * 1000;

/// Longest value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 100;

impl Delay {
    /// Its expression, compiled; nothing if it is fixed.
    ///
    /// # Errors
    /// If the text is no expression over its inputs, or can give nothing that says how long it is.
    pub fn compile(&self) -> Option<Result<Expression, ExpressionError>> {
        let (compile, delay): (Compile, _) = match self {
            Self::Fixed(_) => return None,
            Self::Computed(delay) => (Expression::compile_milliseconds, delay),
            Self::Until(delay) => (Expression::compile_time, delay),
        };
        let names = delay.inputs.iter().map(|input| input.name.as_str());
        let names: Vec<&str> = names.collect();
        Some(compile(&delay.text, &names))
    }
}

type Compile = fn(&str, &[&str]) -> Result<Expression, ExpressionError>;

/// Whether a text is a point in time as RFC 3339 writes it, like `2030-01-01T08:00:00+01:00`; fractions of a second have at
/// most nine digits.
#[must_use]
pub fn is_timestamp(text: &str) -> bool {
    Time::parse(text).is_some()
}

/// How long a node waits from `now` on: its delays one after the other. `value_of` evaluates an expression, which stands under
/// that key; its result is JSON, and a timestamp is text in it.
///
/// # Errors
/// In words, if an expression has no result, or one that is no such delay.
pub fn wait(
    delays: &[Delay],
    now: SystemTime,
    mut value_of: impl FnMut(&DelayExpression, &'static str) -> Result<Value, String>,
) -> Result<Duration, String> {
    let mut wait = Duration::ZERO;
    for delay in delays {
        wait += match delay {
            Delay::Fixed(delay_ms) => Duration::from_millis((*delay_ms).into()),
            Delay::Computed(expression) => {
                let value = value_of(expression, "`delay_ms`")?;
                span(&value).map_err(of_delay_ms)?
            }
            Delay::Until(expression) => {
                let value = value_of(expression, "`delay_until`")?;
                until(&value, now + wait).map_err(of_delay_until)?
            }
        };
    }
    Ok(wait)
}

/// That a value is what a `delay_ms` gives.
///
/// # Errors
/// In words, if it is not.
pub fn check_span(value: &Value) -> Result<(), String> {
    span(value).map(|_| ()).map_err(of_delay_ms)
}

/// That a value is a time until which one may wait; whether that is near enough shows when it is waited for.
///
/// # Errors
/// In words, if it is not.
pub fn check_time(value: &Value) -> Result<(), String> {
    time(value).map(|_| ()).map_err(of_delay_until)
}

fn of_delay_ms(cause: String) -> String {
    format!("`delay_ms`: {cause}")
}

fn of_delay_until(cause: String) -> String {
    format!("`delay_until`: {cause}")
}

fn span(value: &Value) -> Result<Duration, String> {
    let milliseconds = value.as_f64();
    match milliseconds.filter(|ms| (0.0..=f64::from(DELAY_MS_MAX)).contains(ms)) {
        Some(ms) => Ok(Duration::from_nanos((ms * 1e6).round() as u64)),
        None => Err(format!(
            "it is to give a number of milliseconds from 0 to {DELAY_MS_MAX}, and this is {}",
            shown(value)
        )),
    }
}

fn time(value: &Value) -> Result<Time, String> {
    let time = value.as_str().and_then(Time::parse);
    time.ok_or_else(|| {
        format!(
            "it is to give a timestamp, as \"2030-01-01T08:00:00Z\", and this is {}",
            shown(value)
        )
    })
}

fn until(value: &Value, now: SystemTime) -> Result<Duration, String> {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
    let now_ns = since_epoch.map_or(0, |since| since.as_nanos() as i128);
    let left_ns = (time(value)?.since_epoch_ns() - now_ns).max(0);
    if left_ns > i128::from(DELAY_MS_MAX) * 1_000_000 {
        return Err(format!(
            "{} is more than {DELAY_MS_MAX} ms ahead of this worker's clock",
            shown(value)
        ));
    }
    Ok(Duration::from_nanos(left_ns as u64))
}

/// A value as a message repeats it, which may be in part.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2030-01-01T00:00:00.5Z
    const NOW: Duration = Duration::from_millis(1_893_456_000_500);

    fn expression() -> DelayExpression {
        DelayExpression {
            text: String::new(),
            inputs: Vec::new(),
        }
    }

    fn waits(delays: &[Delay], values: &[Value]) -> Result<Duration, String> {
        let mut values = values.iter();
        wait(delays, SystemTime::UNIX_EPOCH + NOW, |_, _| {
            Ok(values.next().unwrap().clone())
        })
    }

    fn computed(value: Value) -> Result<Duration, String> {
        waits(&[Delay::Computed(expression())], &[value])
    }

    fn until(value: &str) -> Result<Duration, String> {
        waits(&[Delay::Until(expression())], &[json!(value)])
    }

    #[test]
    fn numbers_of_milliseconds_may_have_a_fraction() {
        let micros = Duration::from_micros;
        assert_eq!(computed(json!(0)), Ok(micros(0)));
        assert_eq!(computed(json!(20)), Ok(micros(20_000)));
        assert_eq!(computed(json!(1.5)), Ok(micros(1_500)));
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(computed(json!(86_400_000)), Ok(day));
        for wrong in [
            json!(-1),
            json!(-0.5),
            json!(86_400_001),
            json!(86_400_000.5),
            json!(u64::MAX),
            json!("20"),
            json!(null),
            json!(true),
            json!([20]),
        ] {
            let cause = computed(wrong.clone()).unwrap_err();
            assert!(cause.starts_with("`delay_ms`: it is to give"), "{cause}");
            assert!(cause.ends_with(&format!("this is {wrong}")), "{cause}");
        }
    }

    #[test]
    fn times_that_are_past_are_no_wait_and_far_ones_are_refused() {
        assert_eq!(until("2030-01-01T00:00:00Z"), Ok(Duration::ZERO));
        assert_eq!(until("1900-01-01T00:00:00Z"), Ok(Duration::ZERO));
        let seconds = Duration::from_millis;
        assert_eq!(until("2030-01-01T00:00:02.75Z"), Ok(seconds(2250)));
        assert_eq!(until("2030-01-01T01:00:01+01:00"), Ok(seconds(500)));
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(until("2030-01-02T00:00:00.5Z"), Ok(day));
        for far in ["2030-01-02T00:00:00.500000001Z", "9999-12-31T00:00:00Z"] {
            let cause = until(far).unwrap_err();
            assert!(cause.contains("more than 86400000 ms ahead"), "{cause}");
        }
        for wrong in ["", "tomorrow", "2030-02-30T00:00:00Z", "2030-01-01"] {
            let cause = until(wrong).unwrap_err();
            assert!(
                cause.starts_with("`delay_until`: it is to give a"),
                "{cause}"
            );
        }
        assert!(waits(&[Delay::Until(expression())], &[json!(5)]).is_err());
    }

    #[test]
    fn delays_come_one_after_the_other() {
        let until = Delay::Until(expression());
        let at = json!("2030-01-01T00:00:01Z");
        let seconds = Duration::from_millis;
        let after = [Delay::Fixed(200), until.clone()];
        assert_eq!(waits(&after, std::slice::from_ref(&at)), Ok(seconds(500)));
        let past = [Delay::Fixed(700), until.clone()];
        assert_eq!(waits(&past, std::slice::from_ref(&at)), Ok(seconds(700)));
        let before = [until, Delay::Computed(expression()), Delay::Fixed(30)];
        assert_eq!(waits(&before, &[at, json!(4)]), Ok(seconds(534)));
    }

    #[test]
    fn long_values_are_repeated_in_part() {
        let cause = computed(json!("é".repeat(5000))).unwrap_err();
        assert!(
            cause.chars().count() < 250 && cause.ends_with('…'),
            "{cause}"
        );
    }
}
