//! The head of a request, parsed with every limit checked before anything is kept.
//!
//! A [`Head`] borrows from the received bytes and a caller's header table: no allocation. It is
//! judged afresh with each receive until complete, at most `HEAD_BYTES_MAX` bytes each time.
//! RFC 9112 rules that stop request smuggling are errors, not repairs: one `Host`, no line
//! folding, no body. Only GET: the opening handshake has no other method (RFC 6455 section 4.2.1).

use crate::http::Refusal;

/// Most bytes of a request head: cookies and tokens are long.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Most header fields of a request head.
pub const HEADERS_MAX: usize = 64;

/// Room for the parsed header fields; lives on the caller's stack.
#[derive(Debug)]
pub struct HeaderTable<'b>([httparse::Header<'b>; HEADERS_MAX]);

impl Default for HeaderTable<'_> {
    fn default() -> Self {
        Self([httparse::EMPTY_HEADER; HEADERS_MAX])
    }
}

/// The head of a GET request over HTTP/1.1.
#[derive(Debug)]
pub struct Head<'h, 'b> {
    /// The path of the target, still percent-encoded; starts with `/`.
    pub path: &'b str,
    /// The query of the target without `?`, still percent-encoded; empty if there is none.
    pub query: &'b str,
    /// The host, with the port if it was given: never empty.
    pub host: &'b str,
    headers: &'h [httparse::Header<'b>],
}

impl<'h, 'b> Head<'h, 'b> {
    /// Parses the head at the start of `input` and returns it with its length in bytes.
    ///
    /// `None` when more bytes are needed and may still come. A refusal is final: answer it and
    /// close.
    pub fn parse(
        input: &'b [u8],
        table: &'h mut HeaderTable<'b>,
    ) -> Result<Option<(Self, usize)>, Refusal> {
        let input = &input[..input.len().min(HEAD_BYTES_MAX)];
        if let Some(refusal) = other_protocol(input) {
            return Err(refusal);
        }
        let mut request = httparse::Request::new(&mut table.0);
        let size = match request.parse(input).map_err(refusal)? {
            httparse::Status::Complete(size) => size,
            httparse::Status::Partial if input.len() < HEAD_BYTES_MAX => return Ok(None),
            httparse::Status::Partial => return Err(too_long(input)),
        };
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let headers: &'h [httparse::Header<'b>] = request.headers;
        if method != "GET" {
            return Err(Refusal::method_not_allowed());
        }
        if request.version != Some(1) {
            return Err(Refusal::version_not_supported());
        }
        Ok(Some((Self::accept(target, headers)?, size)))
    }

    /// The values of every header field with this name, in order; names ignore case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        values(self.headers, name)
    }

    /// The value of a header field that must not be repeated.
    pub fn value(&self, name: &str, repeated: &'static str) -> Result<Option<&'b [u8]>, Refusal> {
        at_most_one(self.values(name), repeated)
    }

    /// The members of a comma-separated list that may span several header fields, trimmed, without
    /// empty ones (RFC 9110 section 5.6.1).
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    }

    /// The rules between fields.
    fn accept(target: &'b str, headers: &'h [httparse::Header<'b>]) -> Result<Self, Refusal> {
        // RFC 9112 §6.3: either field announces a body, and what follows here must be frames.
        if values(headers, "Transfer-Encoding").next().is_some()
            || values(headers, "Content-Length").any(|length| length != b"0")
        {
            return Err(Refusal::bad_request("A GET request to this server must have no body."));
        }
        // RFC 9112 §3.2: a server MUST respond with 400 unless there is exactly one valid Host.
        let host =
            at_most_one(values(headers, "Host"), "There is more than one Host header field.")?
                .ok_or(Refusal::bad_request("The Host header field is missing."))?;
        let host = valid_host(host)?;
        let (authority, path_and_query) = split_target(target)?;
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        // RFC 9112 §3.2.2: the authority of an absolute target replaces the Host field.
        let host = authority.map_or(Ok(host), |authority| valid_host(authority.as_bytes()))?;
        Ok(Self { path, query, host, headers })
    }
}

/// The authority, if the target has the absolute form, and the rest, which starts with `/`.
fn split_target(target: &str) -> Result<(Option<&str>, &str), Refusal> {
    // RFC 6455 §3: fragment identifiers MUST NOT be used on WebSocket URIs.
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Refusal::bad_request("The URI has a byte that must be percent-encoded."));
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let absolute = target.split_once("://").and_then(|(scheme, rest)| {
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let (authority, _) = rest.split_once('/')?;
        is_http.then_some((Some(authority), &rest[authority.len()..]))
    });
    absolute.ok_or(Refusal::bad_request("The URI must be a path that starts with '/'."))
}

/// A host with optional port: characters of RFC 3986 section 3.2.2, no user information.
fn valid_host(host: &[u8]) -> Result<&str, Refusal> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=[]:".contains(&byte);
    if host.is_empty() || !host.iter().copied().all(is_host) {
        return Err(Refusal::bad_request("The Host header field is not a host name."));
    }
    Ok(std::str::from_utf8(host).expect("only ASCII passed"))
}

fn values<'b>(headers: &[httparse::Header<'b>], name: &str) -> impl Iterator<Item = &'b [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

fn at_most_one<'b>(
    mut values: impl Iterator<Item = &'b [u8]>,
    repeated: &'static str,
) -> Result<Option<&'b [u8]>, Refusal> {
    let first = values.next();
    if values.next().is_some() { Err(Refusal::bad_request(repeated)) } else { Ok(first) }
}

/// What else people aim at this port, by its first bytes: most of it would wait in vain.
fn other_protocol(input: &[u8]) -> Option<Refusal> {
    // RFC 8446 §5.1: a record of the handshake.
    if input.starts_with(&[0x16, 3]) {
        let reason = "This is TLS, which this server does not speak: connect with ws://, or let a \
                      proxy end it.";
        return Some(Refusal::bad_request(reason));
    }
    // ZMTP 3.1 §2.2: a greeting.
    if input.first() == Some(&0xff) && input.get(9) == Some(&0x7f) {
        let reason = "This is ZeroMQ, whose sockets are at ingest.endpoints and not here.";
        return Some(Refusal::bad_request(reason));
    }
    None
}

/// What of a head takes more than there is room for.
fn too_long(input: &[u8]) -> Refusal {
    // RFC 9112 §2.2 lets empty lines precede the request.
    let mut request = input.iter().skip_while(|byte| b"\r\n".contains(byte));
    if request.any(|byte| *byte == b'\n') {
        Refusal::head_too_large("The request head is longer than 16 KiB.")
    } else {
        Refusal::uri_too_long()
    }
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::head_too_large("The request has more than 64 header fields.")
        }
        httparse::Error::Version => Refusal::version_not_supported(),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            Refusal::bad_request("A header field has a byte that HTTP/1.1 does not allow.")
        }
        _ => Refusal::bad_request("This is not an HTTP/1.1 request."),
    }
}

#[cfg(test)]
mod tests;
