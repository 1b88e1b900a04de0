//! The keys of the HTTP API: texts that fit a header, or `file:PATH`, one or several.
//!
//! Invariant: a key never appears in an error, in a debug print or in the template.

use std::fmt;

use crate::config::codec::Codec;
use crate::config::group::{Flaw, Reader, Rendered};
use crate::config::key::text_or_file;
use crate::config::node::{Node, Value};
use crate::config::secret::{accept, read_list};

/// Lengths of a key: shorter ones can be guessed, and a header must hold it.
const BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// Longest file with one key.
const FILE_BYTES_MAX: usize = 1024;

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

/// The option's form: one key or a list of them.
pub(super) struct ApiKeys;

impl Codec<Vec<ApiKey>> for ApiKeys {
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Vec<ApiKey>> {
        None
    }

    fn expected() -> String {
        "16 to 256 visible ASCII characters, or \"file:PATH\", or a list of these".to_owned()
    }

    fn render(_: &Vec<ApiKey>) -> Rendered {
        Rendered::Absent
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<ApiKey>> {
        match &node.value {
            Value::Array(nodes) => read_list(nodes, resolve, Self::expected(), reader),
            _ => accept(resolve(node), Self::expected(), (node, reader)).map(|key| vec![key]),
        }
    }
}

/// The key, or what was found in its place, without showing it.
fn resolve(node: &Node) -> Result<ApiKey, Flaw> {
    let (text, path) = text_or_file(node, FILE_BYTES_MAX)?;
    match path {
        None => checked(&text).ok_or_else(|| Flaw::Found("a string of another form".to_owned())),
        Some(path) => checked(text.trim())
            .ok_or_else(|| Flaw::Found(format!("another content in the file {}", path.display()))),
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
        Node::of_text(text.to_owned(), Origin::Default)
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
            let Err(Flaw::Found(found)) = resolve(&node(bad)) else { panic!("{bad}") };
            assert_eq!(found, "a string of another form", "{bad}");
        }
        let missing = resolve(&node("file:/nowhere/key"));
        assert!(matches!(missing, Err(Flaw::Unreadable(path, _)) if path.ends_with("nowhere/key")));
        let key = resolve(&node("0123456789abcdef")).unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(not shown)");
    }
}
