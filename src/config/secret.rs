//! Secrets, files that hold keys, and the few other forms that options of tokens have.
//!
//! Invariant: a secret never appears in an error, in a debug print or in the template. Keys are
//! parsed where they are read, so that a wrong one is reported with its line and not when the
//! first client connects. A relative path is relative to the configuration file that names it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::codec::{Codec, Words, quote};
use crate::config::group::{Flaw, Reader, Rendered};
use crate::config::key::{beside, read_start, text_or_file};
use crate::config::node::{Node, Value};
use crate::limits::KEY_SET_BYTES_MAX;
use crate::token::{Key, KeySet};

/// Fewest bytes of a secret: as many as the shortest signature has (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Longest file with one secret or key.
const KEY_FILE_BYTES_MAX: usize = 16 << 10;

/// Bytes that only this edge and its backends know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secret(not shown)")
    }
}

/// A public key in PEM that was read and found usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeyPem(String);

impl PublicKeyPem {
    /// The key.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::from_pem(&self.0).expect("the text was parsed when the configuration was read")
    }
}

/// One secret or a list of them, each as text or in a file.
pub(super) struct SharedSecrets;

impl Codec<Vec<Secret>> for SharedSecrets {
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Vec<Secret>> {
        None
    }

    fn expected() -> String {
        let form = "\"file:PATH\" of one, or a list of these";
        format!("a secret of at least {SECRET_BYTES_MIN} bytes, {form}")
    }

    fn render(_: &Vec<Secret>) -> Rendered {
        Rendered::Absent
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<Secret>> {
        match &node.value {
            Value::Array(nodes) => read_list(nodes, resolve_secret, Self::expected(), reader),
            _ => accept(resolve_secret(node), Self::expected(), (node, reader))
                .map(|secret| vec![secret]),
        }
    }
}

/// A list of public keys, each as text or in a file.
pub(super) struct PublicKeys;

impl Codec<Vec<PublicKeyPem>> for PublicKeys {
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Vec<PublicKeyPem>> {
        None
    }

    fn expected() -> String {
        "a list of public keys, each PEM text or \"file:PATH\" of it".to_owned()
    }

    fn render(value: &Vec<PublicKeyPem>) -> Rendered {
        Words::render(&value.iter().map(|key| key.0.clone()).collect())
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<PublicKeyPem>> {
        // A variable or flag may hold the one key without brackets.
        let one = std::slice::from_ref(node);
        let nodes = match &node.value {
            Value::Array(nodes) => nodes,
            Value::Text(_) if node.is_from_text() => one,
            _ => {
                reader.reject(node, node.describe(true), Self::expected());
                return None;
            }
        };
        read_list(nodes, resolve_public_key, Self::expected(), reader)
    }
}

/// The path of a file with a key set.
pub(super) struct KeySetFile;

impl Codec<PathBuf> for KeySetFile {
    fn parse(node: &Node) -> Option<PathBuf> {
        resolve_key_set(node).ok()
    }

    fn expected() -> String {
        "the path of a file with a key set (JWKS)".to_owned()
    }

    fn render(value: &PathBuf) -> Rendered {
        Rendered::Inline(quote(&value.display().to_string()))
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<PathBuf> {
        accept(resolve_key_set(node).map_err(Flaw::Found), Self::expected(), (node, reader))
    }
}

/// An http or https address.
pub(super) struct WebAddress;

impl Codec<String> for WebAddress {
    /// A wrong address may hold a password.
    const SECRET: bool = true;

    fn parse(node: &Node) -> Option<String> {
        let text = node.text()?;
        let address: hyper::Uri = text.parse().ok()?;
        let is_web = matches!(address.scheme_str(), Some("http" | "https"));
        let has_host = address.host().is_some_and(|host| !host.is_empty());
        // A password in an address ends up in logs.
        let has_user =
            address.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (is_web && has_host && !has_user).then(|| text.to_owned())
    }

    fn expected() -> String {
        "an address such as \"https://example.org/jwks.json\", without a password".to_owned()
    }

    fn render(value: &String) -> Rendered {
        Rendered::Inline(quote(value))
    }
}

/// A name that must be found as it is.
pub(super) struct Name;

impl Codec<String> for Name {
    fn parse(node: &Node) -> Option<String> {
        let text = node.text()?;
        let is_plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
        (!text.is_empty() && text.chars().all(is_plain)).then(|| text.to_owned())
    }

    fn expected() -> String {
        "a name without spaces".to_owned()
    }

