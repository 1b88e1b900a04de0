//! Which pages may open a connection, and under which names the server may be reached.
//!
//! Browsers let any page open a WebSocket to any host and send this host's cookies along, so the
//! Origin is the only guard against a foreign page (RFC 6455 section 10.2): by default it must be
//! the host itself. Clients that are not browsers send none.

use crate::http::host::{is_local, without_port};

/// Which pages may open a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages of the host and port that the request names.
    #[default]
    SameHost,
    /// Pages of these origins, without the default port of their scheme:
    /// `https://app.example.com`, or `https://*.example.com` for every name below `example.com`.
    Allow(Vec<String>),
    /// Every page: for doors that trust tokens, not cookies.
    Any,
}

impl OriginPolicy {
    /// True exactly when a page of `origin` may connect to `host`.
    pub(super) fn allows(&self, origin: &[u8], host: &str) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return matches!(self, Self::Any) };
        match self {
            Self::SameHost => is_same_host(origin, host),
            Self::Allow(entries) => entries.iter().any(|entry| matches_entry(origin, entry)),
            Self::Any => true,
        }
    }

    /// True exactly when pages of a host, given without port, are named to be let in.
    pub(super) fn names(&self, host: &str) -> bool {
        let is_host = |entry: &String| {
            let authority = entry.split_once("://").map(|(_, authority)| without_port(authority));
            authority.is_some_and(|named| matches_authority(host, named))
        };
        match self {
            Self::SameHost => false,
            Self::Allow(entries) => entries.iter().any(is_host),
            Self::Any => true,
        }
    }
}

/// True exactly when a page of `origin` comes from another port of the same host, known by its
/// address or a name of this machine.
pub(super) fn is_page_at(port: u16, origin: &[u8], host: &str) -> bool {
    let authority = origin.strip_prefix(b"http://").and_then(|it| std::str::from_utf8(it).ok());
    let host = without_port(host);
    authority.and_then(|authority| authority.rsplit_once(':')).is_some_and(|(page, at)| {
        is_local(host) && page.eq_ignore_ascii_case(host) && at == port.to_string()
    })
}

/// The default port of a scheme, as it stands behind a host.
fn default_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "http" => Some(":80"),
        "https" => Some(":443"),
        _ => None,
    }
}

/// Compares host and port; the scheme only tells the default port, because TLS may end before us.
fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some(port) = default_port(scheme) else { return false };
    let without_default = |host| str::strip_suffix(host, port).unwrap_or(host);
    without_default(authority).eq_ignore_ascii_case(without_default(host))
}

/// True exactly when `origin` is `entry`, or a name below the one behind its `*.`.
fn matches_entry(origin: &str, entry: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return origin.eq_ignore_ascii_case(entry);
    };
    let Some((named_scheme, named)) = entry.split_once("://") else { return false };
    let port = default_port(named_scheme);
    let authority = port.and_then(|port| authority.strip_suffix(port)).unwrap_or(authority);
    scheme.eq_ignore_ascii_case(named_scheme) && matches_authority(authority, named)
}

/// True exactly when `authority` is the one that is named, or below the one behind its `*.`.
fn matches_authority(authority: &str, named: &str) -> bool {
    let Some(parent) = named.strip_prefix("*.") else {
        return authority.eq_ignore_ascii_case(named);
    };
    let Some(split) = authority.len().checked_sub(parent.len()) else { return false };
    let (name, tail) = authority.as_bytes().split_at(split);
    // Only characters of a host name: "https://evil.example/.example.com" is not below it.
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    tail.eq_ignore_ascii_case(parent.as_bytes())
        && name.len() > 1
        && name.ends_with(b".")
        && name.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_ports_say_nothing() {
        assert!(is_same_host("http://localhost:8000", "localhost:8000"));
        assert!(is_same_host("https://a.example", "a.example:443"));
        assert!(!is_same_host("http://localhost:3000", "localhost:8000"));
        assert!(matches_entry("https://a.example:443", "https://a.example"));
        assert!(!matches_entry("http://a.example:443", "http://a.example"));
    }

    #[test]
    fn allowed_origins_are_exact_or_below_a_name() {
        let entries = [
            "https://app.example.com",
            "https://*.example.org",
            "http://*.dev.test:3000",
            "capacitor://localhost",
            "file://",
        ];
        let policy = OriginPolicy::Allow(entries.map(str::to_owned).to_vec());
        let allows = |origin: &str| policy.allows(origin.as_bytes(), "a.example");
        for origin in [
            "https://app.example.com",
            "https://APP.example.com",
            "https://a.example.org",
            "https://a.b.example.org:443",
            "http://x.dev.test:3000",
            "capacitor://localhost",
            "file://",
        ] {
            assert!(allows(origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.org",
            "https://.example.org",
            "http://a.example.org",
            "https://aexample.org",
            "http://x.dev.test",
            "https://evil.example/.example.org",
            "https://user@a.example.org",
            "https://a.example",
            "https://a.example.org.evil",
            "null",
            "file://a",
            "https://\u{e9}.example.org",
            "\u{20ac}",
        ] {
            assert!(!allows(origin), "{origin}");
        }
        assert!(OriginPolicy::Any.allows(b"null", "a.example"));
        assert!(OriginPolicy::Any.allows(b"\xFF", "a.example"));
        assert!(OriginPolicy::Allow(vec!["null".to_owned()]).allows(b"null", "a.example"));
    }

    #[test]
    fn the_page_at_another_port_of_this_machine_is_known() {
        let is_page = |origin: &str, host| is_page_at(9000, origin.as_bytes(), host);
        assert!(is_page("http://127.0.0.1:9000", "127.0.0.1:8000"));
        assert!(is_page("http://localhost:9000", "localhost:8000"));
        assert!(is_page("http://[::1]:9000", "[::1]:8000"));
        for (origin, host) in [
            ("http://127.0.0.1:9001", "127.0.0.1:8000"),
            ("http://localhost:9000", "127.0.0.1:8000"),
            ("https://127.0.0.1:9000", "127.0.0.1:8000"),
            ("http://evil.example:9000", "evil.example:8000"),
            ("http://evil.example:9000", "127.0.0.1:8000"),
            ("http://127.0.0.1", "127.0.0.1:8000"),
            ("null", "127.0.0.1:8000"),
        ] {
            assert!(!is_page(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn hosts_of_allowed_origins_are_known_names() {
        let entries = ["https://app.example.com:8443", "https://*.example.org", "null", "file://"];
        let policy = OriginPolicy::Allow(entries.map(str::to_owned).to_vec());
        for host in ["app.example.com", "APP.example.com", "a.b.example.org"] {
            assert!(policy.names(host), "{host}");
        }
        for host in ["example.org", "evil.example", "null", "a.app.example.com"] {
            assert!(!policy.names(host), "{host}");
        }
        assert!(OriginPolicy::Any.names("evil.example"));
        assert!(!OriginPolicy::SameHost.names("evil.example"));
    }
}
