//! CURVE keys: 32 bytes, written as 40 characters of Z85 (ZeroMQ RFC 32) or as `file:PATH`.
//!
//! Invariant: a secret key never appears in an error, in a debug print or in the template. A
//! relative path is relative to the configuration file that names it.

use std::fmt;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::config::codec::Codec;
use crate::config::error::Origin;
use crate::config::group::{Flaw, Reader, Rendered};
use crate::config::node::{Node, Value};

/// Longest file with one key.
const FILE_BYTES_MAX: usize = 1024;

/// Half of a key pair that everybody may know.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Half of a key pair that must stay here.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl PublicKey {
    /// The key in binary, as libzmq takes it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in Z85, as ZAP and people write it.
    #[must_use]
    pub fn to_z85(&self) -> String {
        encode(&self.0)
    }
}

impl SecretKey {
    /// The key in binary, as libzmq takes it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({})", self.to_z85())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecretKey(not shown)")
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<[u8; 32]> for SecretKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// One key.
pub(super) struct Key;

impl<K: From<[u8; 32]>> Codec<K> for Key {
    const SECRET: bool = true;

    fn parse(node: &Node) -> Option<K> {
        resolve(node).ok().map(K::from)
    }

    fn expected() -> String {
        "a key of 40 Z85 characters, or \"file:PATH\" of a file that holds one".to_owned()
    }

    fn render(_: &K) -> Rendered {
        Rendered::Absent
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<K> {
        match resolve(node) {
            Ok(bytes) => Some(K::from(bytes)),
            Err(flaw) => {
                reader.report(node, flaw, <Self as Codec<K>>::expected());
                None
            }
        }
    }
}

/// A list of keys.
pub(super) struct Keys;

impl Codec<Vec<PublicKey>> for Keys {
    const SECRET: bool = true;

    fn parse(_: &Node) -> Option<Vec<PublicKey>> {
        None
    }

    fn expected() -> String {
        "a list of keys, each of 40 Z85 characters or \"file:PATH\"".to_owned()
    }

