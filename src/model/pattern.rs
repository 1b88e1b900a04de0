//! Patterns of channel names, as the published API has them.

use std::str::Chars;

use regex::{Regex, RegexBuilder};

use crate::limits::CHANNEL_NAME_BYTES_MAX;

/// A pattern: `*` stands for any characters, `?` for one, `[abc]` and `[a-z]` for one of these,
/// `[!a-z]` for one of all others, `{a,b}` for one of several patterns, and `\` takes its meaning
/// from the character that follows. A name is compared in a time that is proportional to its
/// length and the pattern's.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// What a pattern must be.
pub const PATTERN_FORM: &str =
    "a pattern of at most 255 bytes whose brackets and braces are closed";

/// Most bytes of a pattern in the form in which it is compared.
const COMPILED_BYTES_MAX: usize = 1 << 20;

impl Pattern {
    /// Reads a pattern from outside; `None` if it is not of the form.
    pub fn parse(pattern: &str) -> Option<Self> {
        let is_short = pattern.len() <= CHANNEL_NAME_BYTES_MAX;
        let expression = is_short.then(|| expression(pattern)).flatten();
        let regex = expression.and_then(|expression| {
            RegexBuilder::new(&expression).size_limit(COMPILED_BYTES_MAX).build().ok()
        });
        regex.map(Self)
    }

    /// Whether a name fits.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// A regular expression that says the same. What is not closed is left so, and is an error there.
fn expression(pattern: &str) -> Option<String> {
    let mut expression = String::from("(?s)^");
    let mut braces = 0;
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => push_class(&mut chars, &mut expression)?,
            '{' => {
                braces += 1;
                expression.push_str("(?:");
            }
            ',' if braces > 0 => expression.push('|'),
            '}' if braces > 0 => {
                braces -= 1;
                expression.push(')');
            }
            '\\' => push_literal(chars.next()?, &mut expression),
            char => push_literal(char, &mut expression),
        }
    }
    expression.push('$');
    Some(expression)
}

fn push_class(chars: &mut Chars<'_>, expression: &mut String) -> Option<()> {
    expression.push('[');
    if chars.as_str().starts_with('!') {
        chars.next();
        expression.push('^');
    }
    while !chars.as_str().starts_with(']') {
        push_literal(member(chars)?, expression);
        let is_range = |rest: &str| !rest.starts_with(']');
        if chars.as_str().strip_prefix('-').is_some_and(is_range) {
            chars.next();
            expression.push('-');
            push_literal(member(chars)?, expression);
        }
    }
    chars.next();
    expression.push(']');
    Some(())
}

/// The next character of a class.
fn member(chars: &mut Chars<'_>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        char => Some(char),
    }
}

/// By its number a character has no other meaning.
fn push_literal(char: char, expression: &mut String) {
    expression.push_str(&format!(r"\x{{{:x}}}", u32::from(char)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_or_not() {
        for (pattern, fitting, other) in [
            ("chat:*", "chat: /1\u{2028}", "cha"),
            ("?*", "\n", ""),
            ("a", "a", "ab"),
            ("*x", "xx", "xy"),
            ("a*b*c", "a-b-b-c", "a-c"),
            ("a*a", "aa", "a"),
            ("a**b", "a:/b", "ab:"),
            ("a.(b)+$", "a.(b)+$", "a.bb"),
            ("?", "é", "ab"),
            ("[abc]", "b", "d"),
            ("[a-cé-ü]?", "ö1", "d1"),
            ("[!a-c]", "d", "b"),
            ("[^a]", "^", "b"),
            ("[a-]", "-", "b"),
            ("[--/]", ".", "a"),
            (r"[\]\\]", "]", "["),
            ("[a&&b]", "&", "c"),
            ("{chat,talk}:?", "talk:1", "talk:"),
            ("{a,b{c,d}*}", "bdx", "bx"),
            ("a{,b}", "a", "ac"),
            ("a,b}", "a,b}", "a"),
            (r"\*\?\[\{\\", r"*?[{\", "abcd"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert!(parsed.matches(fitting), "{pattern} {fitting}");
            assert!(!parsed.matches(other), "{pattern} {other}");
        }
    }

    #[test]
    fn what_is_not_closed_or_too_long_is_refused() {
        let long = "a".repeat(256);
        for pattern in ["[", "[a", "[]", "[!]", "[z-a]", "[a-", "{", "{a,b", "{{a}", "\\", &long] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_long_time() {
        let name = "a".repeat(CHANNEL_NAME_BYTES_MAX);
        for part in ["*a", "?*", "{a,a*}", "{*,?}", "[!b]*"] {
            let pattern = part.repeat(CHANNEL_NAME_BYTES_MAX / part.len() - 1) + "b";
            let pattern = Pattern::parse(&pattern).unwrap();
            assert!((0..1000).all(|_| !pattern.matches(&name)), "{part}");
        }
        assert!(Pattern::parse(&"{".repeat(CHANNEL_NAME_BYTES_MAX)).is_none());
        let nested = "{".repeat(127) + &"}".repeat(127);
        assert!(Pattern::parse(&nested).is_some_and(|pattern| pattern.matches("")));
    }
}
