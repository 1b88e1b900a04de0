//! Light calls: publications with short bodies, carried out on the thread that reads them.
//!
//! To hand a call to the thread of the API and the answer back takes two wake-ups, which cost more
//! than to publish. So that no probe waits for more than some milliseconds of them, only so many
//! are carried out at a time (`server`); one more goes to the thread of the API, like all others.

use axum::body::Body;
use axum::http::{Method, Request};
use hyper::body::Body as _;

/// The paths of methods that a call of may be light.
const PATHS: [&str; 2] = ["/api/publish", "/api/broadcast"];

/// Most bytes of the body of a light call.
const BODY_BYTES_MAX: u64 = 4096;

/// Marks a call that is carried out on the thread that read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Light;

/// Whether a call may be one.
pub(super) fn is_light(request: &Request<Body>) -> bool {
    let bytes = request.body().size_hint().exact();
    request.method() == Method::POST
        && PATHS.contains(&request.uri().path())
        && bytes.is_some_and(|bytes| bytes <= BODY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, bytes: usize) -> Request<Body> {
        let body = Body::from("x".repeat(bytes));
        Request::builder().method(Method::POST).uri(path).body(body).unwrap()
    }

    #[test]
    fn short_publications_are_light_and_nothing_else() {
        for path in PATHS {
            assert!(is_light(&request(path, 4096)), "{path}");
            assert!(!is_light(&request(path, 4097)), "{path}");
        }
        for path in ["/api", "/api/batch", "/api/history", "/try/publish", "/health"] {
            assert!(!is_light(&request(path, 10)), "{path}");
        }
        let mut get = request("/api/publish", 10);
        *get.method_mut() = Method::GET;
        assert!(!is_light(&get));
    }
}
