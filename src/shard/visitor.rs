//! Who a raw client is, and what it joins: what its URL asks for, as far as its token and the
//! namespaces allow it.
//!
//! Where tokens can be verified a raw client needs one: as `?token=`, in `Authorization: Bearer`,
//! or, because a browser can send no header of its own, among the subprotocols that it offers:
//! `tidegate`, `token.JWT`.

use crate::http::uri::{QueryValue, query_pairs};
use crate::http::{About, Head, Refusal};
use crate::hub::Session;
use crate::limits::{CHANNELS_PER_CONNECTION_MAX, DEVICE_BYTES_MAX};
use crate::model::{ChannelName, Overrides};
use crate::shard::report::TokenFault;
use crate::shard::{Net, Shard};
use crate::token::{ConnectionClaims, TokenError};

pub(super) const INVALID_TOKEN: Refusal = Refusal::unauthorized("The token is not valid.");

/// What stands before a token among the subprotocols.
const TOKEN_SUBPROTOCOL: &[u8] = b"token.";

/// What stands before a token in the header `Authorization`, in any case (RFC 9110 section 11.1).
const BEARER: &[u8] = b"bearer ";

impl<N: Net> Shard<N> {
    /// The session of a raw connection, as far as its token and the namespaces allow it.
    pub(super) fn session(
        &self,
        user: Option<&str>,
        head: &Head<'_, '_>,
    ) -> Result<Session, Refusal> {
        let (mut session, query_token) = session(user, head.query)?;
        let is_asked = !self.settings.insecure
            || query_token.as_ref().is_some_and(|token| !token.is_empty())
            || token_of_head(head).is_some();
        let claims = if self.settings.has_keys && is_asked {
            self.verify(user, session.device.as_deref(), head, query_token.as_deref())?
        } else {
            None
        };
        if let Some(claims) = &claims {
            if session.personal.is_none() && !claims.user.is_empty() {
                session.personal = Some(personal(&claims.user)?);
            }
            if let Some(device) = &claims.device {
                session.device = Some(device.as_str().into());
            }
            session.meta = claims.meta.as_ref().map(|meta| meta.as_str().into());
            session.issued_at = Some(claims.issued_at.unwrap_or_default());
            session.expires_at = claims.expires_at;
            let is_otherwise = |channel: &ChannelName| {
                let sub = claims.subs.iter().find(|(name, _)| name == channel.as_str());
                let overrides = sub.map(|(_, options)| options.overrides)?;
                (overrides != Overrides::default()).then(|| (channel.clone(), overrides))
            };
            session.overrides = session.channels.iter().filter_map(is_otherwise).collect();
        }
        let user = claims.as_ref().map(|claims| claims.user.as_str()).or(user).unwrap_or_default();
        for channel in &session.channels {
            let rules = self.settings.hub.namespaces.of(channel).ok_or(UNKNOWN_NAMESPACE)?;
            let is_granted = claims.as_ref().is_some_and(|claims| claims.names(channel.as_str()));
            let is_allowed =
                rules.subscribe.allows(is_granted) && (is_granted || channel.admits(user));
            if !is_allowed && !self.settings.insecure {
                let reason = "A channel needs a token that names it, or is closed to clients.";
                return Err(Refusal::forbidden(About::Channel, reason));
            }
        }
        Ok(session)
    }

    /// Whether the token of a raw client may cost much to verify.
    pub(super) fn shows_costly_token(&self, head: &Head<'_, '_>) -> bool {
        let tokens = query_pairs(head.query).flatten().filter(|(name, _)| name == "token");
        let token = tokens.last().and_then(|(_, token)| token.text().ok());
        let token = token.as_deref().or_else(|| token_of_head(head));
        token.is_some_and(|token| self.authority.is_costly(token))
    }

    /// What the token of a raw client says; `None` for nobody in particular.
    fn verify(
        &self,
        user: Option<&str>,
        device: Option<&str>,
        head: &Head<'_, '_>,
        query_token: Option<&str>,
    ) -> Result<Option<ConnectionClaims>, Refusal> {
        let refuse = |fault, refusal| {
            self.report_token(fault, Some(head));
            refusal
        };
        let Some(token) = query_token.or_else(|| token_of_head(head)) else {
            let refusal = Refusal::unauthorized("Connect with ?token= and a connection token.");
            return match user {
                None if self.settings.anonymous => Ok(None),
                _ => Err(refuse(TokenFault::Missing, refusal)),
            };
        };
        let verified = self.authority.verify_connection(token, device, self.work.unix);
        let claims = verified.map_err(|error| {
            let refusal = match error {
                TokenError::Expired => Refusal::unauthorized("The token has expired."),
                TokenError::NotYet => {
                    let reason = "The token is not valid yet; try again.";
                    Refusal::unavailable(About::Token, reason, 1)
                }
                TokenError::UnknownKey => {
                    let reason = "The token's key is not known yet; try again.";
                    Refusal::unavailable(About::Token, reason, 1)
                }
                _ => INVALID_TOKEN,
            };
            refuse(TokenFault::Error(error), refusal)
        })?;
        let reason = if user.is_some_and(|user| user != claims.user) {
            "The token is another user's."
        } else if !claims.is_of_device(device) {
            "The token is another device's."
        } else {
            return Ok(Some(claims));
        };
        Err(refuse(TokenFault::Foreign, Refusal::forbidden(About::Token, reason)))
    }
}

const UNKNOWN_NAMESPACE: Refusal = Refusal {
    about: About::Channel,
    ..Refusal::bad_request("A channel's namespace is not configured.")
};

