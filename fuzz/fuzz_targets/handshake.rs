//! Any bytes as an opening handshake: judged within the limits, and answered with one whole head.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::handshake::{Accepted, Policy, accept, write_accept};
use tidegate::http::request::{HEAD_BYTES_MAX, HeaderTable};
use tidegate::http::uri::{path_segments, query_pairs};
use tidegate::http::{Head, OriginPolicy, Refusal, write_response};

fn judge(request: &[u8], policy: &Policy<'_>) -> Result<Option<Accepted>, Refusal> {
    let mut table = HeaderTable::default();
    let Some((head, size)) = Head::parse(request, &mut table)? else { return Ok(None) };
    assert!(size <= request.len().min(HEAD_BYTES_MAX));
    assert!(head.path.starts_with('/') && !head.host.is_empty());
    path_segments(head.path).for_each(drop);
    for (_, value) in query_pairs(head.query).flatten() {
        value.list().for_each(drop);
    }
    accept(&head, policy).map(Some)
}

fuzz_target!(|input: &[u8]| {
    let entries = vec!["https://app.example.com".to_owned(), "https://*.example.org".to_owned()];
    for origin in [OriginPolicy::SameHost, OriginPolicy::Allow(entries), OriginPolicy::Any] {
        let mut response = Vec::new();
        let policy = Policy { origin: &origin, guards_host: true, ..Policy::default() };
        match judge(input, &policy) {
            Ok(None) => assert!(input.len() < HEAD_BYTES_MAX),
            Ok(Some(accepted)) => write_accept(&accepted, &mut response),
            Err(refusal) => write_response(&refusal, &mut response),
        }
        let ends = response.windows(4).filter(|window| window == b"\r\n\r\n").count();
        assert_eq!(ends, usize::from(!response.is_empty()));
    }
});
