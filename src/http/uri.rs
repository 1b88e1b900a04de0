//! Path segments and query pairs of a request target, percent-decoded (RFC 3986 section 2.1).
//!
//! Decoding happens after splitting, so an encoded `/`, `&` or `=` is data. What does not decode
//! to UTF-8 is refused rather than guessed. In a query `+` means a space, as browsers'
//! `URLSearchParams` write it. Nothing is allocated where nothing is encoded.

use std::borrow::Cow;

use crate::http::Refusal;

/// The decoded segments of a path that starts with `/`.
pub fn path_segments(path: &str) -> impl Iterator<Item = Result<Cow<'_, str>, Refusal>> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(|segment| decode(segment, false))
}

/// The pairs of a query, without its `?`. A name without `=` has an empty value.
pub fn query_pairs(
    query: &str,
) -> impl Iterator<Item = Result<(Cow<'_, str>, QueryValue<'_>), Refusal>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name, true)?, QueryValue(value)))
    })
}

/// The value of a query pair, still percent-encoded: a list is split before it is decoded.
#[derive(Clone, Copy, Debug)]
pub struct QueryValue<'a>(&'a str);

impl<'a> QueryValue<'a> {
    /// The value as one text.
    pub fn text(self) -> Result<Cow<'a, str>, Refusal> {
        decode(self.0, true)
    }

    /// The members of a list with commas between them, without empty ones. An encoded comma is
    /// part of its member.
    pub fn list(self) -> impl Iterator<Item = Result<Cow<'a, str>, Refusal>> {
        let members = self.0.split(',').filter(|member| !member.is_empty());
        members.map(|member| decode(member, true))
    }
}

/// Decodes one component.
fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Refusal> {
    let is_encoded = |byte: u8| byte == b'%' || (byte == b'+' && plus_is_space);
    if !text.bytes().any(is_encoded) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit);
                let low = bytes.next().and_then(hex_digit);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(Refusal::bad_request(
                        "A '%' in the URI must be followed by two hexadecimal digits.",
                    ));
                };
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    let decoded = String::from_utf8(decoded)
        .map_err(|_| Refusal::bad_request("The percent-encoded bytes of the URI are not UTF-8."))?;
    Ok(Cow::Owned(decoded))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Option<Vec<String>> {
        path_segments(path).map(|segment| Some(segment.ok()?.into_owned())).collect()
    }

    fn pairs(query: &str) -> Option<Vec<(String, String)>> {
        let owned = |(name, value): (Cow<'_, str>, QueryValue<'_>)| {
            Some((name.into(), value.text().ok()?.into()))
        };
        query_pairs(query).map(|pair| owned(pair.ok()?)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        assert_eq!(segments("/websocket/a%2Fb+%C3%A9").unwrap(), ["websocket", "a/b+é"]);
        assert_eq!(segments("/").unwrap(), [""]);
        assert_eq!(segments("/a//b/").unwrap(), ["a", "", "b", ""]);
    }

    #[test]
    fn pairs_are_split_before_they_are_decoded() {
        let expected =
            [pair("channels", "a,b"), pair("token", "x=y&z"), pair("q", "1 2"), pair("flag", "")];
        assert_eq!(pairs("channels=a,b&&token=x=y%26z&q=1+2&flag").unwrap(), expected);
        assert_eq!(pairs("").unwrap(), []);
    }

    #[test]
    fn lists_are_split_before_they_are_decoded() {
        let list = |text| QueryValue(text).list().collect::<Result<Vec<_>, _>>();
        assert_eq!(list("a,,b%2Cc,+d").unwrap(), ["a", "b,c", " d"]);
        assert_eq!(list("").unwrap(), [""; 0]);
        assert!(list("a,%").is_err());
    }

    #[test]
    fn nothing_is_allocated_for_plain_text() {
        assert!(matches!(path_segments("/plain").next(), Some(Ok(Cow::Borrowed("plain")))));
    }

    // RFC 3986 §2.1: "%" HEXDIG HEXDIG.
    #[test]
    fn bad_encoding_is_refused() {
        for path in ["/%", "/%4", "/%4G", "/%+1", "/%FF", "/%C3", "/%C3/%A9", "/%é"] {
            assert_eq!(segments(path), None, "{path}");
            assert_eq!(pairs(path), None, "{path}");
        }
        assert_eq!(path_segments("/%").next().unwrap().unwrap_err().status, 400);
    }
}