    fn render(value: &Vec<PublicKey>) -> Rendered {
        let keys: Vec<_> = value.iter().map(|key| format!("\"{}\"", key.to_z85())).collect();
        Rendered::Inline(format!("[{}]", keys.join(", ")))
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<PublicKey>> {
        let Value::Array(nodes) = &node.value else {
            reader.reject(node, node.describe(Self::SECRET), Self::expected());
            return None;
        };
        let keys = nodes.iter().enumerate().filter_map(|(index, node)| {
            reader.within(&format!("[{index}]"), |reader| {
                <Key as Codec<PublicKey>>::read(node, reader)
            })
        });
        Some(keys.collect())
    }
}

/// The key in binary, or what was found in its place, without showing it.
fn resolve(node: &Node) -> Result<[u8; 32], Flaw> {
    let (text, path) = text_or_file(node, FILE_BYTES_MAX)?;
    match path {
        None => decode(&text).ok_or_else(|| Flaw::Found("a string of another form".to_owned())),
        Some(path) => decode(text.trim())
            .ok_or_else(|| Flaw::Found(format!("another content in the file {}", path.display()))),
    }
}

/// What a string says or, with `file:` before it, the beginning of the file that it names, and
/// that file's path.
pub(super) fn text_or_file(
    node: &Node,
    bytes_max: usize,
) -> Result<(String, Option<PathBuf>), Flaw> {
    let text = node.text().ok_or_else(|| Flaw::Found(node.describe(true)))?;
    let Some(path) = text.strip_prefix("file:") else { return Ok((text.to_owned(), None)) };
    if path.is_empty() {
        return Err(Flaw::Found("file: without a path".to_owned()));
    }
    let path = beside(&node.origin, Path::new(path));
    match read_start(&path, bytes_max) {
        Ok(text) => Ok((text, Some(path))),
        Err(error) => Err(Flaw::Unreadable(path, error.to_string())),
    }
}

/// How a path begins that leads to a credential of the unit; systemd sets the variable.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// A relative path of a configuration file starts at that file, and one that begins with
/// `$CREDENTIALS_DIRECTORY` where that variable says.
pub(super) fn beside(origin: &Origin, path: &Path) -> PathBuf {
    if let Ok(name) = path.strip_prefix(CREDENTIALS) {
        let directory = std::env::var_os(&CREDENTIALS[1..]);
        return directory
            .map_or_else(|| path.to_owned(), |directory| Path::new(&directory).join(name));
    }
    match origin {
        Origin::File { path: file, .. } => match file.parent() {
            Some(directory) => directory.join(path),
            None => path.to_owned(),
        },
        _ => path.to_owned(),
    }
}

/// The first bytes of a file: a key file is short, and `/dev/zero` must not fill the memory.
pub(super) fn read_start(path: &Path, bytes: usize) -> std::io::Result<String> {
    if path.starts_with(CREDENTIALS) {
        return Err(Error::other(
            "systemd sets this variable in a unit with LoadCredential=NAME:PATH; elsewhere set it \
             to the folder of the file",
        ));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| match variable_in(path) {
        Some(name) if error.kind() == ErrorKind::NotFound => Error::other(format!(
            "{error}: the variable {name} is not replaced, as only {CREDENTIALS} is; write the path"
        )),
        _ => error,
    })?;
    file.take(bytes as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// What in a path looks like a variable.
fn variable_in(path: &Path) -> Option<&str> {
    let mut parts = path.iter().filter_map(|part| part.to_str());
    parts.find(|part| part.starts_with('$'))
}

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Strict where `zmq::z85_decode` is not: that one ignores libzmq's refusal and returns zeros.
fn decode(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 40 {
        return None;
    }
    for (block, out) in text.as_bytes().chunks(5).zip(key.chunks_mut(4)) {
        let mut number = 0u32;
        for byte in block {
            let digit = ALPHABET.iter().position(|known| known == byte)?;
            number = number.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        out.copy_from_slice(&number.to_be_bytes());
    }
    Some(key)
}

fn encode(key: &[u8; 32]) -> String {
    let mut text = String::with_capacity(40);
    for block in key.chunks(4) {
        let number = block.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(number / power % 85) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const Z85: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

    fn node(text: &str) -> Node {
        Node::of_text(text.to_owned(), Origin::Default)
    }

    #[test]
    fn keys_are_z85_or_files() {
        let key = <Key as Codec<PublicKey>>::parse(&node(Z85)).unwrap();
        assert_eq!(key.to_z85(), Z85);
        let path = std::env::temp_dir().join(format!("tidegate-key-{}", std::process::id()));
        std::fs::write(&path, format!("{Z85}\n")).unwrap();
        let found = resolve(&node(&format!("file:{}", path.display())));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.ok().unwrap(), *key.as_bytes());
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = SecretKey::from([7; 32]);
        assert_eq!(format!("{secret:?}"), "SecretKey(not shown)");
        let Err(Flaw::Found(found)) = resolve(&node("hunter2")) else { panic!("it is no key") };
        assert!(!found.contains("hunter2"), "{found}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = resolve(&node("file:/nowhere/key"));
        assert!(matches!(missing, Err(Flaw::Unreadable(path, _)) if path.ends_with("nowhere/key")));
        assert!(resolve(&node("file:/dev/zero")).is_err());
        assert!(
            matches!(resolve(&node("file:")), Err(Flaw::Found(found)) if found.contains("path"))
        );
        let Err(Flaw::Unreadable(_, reason)) = resolve(&node("file:/etc/$NOPE/key")) else {
            panic!("it is not there")
        };
        assert!(reason.contains("$NOPE") && reason.contains("not replaced"), "{reason}");
    }

    proptest! {
        #[test]
        fn keys_are_what_libzmq_writes(key in any::<[u8; 32]>()) {
            let text = zmq::z85_encode(&key).unwrap();
            prop_assert_eq!(&encode(&key), &text);
            prop_assert_eq!(decode(&text), Some(key));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,50}", graphic in "[!-~]{40}") {
            let _ = (decode(&text), decode(&graphic));
        }
    }
}
