//! Secrets, files that hold keys, and the few other forms that options of tokens have.
//!
//! Invariant: a secret never appears in an error, in a debug print or in the template. Keys are
//! parsed where they are read, so that a wrong one is reported with its line and not when the
//! first client connects. A relative path is relative to the configuration file that names it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::codec::{Codec, Words, quote};
use super::group::{Reader, Rendered};
use super::key::{beside, read_start};
use super::node::{Node, Value};
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

/// A secret as text or in a file.
pub(super) struct SharedSecret;

impl Codec<Secret> for SharedSecret {
    const SECRET: bool = true;

    fn parse(node: &Node) -> Option<Secret> {
        resolve_secret(node).ok()
    }

    fn expected() -> String {
        format!("a secret of at least {SECRET_BYTES_MIN} bytes, or \"file:PATH\" of one")
    }

    fn render(_: &Secret) -> Rendered {
        Rendered::Absent
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Secret> {
        let secret = resolve_secret(node);
        accept(secret, Self::expected(), (node, reader))
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
        let keys = nodes.iter().enumerate().filter_map(|(index, node)| {
            reader.within(&format!("[{index}]"), |reader| {
                accept(resolve_public_key(node), Self::expected(), (node, reader))
            })
        });
        Some(keys.collect())
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
        accept(resolve_key_set(node), Self::expected(), (node, reader))
    }
}

/// An http or https address.
pub(super) struct WebAddress;

impl Codec<String> for WebAddress {
    /// A wrong address may hold a password.
    const SECRET: bool = true;

    fn parse(node: &Node) -> Option<String> {
        let Value::Text(text) = &node.value else { return None };
        let address: hyper::Uri = text.parse().ok()?;
        let is_web = matches!(address.scheme_str(), Some("http" | "https"));
        let has_host = address.host().is_some_and(|host| !host.is_empty());
        // A password in an address ends up in logs.
        let has_user =
            address.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (is_web && has_host && !has_user).then(|| text.clone())
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
        let Value::Text(text) = &node.value else { return None };
        let is_plain = |letter: char| !letter.is_whitespace() && !letter.is_control();
        (!text.is_empty() && text.chars().all(is_plain)).then(|| text.clone())
    }

    fn expected() -> String {
        "a name without spaces".to_owned()
    }

    fn render(value: &String) -> Rendered {
        Rendered::Inline(quote(value))
    }
}

fn accept<T>(
    found: Result<T, String>,
    expected: String,
    (node, reader): (&Node, &mut Reader),
) -> Option<T> {
    found.map_err(|found| reader.reject(node, found, expected)).ok()
}

fn resolve_secret(node: &Node) -> Result<Secret, String> {
    let text = resolve_text(node)?;
    match text.len() {
        length if length < SECRET_BYTES_MIN => {
            Err(format!("one of {length} bytes (`openssl rand -hex 32` makes a good one)"))
        }
        _ => Ok(Secret(text.into_bytes().into())),
    }
}

fn resolve_public_key(node: &Node) -> Result<PublicKeyPem, String> {
    let text = resolve_text(node)?;
    Key::from_pem(&text).map_err(|error| error.to_string())?;
    Ok(PublicKeyPem(text))
}

/// What a string says, or the file that it names, without the newline at the end.
fn resolve_text(node: &Node) -> Result<String, String> {
    let Value::Text(text) = &node.value else { return Err(node.describe(true)) };
    let Some(path) = text.strip_prefix("file:") else { return Ok(text.clone()) };
    let path = beside(&node.origin, Path::new(path));
    let text = read_file(&path, KEY_FILE_BYTES_MAX)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn resolve_key_set(node: &Node) -> Result<PathBuf, String> {
    let Value::Text(text) = &node.value else { return Err(node.describe(false)) };
    let path = beside(&node.origin, Path::new(text));
    let text = read_file(&path, KEY_SET_BYTES_MAX)?;
    KeySet::parse(text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn read_file(path: &Path, bytes_max: usize) -> Result<String, String> {
    let text =
        read_start(path, bytes_max + 1).map_err(|error| format!("{}: {error}", path.display()))?;
    if text.len() > bytes_max {
        return Err(format!("{}: more than {bytes_max} bytes", path.display()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Origin;

    fn node(text: &str) -> Node {
        Node { value: Value::Text(text.to_owned()), origin: Origin::Default }
    }

    #[test]
    fn a_secret_loses_only_the_newline_of_its_file() {
        let path = std::env::temp_dir().join(format!("tidegate-secret-{}", std::process::id()));
        let secret = format!(" {} ", "s".repeat(SECRET_BYTES_MIN));
        std::fs::write(&path, format!("{secret}\r\n")).unwrap();
        let found = resolve_secret(&node(&format!("file:{}", path.display())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.unwrap().as_bytes(), secret.as_bytes());
        assert_eq!(resolve_secret(&node(&secret)).unwrap().as_bytes(), secret.as_bytes());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = resolve_secret(&node(&"hunter2".repeat(5))).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(not shown)");
        assert!(matches!(SharedSecret::render(&secret), Rendered::Absent));
        let short = resolve_secret(&node("hunter2")).unwrap_err();
        assert!(short.starts_with("one of 7 bytes") && !short.contains("hunter2"), "{short}");
        assert!(!resolve_public_key(&node("hunter2")).unwrap_err().contains("hunter2"));
    }

    #[test]
    fn endless_and_missing_files_are_refused() {
        assert!(resolve_secret(&node("file:/dev/zero")).unwrap_err().contains("more than"));
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
