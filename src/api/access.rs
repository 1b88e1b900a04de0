//! Who may use the HTTP API: whoever knows the key.

use std::fmt;

use axum::http::header::{AUTHORIZATION, HeaderMap};
use subtle::{Choice, ConstantTimeEq};

/// How the HTTP API knows a backend.
#[derive(Clone)]
pub enum Access {
    /// No key is configured, so nobody is let in.
    Closed,
    /// By one of these keys, in `X-API-Key` or behind `Authorization: apikey`.
    Keys(Vec<Box<[u8]>>),
    /// Everybody is let in whose request no foreign page can have made.
    Open,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// There is no key that could be shown.
    #[error("the API is closed: set the option api.key (or start with --dev)")]
    Closed,
    /// No key was shown.
    #[error("no key was sent: send one (option api.key) in the header X-API-Key")]
    NoKey,
    /// What was shown is none, as it is not announced as one.
    #[error("no key was sent: Authorization takes `apikey KEY`, or use the header X-API-Key")]
    OtherScheme,
    /// Another key was shown.
    #[error("the key that was sent is not the one, or one of those, of the option api.key")]
    WrongKey,
}

impl Access {
    /// Whether the request shows a key. How long that takes says nothing of the keys but their
    /// lengths.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let keys = match self {
            Self::Open => return Ok(()),
            Self::Closed => return Err(Denied::Closed),
            Self::Keys(keys) => keys,
        };
        let shown = shown(headers)?;
        let mut is_known = Choice::from(0);
        for key in keys {
            is_known |= shown.ct_eq(key);
        }
        if is_known.into() { Ok(()) } else { Err(Denied::WrongKey) }
    }
}

/// The key that a request shows.
fn shown(headers: &HeaderMap) -> Result<&[u8], Denied> {
    if let Some(key) = headers.get("x-api-key") {
        return Ok(key.as_bytes());
    }
    let credentials = headers.get(AUTHORIZATION).ok_or(Denied::NoKey)?.as_bytes();
    match credentials.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"apikey ") => Ok(key.trim_ascii()),
        _ => Err(Denied::OtherScheme),
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Closed => "Closed",
            Self::Keys(_) => "Keys(not shown)",
            Self::Open => "Open",
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(access: &Access, name: &'static str, value: &'static str) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        access.check(&headers)
    }

    #[test]
    fn the_keys_and_nothing_else_open() {
        let keys = [&b"a long secret"[..], b"the next secret"];
        let access = Access::Keys(keys.map(Box::from).to_vec());
        assert_eq!(check(&access, "x-api-key", "a long secret"), Ok(()));
        assert_eq!(check(&access, "x-api-key", "the next secret"), Ok(()));
        assert_eq!(check(&access, "authorization", "apikey a long secret"), Ok(()));
        assert_eq!(check(&access, "authorization", "ApiKey  a long secret"), Ok(()));
        for wrong in ["", "a long secre", "a long secret!", "A long secret", "apikey a long secret"]
        {
            assert_eq!(check(&access, "x-api-key", wrong), Err(Denied::WrongKey), "{wrong}");
        }
        for wrong in ["", "apikey", "a long secret", "Bearer a long secret"] {
            assert_eq!(check(&access, "authorization", wrong), Err(Denied::OtherScheme), "{wrong}");
        }
        assert_eq!(check(&access, "authorization", "apikey "), Err(Denied::WrongKey));
        assert_eq!(access.check(&HeaderMap::new()), Err(Denied::NoKey));
        assert_eq!(check(&Access::Closed, "x-api-key", ""), Err(Denied::Closed));
        assert_eq!(Access::Open.check(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn keys_are_not_shown() {
        let access = Access::Keys(vec![(*b"hunter2").into()]);
        assert_eq!(format!("{access:?}"), "Keys(not shown)");
    }
}
