//! Durations and sizes with units, both ways.
//!
//! A duration always has a unit, because `25` alone has been read as seconds and as milliseconds
//! by different people. A size without a unit is bytes. Units are exact: `KiB` is 1024 bytes, and
//! `KB`, which means two things, is refused.

use std::time::Duration;

const TIMES: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration such as `25s`; `None` when it is none.
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    parse(text, TIMES).map(Duration::from_millis)
}

/// The duration in the largest unit that holds it exactly; below a millisecond nothing is kept.
pub(super) fn render_time(time: Duration) -> String {
    render(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), TIMES, "s")
}

/// A size such as `64KiB`; `None` when it is none.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

/// The size in the largest unit that holds it exactly.
pub(super) fn render_size(bytes: u64) -> String {
    render(bytes, SIZES, "B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn render(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    let exact = |(_, factor): &&(&str, u64)| amount != 0 && amount.is_multiple_of(*factor);
    match units.iter().find(exact) {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => format!("0{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_exact() {
        assert_eq!(parse_time("25s"), Some(Duration::from_secs(25)));
        assert_eq!(parse_time("500 ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_time("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_time("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("7B"), Some(7));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "s", "25", "-1s", "1.5s", "1s ", "1w", "99999999999999999999s"] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
        for text in ["", "KiB", "64KB", "64kib", "-1B", "18446744073709551615GiB", "١KiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn rendered_amounts_parse_back(amount in any::<u64>()) {
            prop_assert_eq!(parse_size(&render_size(amount)), Some(amount));
            let time = Duration::from_millis(amount);
            prop_assert_eq!(parse_time(&render_time(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (parse_time(&text), parse_size(&text));
        }
    }
}
