//! Whether something of a request's body is left unread when the answer is there.
//!
//! What is left would be taken for the next request, so the connection ends, and the answer says
//! so. Before the socket is closed the client is heard out (`socket`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

/// Knows whether a request's body is left.
#[derive(Clone, Debug)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Watches a request's body.
    pub(super) fn watch(request: Request<Incoming>) -> (Request<Body>, Self) {
        let is_left = Arc::new(AtomicBool::new(!request.body().is_end_stream()));
        let unread = Self(Arc::clone(&is_left));
        (request.map(|body| Body::new(Watched { body, is_left })), unread)
    }

    /// A body of which something is left, or nothing.
    #[cfg(test)]
    pub(super) fn of(is_left: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_left)))
    }

    /// Whether something is left.
    pub(super) fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Watched {
    body: Incoming,
    is_left: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_left.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
