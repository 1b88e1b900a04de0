//! Names of hosts: which of them no foreign DNS entry can lead to this machine.
//!
//! A page of a foreign site reaches a service on this machine if its own name is made to resolve
//! to our address (DNS rebinding): for the browser it then is the page's own host. What gives it
//! away is the name in the `Host` header. Addresses and the names below `localhost` are never
//! looked up in a foreign zone.

use core::net::IpAddr;

/// The host of an authority, without its port.
pub fn without_port(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    }
}

/// Whether a host, without a port, is an address or a name of this machine.
pub fn is_local(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebound_names_are_not_local() {
        for good in ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "[::1]", "10.0.0.7"] {
            assert!(is_local(good), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil",
            "evillocalhost",
            "[::1",
        ] {
            assert!(!is_local(bad), "{bad}");
        }
    }

    #[test]
    fn ports_are_taken_off() {
        for (authority, host) in [
            ("localhost:9000", "localhost"),
            ("[::1]:9000", "[::1]"),
            ("[::1]", "[::1]"),
            ("a.example", "a.example"),
            ("a.example:", "a.example"),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}