    fn render(value: &String) -> Rendered {
        Rendered::Inline(quote(value))
    }
}

pub(super) fn accept<T>(
    found: Result<T, Flaw>,
    expected: String,
    (node, reader): (&Node, &mut Reader),
) -> Option<T> {
    found.map_err(|flaw| reader.report(node, flaw, expected)).ok()
}

/// Reads each entry of a list, and names each that is wrong.
pub(super) fn read_list<T>(
    nodes: &[Node],
    resolve: fn(&Node) -> Result<T, Flaw>,
    expected: String,
    reader: &mut Reader,
) -> Option<Vec<T>> {
    let values = nodes.iter().enumerate().filter_map(|(index, node)| {
        reader.within(&format!("[{index}]"), |reader| {
            accept(resolve(node), expected.clone(), (node, reader))
        })
    });
    Some(values.collect())
}

fn resolve_secret(node: &Node) -> Result<Secret, Flaw> {
    let text = resolve_text(node)?;
    match text.len() {
        length if length < SECRET_BYTES_MIN => Err(Flaw::Found(format!(
            "one of {length} bytes (`openssl rand -hex 32` makes a good one)"
        ))),
        _ => Ok(Secret(text.into_bytes().into())),
    }
}

fn resolve_public_key(node: &Node) -> Result<PublicKeyPem, Flaw> {
    let text = resolve_text(node)?;
    Key::from_pem(&text).map_err(|error| Flaw::Found(error.to_string()))?;
    Ok(PublicKeyPem(text))
}

/// What a string says, or the file that it names, without the newline at the end.
fn resolve_text(node: &Node) -> Result<String, Flaw> {
    let (text, path) = text_or_file(node, KEY_FILE_BYTES_MAX + 1)?;
    match path {
        None => Ok(text),
        Some(path) if text.len() > KEY_FILE_BYTES_MAX => {
            let more = format!("{}: more than {KEY_FILE_BYTES_MAX} bytes", path.display());
            Err(Flaw::Found(more))
        }
        Some(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

fn resolve_key_set(node: &Node) -> Result<PathBuf, String> {
    let Some(text) = node.text().filter(|text| !text.is_empty()) else {
        return Err(node.describe(false));
    };
    let path = beside(&node.origin, Path::new(text));
    let found = |what: &dyn fmt::Display| format!("{}: {what}", path.display());
    let text = read_start(&path, KEY_SET_BYTES_MAX + 1).map_err(|error| found(&error))?;
    if text.len() > KEY_SET_BYTES_MAX {
        return Err(found(&format_args!("more than {KEY_SET_BYTES_MAX} bytes")));
    }
    KeySet::parse(text.as_bytes()).map_err(|error| found(&error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Origin;

    fn node(text: &str) -> Node {
        Node::of_text(text.to_owned(), Origin::Default)
    }

    /// What was found instead of a value.
    fn found<T>(result: Result<T, Flaw>) -> String {
        match result {
            Err(Flaw::Found(found)) => found,
            Err(Flaw::Unreadable(path, reason)) => panic!("{}: {reason}", path.display()),
            Ok(_) => panic!("it is fine"),
        }
    }

    #[test]
    fn a_secret_loses_only_the_newline_of_its_file() {
        let path = std::env::temp_dir().join(format!("tidegate-secret-{}", std::process::id()));
        let secret = format!(" {} ", "s".repeat(SECRET_BYTES_MIN));
        std::fs::write(&path, format!("{secret}\r\n")).unwrap();
        let found = resolve_secret(&node(&format!("file:{}", path.display())));
        std::fs::remove_file(&path).unwrap();
        let bytes = |found: Result<Secret, Flaw>| found.ok().unwrap().as_bytes().to_vec();
        assert_eq!(bytes(found), secret.as_bytes());
        assert_eq!(bytes(resolve_secret(&node(&secret))), secret.as_bytes());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = resolve_secret(&node(&"hunter2".repeat(5))).ok().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(not shown)");
        assert!(matches!(SharedSecrets::render(&vec![secret]), Rendered::Absent));
        let short = found(resolve_secret(&node("hunter2")));
        assert!(short.starts_with("one of 7 bytes") && !short.contains("hunter2"), "{short}");
        assert!(!found(resolve_public_key(&node("hunter2"))).contains("hunter2"));
    }

    #[test]
    fn endless_and_missing_files_are_refused() {
        assert!(found(resolve_secret(&node("file:/dev/zero"))).contains("more than"));
        let missing = resolve_secret(&node("file:/nowhere/secret"));
        assert!(matches!(missing, Err(Flaw::Unreadable(..))));
        assert!(resolve_key_set(&node("/dev/zero")).unwrap_err().contains("more than"));
        let missing = resolve_key_set(&node("/nowhere/jwks.json")).unwrap_err();
        assert!(missing.starts_with("/nowhere/jwks.json: "), "{missing}");
    }

    #[test]
    fn addresses_are_of_the_web_and_without_passwords() {
        for text in ["https://example.org/jwks.json", "http://127.0.0.1:80/", "https://[::1]/a?b"] {
            assert!(WebAddress::parse(&node(text)).is_some(), "{text}");
        }
        for text in ["", "example.org", "ftp://a/", "https://", "https://u:p@a/", "file:///a", "/a"]
        {
            assert!(WebAddress::parse(&node(text)).is_none(), "{text}");
        }
    }
}
