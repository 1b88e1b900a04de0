//! Who may use the HTTP API: whoever knows the key.

use std::fmt;

use axum::http::header::{AUTHORIZATION, HeaderMap};
use subtle::ConstantTimeEq;

/// How the HTTP API knows a backend.
#[derive(Clone)]
pub enum Access {
    /// No key is configured, so nobody is let in.
    Closed,
    /// By the key, in `X-API-Key` or behind `Authorization: apikey`.
    Key(Box<[u8]>),
    /// Everybody is let in whose request no foreign page can have made.
    Open,
}

impl Access {
    /// Whether the request shows the key. How long that takes says nothing of the key but its
    /// length.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Closed => false,
            Self::Key(key) => shown(headers).is_some_and(|shown| shown.ct_eq(key).into()),
            Self::Open => true,
        }
    }
}

/// The key that a request shows.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"apikey ").then(|| key.trim_ascii())
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Closed => "Closed",
            Self::Key(_) => "Key(not shown)",
            Self::Open => "Open",
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn admits(access: &Access, name: &'static str, value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        access.admits(&headers)
    }

    #[test]
    fn the_key_and_nothing_else_opens() {
        let access = Access::Key((*b"a long secret").into());
        assert!(admits(&access, "x-api-key", "a long secret"));
        assert!(admits(&access, "authorization", "apikey a long secret"));
        assert!(admits(&access, "authorization", "ApiKey  a long secret"));
        for wrong in ["", "a long secre", "a long secret!", "A long secret", "apikey a long secret"]
        {
            assert!(!admits(&access, "x-api-key", wrong), "{wrong}");
        }
        for wrong in ["", "apikey", "apikey ", "a long secret", "Bearer a long secret"] {
            assert!(!admits(&access, "authorization", wrong), "{wrong}");
        }
        assert!(!access.admits(&HeaderMap::new()));
        assert!(!admits(&Access::Closed, "x-api-key", ""));
        assert!(Access::Open.admits(&HeaderMap::new()));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Access::Key((*b"hunter2").into())), "Key(not shown)");
    }
}
