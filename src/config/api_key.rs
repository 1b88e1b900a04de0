//! The key of the HTTP API: text that fits a header, or `file:PATH`.
//!
//! Invariant: it never appears in an error, in a debug print or in the template.

use std::fmt;
use std::path::Path;

use super::codec::Codec;
use super::group::{Reader, Rendered};
use super::key::{beside, read_start};
use super::node::{Node, Value};

/// Lengths of a key: shorter ones can be guessed, and a header must hold it.
const BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// The key of the HTTP API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Box<str>);

impl ApiKey {
    /// The key as backends send it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ApiKey(not shown)")
    }
}

/// The option's form.
pub(super) struct ApiKeyText;

impl Codec<ApiKey> for ApiKeyText {
    const SECRET: bool = true;

    fn parse(node: &Node) -> Option<ApiKey> {
        resolve(node).ok()
    }

    fn expected() -> String {
        "16 to 256 visible ASCII characters, or \"file:PATH\"".to_owned()
    }

    fn render(_: &ApiKey) -> Rendered {
        Rendered::Absent
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<ApiKey> {
        match resolve(node) {
            Ok(key) => Some(key),
            Err(found) => {
                reader.reject(node, found, Self::expected());
                None
            }
        }
    }
}

/// The key, or what was found in its place, without showing it.
fn resolve(node: &Node) -> Result<ApiKey, String> {
    let Value::Text(text) = &node.value else { return Err(node.describe(true)) };
    match text.strip_prefix("file:") {
        None => checked(text).ok_or_else(|| "a string of another form".to_owned()),
        Some(path) => {
            let path = beside(&node.origin, Path::new(path));
            let text =
                read_start(&path, 1024).map_err(|error| format!("{}: {error}", path.display()))?;
            let key = checked(text.trim());
            key.ok_or_else(|| format!("another content in the file {}", path.display()))
        }
    }
}

fn checked(text: &str) -> Option<ApiKey> {
    let is_key = BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_key.then(|| ApiKey(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn node(text: &str) -> Node {
        Node { value: Value::Text(text.to_owned()), origin: Origin::Default }
    }

    #[test]
    fn keys_are_text_or_files() {
        let text = "0123456789abcdef";
        assert_eq!(resolve(&node(text)).unwrap().as_bytes(), text.as_bytes());
        let path = std::env::temp_dir().join(format!("tidegate-api-key-{}", std::process::id()));
        std::fs::write(&path, format!("{text}\n")).unwrap();
        let found = resolve(&node(&format!("file:{}", path.display())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.unwrap().as_bytes(), text.as_bytes());
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let long = "k".repeat(257);
        for bad in ["", "hunter2hunter2", "0123456789 abcdef", "0123456789abcdé", &long] {
            let found = resolve(&node(bad)).unwrap_err();
            assert_eq!(found, "a string of another form", "{bad}");
        }
        assert!(resolve(&node("file:/nowhere/key")).unwrap_err().starts_with("/nowhere/key: "));
        let key = resolve(&node("0123456789abcdef")).unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(not shown)");
    }
}
