//! Channel names: non-empty UTF-8 of at most 255 bytes without control characters.
//!
//! `#42` is the personal channel of user 42. Names that begin with `$` are reserved for the edge's
//! own topics. A name is shared, not copied: cloning one costs a reference count.

use std::fmt;

use arcstr::ArcStr;

use crate::limits::CHANNEL_NAME_BYTES_MAX;

/// A valid channel name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(ArcStr);

/// Why some bytes are not a channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no bytes.
    #[error("a channel name must not be empty")]
    Empty,
    /// The name is longer than [`CHANNEL_NAME_BYTES_MAX`].
    #[error("a channel name has at most {CHANNEL_NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes are not UTF-8.
    #[error("a channel name must be UTF-8")]
    NotUtf8,
    /// The name has a control character, which logs and line protocols could not carry.
    #[error("a channel name must not have control characters")]
    Control,
    /// The name begins with `$`, which is reserved for the edge's own topics.
    #[error("channel names that begin with `$` are reserved")]
    Reserved,
}

impl ChannelName {
    /// Checks the bytes of a name from outside.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        let name = simdutf8::basic::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
        if name.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        if name.starts_with('$') {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.into()))
    }

    /// The personal channel of a user: `#` and the user's identity.
    pub fn personal(user: &str) -> Result<Self, NameError> {
        if user.is_empty() {
            return Err(NameError::Empty);
        }
        if user.len() >= CHANNEL_NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        Self::parse(format!("#{user}").as_bytes())
    }

    /// The edge's own channel of everybody, which no backend or client can name.
    pub fn everyone() -> Self {
        Self(arcstr::literal!("$everyone"))
    }

    /// The user whose personal channel this is.
    pub fn user(&self) -> Option<&str> {
        self.0.strip_prefix('#')
    }

    /// The namespace, if the name has one: what stands before the first `:`. Personal channels
    /// have none, whatever their user is called.
    pub fn namespace(&self) -> Option<&str> {
        if self.user().is_some() {
            return None;
        }
        self.0.split_once(':').map(|(namespace, _)| namespace)
    }

    /// Whether a user may subscribe as far as the name says: in `team#42,43` only the users behind
    /// the `#` may.
    pub fn admits(&self, user: &str) -> bool {
        match self.0.split_once('#') {
            None => true,
            Some(("", owner)) => !user.is_empty() && owner == user,
            Some((_, users)) => !user.is_empty() && users.split(',').any(|other| other == user),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(ChannelName::parse(b"news").unwrap().as_str(), "news");
        assert_eq!(ChannelName::parse(b""), Err(NameError::Empty));
        assert_eq!(ChannelName::parse(&[b'a'; 256]), Err(NameError::TooLong));
        assert!(ChannelName::parse(&[b'a'; 255]).is_ok());
        assert_eq!(ChannelName::parse(b"\xff"), Err(NameError::NotUtf8));
        assert_eq!(ChannelName::parse(b"a\nb"), Err(NameError::Control));
        assert_eq!(ChannelName::parse(b"$cmd"), Err(NameError::Reserved));
    }

    #[test]
    fn some_names_say_who_may_subscribe() {
        let admits = |name: &str, user| ChannelName::parse(name.as_bytes()).unwrap().admits(user);
        assert!(admits("news", "") && admits("news", "42"));
        assert!(admits("#42", "42") && !admits("#42", "4") && !admits("#4,2", "2"));
        assert!(admits("team#42,43", "43") && !admits("team#42,43", "44"));
        assert!(!admits("team#", "") && !admits("team#,", "") && !admits("#42", ""));
    }

    #[test]
    fn personal_channels_name_their_user() {
        let channel = ChannelName::personal("42").unwrap();
        assert_eq!((channel.as_str(), channel.user()), ("#42", Some("42")));
        assert_eq!(ChannelName::personal(""), Err(NameError::Empty));
        assert_eq!(ChannelName::personal(&"u".repeat(255)), Err(NameError::TooLong));
        assert_eq!(ChannelName::parse(b"news").unwrap().user(), None);
    }
}