/// The token that the header fields of a request hold.
fn token_of_head<'b>(head: &Head<'_, 'b>) -> Option<&'b str> {
    let mut offered = head.list("Sec-WebSocket-Protocol");
    let offered = offered.find_map(|offered| offered.strip_prefix(TOKEN_SUBPROTOCOL));
    let bearer = || {
        let mut credentials = head.values("Authorization");
        credentials.find_map(|credentials| {
            let (scheme, token) = credentials.split_at_checked(BEARER.len())?;
            scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())
        })
    };
    offered.or_else(bearer).and_then(|token| std::str::from_utf8(token).ok())
}

/// Whether a text may name a device.
pub(super) fn is_device(device: &str) -> bool {
    device.len() <= DEVICE_BYTES_MAX && !device.chars().any(char::is_control)
}

fn personal(user: &str) -> Result<ChannelName, Refusal> {
    ChannelName::personal(user).map_err(|_| {
        Refusal::bad_request("The user must be 1 to 254 bytes without control characters.")
    })
}

/// The session that a raw connection asks for, and its token.
fn session(user: Option<&str>, query: &str) -> Result<(Session, Option<String>), Refusal> {
    let personal = user.map(personal).transpose()?;
    let mut session = Session { personal, ..Session::default() };
    let mut token = None;
    for pair in query_pairs(query) {
        let (name, value) = pair?;
        match name.as_ref() {
            "channels" => add_channels(&mut session.channels, value)?,
            "token" => token = Some(value.text()?.into_owned()),
            "device" => {
                let device = value.text()?;
                if !is_device(&device) {
                    let reason = "The device must be at most 128 plain bytes.";
                    return Err(Refusal::bad_request(reason));
                }
                if !device.is_empty() {
                    session.device = Some(device.as_ref().into());
                }
            }
            _ => {}
        }
    }
    Ok((session, token))
}

/// Adds the channels of a list. A comma that is encoded belongs to a name, and only names with the
/// users who may join have one: elsewhere somebody has encoded the commas between names.
fn add_channels(channels: &mut Vec<ChannelName>, list: QueryValue<'_>) -> Result<(), Refusal> {
    for name in list.list() {
        let name = name?;
        if name.contains(',') && !name.contains('#') {
            let reason = "A comma between channels must not be encoded (as %2C); or let channels \
                          stand several times.";
            return Err(Refusal::bad_request(reason));
        }
        let channel = ChannelName::parse(name.as_bytes()).map_err(|_| {
            Refusal::bad_request("A channel must be 1 to 255 plain bytes and not begin with $.")
        })?;
        if channel.user().is_some() {
            let reason = "Personal channels belong to their user alone.";
            return Err(Refusal::forbidden(About::Channel, reason));
        }
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        if channels.len() >= CHANNELS_PER_CONNECTION_MAX {
            return Err(Refusal::bad_request("A connection joins at most 127 channels."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::HeaderTable;

    fn names(query: &str) -> Vec<String> {
        let (session, _) = session(Some("42"), query).unwrap();
        session.channels.iter().map(|channel| channel.as_str().to_owned()).collect()
    }

    #[test]
    fn a_query_names_channels_and_a_device() {
        let (session, token) =
            session(Some("42"), "channels=a,b,,a&device=phone&token=x&channels=b,c").unwrap();
        assert_eq!(token.as_deref(), Some("x"));
        let names: Vec<_> = session.channels.iter().map(ChannelName::as_str).collect();
        assert_eq!((names, session.device.as_deref()), (vec!["a", "b", "c"], Some("phone")));
        assert_eq!(session.personal.unwrap().as_str(), "#42");
    }

    #[test]
    fn an_encoded_comma_belongs_to_a_name() {
        assert_eq!(names("channels=team%2342%2C43,a"), ["team#42,43", "a"]);
        assert_eq!(names("channels=team%2342,43"), ["team#42", "43"]);
    }

    #[test]
    fn wrong_names_are_refused() {
        let status = |user, query: &str| session(user, query).map(drop).map_err(|r| r.status);
        assert_eq!(status(None, "channels=%2342"), Err(403));
        assert_eq!(status(None, "channels=a%2Cb"), Err(400));
        assert_eq!(status(None, "channels=$all"), Err(400));
        assert_eq!(status(None, "channels=a%0Ab"), Err(400));
        assert_eq!(status(None, "channels=a,%FF"), Err(400));
        assert_eq!(status(Some(""), ""), Err(400));
        assert_eq!(status(None, &format!("device={}", "d".repeat(129))), Err(400));
        let many: Vec<_> = (0..128).map(|n| n.to_string()).collect();
        assert_eq!(status(None, &format!("channels={}", many.join(","))), Err(400));
        assert_eq!(status(None, &format!("channels={}", many[1..].join(","))), Ok(()));
    }

    #[test]
    fn tokens_are_found_in_the_head() {
        let found = |fields: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let mut table = HeaderTable::default();
            let (head, _) = Head::parse(request.as_bytes(), &mut table).unwrap().unwrap();
            token_of_head(&head).map(str::to_owned)
        };
        for fields in [
            "Authorization: Bearer x.y",
            "authorization: bearer   x.y",
            "Authorization: Basic abc\r\nAuthorization: Bearer x.y",
            "Sec-WebSocket-Protocol: tidegate, token.x.y",
            "Authorization: Bearer other\r\nSec-WebSocket-Protocol: token.x.y",
        ] {
            assert_eq!(found(fields).as_deref(), Some("x.y"), "{fields}");
        }
        for fields in ["A: b", "Authorization: Basic x", "Authorization: Bearer", "Authorization:"]
        {
            assert_eq!(found(fields), None, "{fields}");
        }
    }
}
