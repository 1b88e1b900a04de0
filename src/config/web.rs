//! Lists of what browsers send: values of the Origin header and names of subprotocols.
//!
//! An entry that no browser ever sends is a mistake that its author cannot see, so it is refused
//! by name, or brought into the one form in which browsers send it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::codec::{Codec, Words};
use crate::config::group::{Reader, Rendered};
use crate::config::node::{Node, Value};

/// Values of the Origin header (RFC 6454 section 6.2), `*` for any, or with `*.` before a host for
/// every name below it.
pub(super) struct WebOrigins;

impl Codec<Vec<String>> for WebOrigins {
    fn parse(_: &Node) -> Option<Vec<String>> {
        None
    }

    fn expected() -> String {
        "a list of origins such as [\"https://example.org\"], without path, or [\"*\"]".to_owned()
    }

    fn render(value: &Vec<String>) -> Rendered {
        Words::render(value)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<String>> {
        read_each(node, &Self::expected(), origin, reader)
    }
}

/// Names of subprotocols.
pub(super) struct Subprotocols;

impl Codec<Vec<String>> for Subprotocols {
    fn parse(_: &Node) -> Option<Vec<String>> {
        None
    }

    fn expected() -> String {
        "a list of names such as [\"chat.example.org\"], which do not begin with \"token.\""
            .to_owned()
    }

    fn render(value: &Vec<String>) -> Rendered {
        Words::render(value)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Vec<String>> {
        read_each(node, &Self::expected(), subprotocol, reader)
    }
}

/// Reads each string of a list, and names each that is wrong.
fn read_each(
    node: &Node,
    expected: &str,
    convert: fn(&str) -> Result<String, &'static str>,
    reader: &mut Reader,
) -> Option<Vec<String>> {
    let words = match &node.value {
        Value::Array(nodes) => nodes.clone(),
        _ => match Words::parse(node) {
            Some(words) => {
                let origin = &node.origin;
                words.into_iter().map(|word| Node::of_text(word, origin.clone())).collect()
            }
            None => {
                reader.reject(node, node.describe(false), expected.to_owned());
                return None;
            }
        },
    };
    let read = |(index, word): (usize, &Node)| {
        let converted = match &word.value {
            Value::Text(text) => convert(text),
            _ => Err(""),
        };
        let reject = |flaw: &str| {
            reader.within(&format!("[{index}]"), |reader| {
                let found = format!("{}{flaw}", word.describe(false));
                reader.reject(word, found, expected.to_owned());
            });
        };
        converted.map_err(reject).ok()
    };
    Some(words.iter().enumerate().filter_map(read).collect())
}

/// An origin as browsers send it.
fn origin(text: &str) -> Result<String, &'static str> {
    let text = text.to_ascii_lowercase();
    if text == "*" || text == "null" {
        return Ok(text);
    }
    if !text.is_ascii() {
        return Err(" (browsers send such a name in ASCII: xn--…)");
    }
    let (scheme, authority) = text.split_once("://").ok_or(" (without https://)")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        || !scheme.bytes().all(is_scheme)
    {
        return Err("");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]*".contains(&byte);
    if !authority.bytes().all(is_plain) {
        return Err(if authority.contains('/') { " (with a path)" } else { "" });
    }
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        // WebViews and local files: their schemes name hosts as they like, or none.
        _ if authority.contains('*') => return Err(""),
        _ => return Ok(text),
    };
    let (wildcard, authority) = match authority.strip_prefix("*.") {
        Some(parent) => ("*.", parent),
        None => ("", authority),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = plain_host(host).ok_or("")?;
    match port.map(str::parse::<u16>) {
        None => Ok(format!("{scheme}://{wildcard}{host}")),
        Some(Ok(port)) if port == default_port => Ok(format!("{scheme}://{wildcard}{host}")),
        Some(Ok(port)) if port != 0 => Ok(format!("{scheme}://{wildcard}{host}:{port}")),
        Some(_) => Err(" (with a wrong port)"),
    }
}

/// A host as browsers write it.
fn plain_host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let mut labels = text.split('.');
    if !labels.clone().all(|label| !label.is_empty() && label.bytes().all(is_name)) {
        return None;
    }
    // What ends in a number is an address, and browsers write all four of its parts.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = !labels.next_back().is_some_and(is_number) || text.parse::<Ipv4Addr>().is_ok();
    is_host.then(|| text.to_owned())
}

/// The name of a subprotocol (RFC 6455 section 4.1 (10)): a token of RFC 9110 section 5.6.2.
fn subprotocol(text: &str) -> Result<String, &'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.starts_with("token.") {
        Err(" (behind which a client shows its token)")
    } else if text.is_empty() || !text.bytes().all(is_token) {
        Err("")
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_get_the_form_in_which_browsers_send_them() {
        for (written, sent) in [
            ("https://Example.org", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://example.org:443", "http://example.org:443"),
            ("https://*.example.org:0443", "https://*.example.org"),
            ("http://[0:0:0::1]:3000", "http://[::1]:3000"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("file://", "file://"),
            ("null", "null"),
            ("*", "*"),
        ] {
            assert_eq!(origin(written).as_deref(), Ok(sent), "{written}");
        }
    }

    #[test]
    fn origins_that_no_browser_sends_are_refused() {
        for wrong in [
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://example.org/path",
            "https://user@example.org",
            "https://example.org:0",
            "https://example.org:65536",
            "https://example.org:",
            "https://a.*.example.org",
            "https://*",
            "https://bücher.example",
            "https://example..org",
            "https://example.org.",
            "http://127.1",
            "http://[::g]",
            "://example.org",
            "app://*.example",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn subprotocols_are_tokens() {
        assert_eq!(subprotocol("chat.example.org").as_deref(), Ok("chat.example.org"));
        for wrong in ["", "a b", "a,b", "token.x", "é"] {
            assert!(subprotocol(wrong).is_err(), "{wrong}");
        }
    }
}
