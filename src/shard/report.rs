//! What is told of handshakes that are refused and of tokens that are not believed: one number for
//! each reason, and a few lines in the log.
//!
//! Whoever operates the edge has to find out why clients stay away, and whoever floods it must not
//! fill the disk. No token and no query stands in a line: a query may hold a token.

use std::fmt;

use crate::http::{About, Head, Refusal};
use crate::shard::{Net, Shard};
use crate::token::TokenError;

/// Most characters of what a client sent that a line shows.
const SHOWN_MAX: usize = 100;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug)]
pub(super) enum TokenFault {
    /// There is none, and one is needed.
    Missing,
    /// It is a good token, but of another user, device, client or channel.
    Foreign,
    /// It could not be verified.
    Error(TokenError),
}

impl fmt::Display for TokenFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("there is none"),
            Self::Foreign => out.write_str("it is of another user, device, client or channel"),
            Self::Error(error) => error.fmt(out),
        }
    }
}

impl<N: Net> Shard<N> {
    /// Counts and logs that a request, as far as it is known, is refused. About tokens there is a
    /// line already.
    pub(super) fn report_refusal(&self, refusal: &Refusal, head: Option<&Head<'_, '_>>) {
        let metrics = &self.metrics;
        metrics.handshakes_refused.increment();
        match refusal.about {
            About::Protocol => metrics.refused_protocol.increment(),
            About::Path => metrics.refused_path.increment(),
            About::Origin => metrics.refused_origin.increment(),
            About::Token => metrics.refused_token.increment(),
            About::Channel => metrics.refused_channel.increment(),
            About::Limit => metrics.refused_limit.increment(),
            About::Full => metrics.refused_full.increment(),
            About::Command => metrics.refused_command.increment(),
            About::Draining => metrics.refused_draining.increment(),
        }
        if refusal.about == About::Token {
            return;
        }
        let complaints = match refusal.about {
            // A crowd that is turned away leaves the log to others.
            About::Full => self.admission.complaints(),
            _ => &self.complaints,
        };
        if let Some(suppressed) = complaints.admit(self.work.now_nanos) {
            let remedy = match refusal.about {
                About::Origin => " Where it is a page of yours, add it to public.allowed_origins.",
                About::Full => {
                    " Raise public.connections_max or the limit of descriptors (LimitNOFILE)."
                }
                _ => "",
            };
            tracing::warn!(
                shard = self.port.shard.0,
                reason = refusal.about.label(),
                status = refusal.status,
                path = head.map(|head| shown(head.path.as_bytes())),
                host = head.map(|head| shown(head.host.as_bytes())),
                origin = head.and_then(|head| head.values("Origin").next()).map(shown),
                suppressed,
                "handshake refused: {}{remedy}",
                refusal.reason,
            );
        }
    }

    /// Counts and logs that a token is not believed, which a request showed or, without one, a
    /// command.
    pub(super) fn report_token(&self, fault: TokenFault, head: Option<&Head<'_, '_>>) {
        let metrics = &self.metrics;
        match fault {
            TokenFault::Missing => metrics.tokens_missing.increment(),
            TokenFault::Foreign => metrics.tokens_foreign.increment(),
            TokenFault::Error(TokenError::Expired) => metrics.tokens_expired.increment(),
            TokenFault::Error(TokenError::NotYet) => metrics.tokens_not_yet.increment(),
            TokenFault::Error(TokenError::UnknownKey) => metrics.tokens_unknown_key.increment(),
            TokenFault::Error(TokenError::Revoked) => metrics.tokens_revoked.increment(),
            TokenFault::Error(TokenError::NotConfigured | TokenError::Invalid(_)) => {
                metrics.tokens_invalid.increment();
            }
        }
        if let Some(suppressed) = self.complaints.admit(self.work.now_nanos) {
            tracing::warn!(
                shard = self.port.shard.0,
                reason = "token",
                path = head.map(|head| shown(head.path.as_bytes())),
                origin = head.and_then(|head| head.values("Origin").next()).map(shown),
                suppressed,
                "token refused: {fault}",
            );
        }
    }
}

/// The beginning of what a client sent, in characters that do no harm to a terminal.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    let ellipsis = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    format!("{}{ellipsis}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown(b"/websocket/42"), "/websocket/42");
        assert_eq!(shown(b"\x1b[31m\n\xff"), "\\u{1b}[31m\\n\u{fffd}");
        assert_eq!(shown(&[b'x'; 500]).chars().count(), SHOWN_MAX + 1);
    }
}
