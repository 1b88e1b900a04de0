//! One finding: what a setting is, what it must be, what breaks otherwise and how to set it.

use serde::Serialize;

/// What a finding means for the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, but worse than it could or not at a peak.
    Warn,
    /// The plan cannot be met.
    Fail,
    /// The host does not say.
    Unknown,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The setting, as the host or this guide names it.
    pub setting: &'static str,
    /// Which of several, such as a network interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it is now.
    pub value: String,
    /// What the plan needs, with the arithmetic.
    pub needed: String,
    /// What that means.
    pub verdict: Verdict,
    /// What breaks while it is not as needed.
    pub breaks: String,
    /// The command or file that sets it.
    pub remedy: String,
}

impl Finding {
    /// A finding about a setting of which nothing is known yet.
    pub(super) fn new(setting: &'static str, needed: impl Into<String>) -> Self {
        Self {
            setting,
            subject: None,
            value: "unknown".to_owned(),
            needed: needed.into(),
            verdict: Verdict::Unknown,
            breaks: String::new(),
            remedy: String::new(),
        }
    }

    /// Which of several.
    pub(super) fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// What breaks while it is not as needed.
    pub(super) fn breaks(mut self, breaks: impl Into<String>) -> Self {
        self.breaks = breaks.into();
        self
    }

    /// How to set it.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// What it is and what that means.
    pub(super) fn is(mut self, value: impl Into<String>, verdict: Verdict) -> Self {
        self.value = value.into();
        self.verdict = verdict;
        self
    }

    /// A number that may not be below `least`; if it is, `otherwise` holds.
    pub(super) fn at_least(self, value: Option<u64>, least: u64, otherwise: Verdict) -> Self {
        let Some(value) = value else { return self };
        let verdict = if value >= least { Verdict::Ok } else { otherwise };
        self.is(grouped(value), verdict)
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    if number >= i64::MAX as u64 {
        return "unlimited".to_owned();
    }
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of memory in decimal units, with one digit behind the point.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    let unit = units.into_iter().find(|(size, _)| count >= *size);
    match unit {
        Some((size, unit)) => {
            let tenths = u128::from(count) * 10 / size as u128;
            format!("{}.{} {unit}", grouped((tenths / 10) as u64), tenths % 10)
        }
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(grouped(u64::MAX), "unlimited");
        assert_eq!(grouped(i64::MAX as u64), "unlimited", "the largest fs.file-max");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(4_250_000_000), "4.2 GB");
        assert_eq!(bytes(1_000), "1.0 KB");
        assert_eq!(bytes(u64::MAX), "18,446,744,073.7 GB");
    }

    #[test]
    fn a_number_is_judged_only_if_it_is_known() {
        let finding = || Finding::new("x", "at least 5");
        assert_eq!(finding().at_least(None, 5, Verdict::Fail).verdict, Verdict::Unknown);
        assert_eq!(finding().at_least(Some(5), 5, Verdict::Fail).verdict, Verdict::Ok);
        assert_eq!(finding().at_least(Some(4), 5, Verdict::Fail).verdict, Verdict::Fail);
    }
}
