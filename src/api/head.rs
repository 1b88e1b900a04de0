//! What is looked at before a request is carried out: whose page it comes from, and its body.
//!
//! A browser on this machine is what an attacker would use where no key is asked for. A page of
//! another site cannot send JSON here without a preflight, which nothing answers; a page that does
//! carry an `Origin` must be ours; and the `Host` must be an address, so that a name rebound to
//! this machine is of no use.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use crate::api::error::ApiError;
use crate::http::host::is_local;

/// Most bytes that one of our pages sends: the public address takes no longer head.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// Lets requests through that no foreign page can read the answer of.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_local_host(headers) {
        return Err(ApiError::ForeignHost);
    }
    if !is_same_origin(headers) {
        return Err(ApiError::ForeignOrigin);
    }
    Ok(())
}

/// Lets requests through that no foreign page can make.
pub(super) fn check_page(headers: &HeaderMap) -> Result<(), ApiError> {
    check_origin(headers)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or("");
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::NotJson);
    }
    Ok(())
}

/// Reads a body of at most so many bytes in time.
pub(super) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    time_max: Duration,
) -> Result<Bytes, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH);
    let bytes: Option<u64> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    if bytes.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(ApiError::TooLarge(bytes_max));
    }
    match tokio::time::timeout(time_max, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            Err(ApiError::TooLarge(bytes_max))
        }
        Ok(Err(_)) => Err(ApiError::BodyIncomplete),
        Err(_) => Err(ApiError::BodyTimeout),
    }
}

/// What one of our own pages sends as JSON.
pub(super) async fn read_page<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    time_max: Duration,
) -> Result<T, ApiError> {
    check_page(headers)?;
    let body = read_body(headers, body, PAGE_BYTES_MAX, time_max).await?;
    serde_json::from_slice(&body).map_err(|error| ApiError::Invalid(error.to_string()))
}

/// The name or address in the `Host` header, without the port; `None` if it has odd characters.
pub(super) fn host(headers: &HeaderMap) -> Option<String> {
    let authority: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]-".contains(&byte);
    let host = authority.host();
    (!host.is_empty() && host.bytes().all(plain)).then(|| host.to_owned())
}

/// Whether the `Host` header names this machine in a way that no foreign DNS name can: a page
/// whose name was rebound to our address would send its own name here.
pub(super) fn is_local_host(headers: &HeaderMap) -> bool {
    host(headers).is_some_and(|host| is_local(&host))
}

/// Whether the request comes from one of our own pages, or from no page at all.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.as_bytes().strip_prefix(b"http://");
    authority.is_some() && authority == headers.get(header::HOST).map(HeaderValue::as_bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The headers of a request that a page or a program sends.
    pub(in crate::api) fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn rebound_names_are_not_local() {
        for good in ["localhost", "LOCALHOST:9000", "127.0.0.1:9000", "[::1]:9000", "10.0.0.7"] {
            assert!(is_local_host(&headers(good, None)), "{good}");
        }
        for bad in ["evil.example", "localhost.evil.example:9000", "", ":9000", "127.0.0.1.evil"] {
            assert!(!is_local_host(&headers(bad, None)), "{bad}");
        }
        assert!(!is_local_host(&HeaderMap::new()));
    }

    #[test]
    fn other_origins_are_told_apart() {
        let host = "127.0.0.1:9000";
        assert!(is_same_origin(&headers(host, None)));
        assert!(is_same_origin(&headers(host, Some("http://127.0.0.1:9000"))));
        for bad in ["null", "http://127.0.0.1:8000", "http://evil.example", "127.0.0.1:9000"] {
            assert!(!is_same_origin(&headers(host, Some(bad))), "{bad}");
        }
    }
}
