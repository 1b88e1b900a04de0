//! Text from outside, where a message or a log line repeats it.

/// At most 32 characters of foreign text, without control characters.
pub(crate) fn excerpt(text: &str) -> Box<str> {
    let mut short: String = text.chars().take(32).flat_map(char::escape_debug).collect();
    if text.chars().nth(32).is_some() {
        short.push('…');
    }
    short.into()
}
