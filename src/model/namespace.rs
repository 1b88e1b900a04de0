//! What may be done in a channel: the rules of its namespace.
//!
//! The namespace of `chat:lobby` is `chat`; `lobby` follows the rules for channels without one, and
//! personal channels have rules of their own. A channel of a namespace that is not configured does
//! not exist.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::ChannelName;

/// Longest name of a namespace in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What such a name is.
pub const NAMESPACE_NAME_FORM: &str = "a name of 1 to 64 letters, digits, _, - and .";

/// Who may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// No client, whatever its token says; backends always may.
    #[default]
    Nobody,
    /// Clients whose token says so: a subscription token for the channel, or the channel among
    /// those of the connection token. To publish, or to read history or presence, they must be
    /// subscribed that way.
    Token,
    /// Every client.
    Everybody,
}

impl Permission {
    /// Whether a client may, which a token allows or not.
    pub fn allows(self, is_granted: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Token => is_granted,
            Self::Everybody => true,
        }
    }
}

/// What becomes of a subscriber that falls too far behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenSlow {
    /// Managed subscribers of a channel that can be recovered are told to subscribe again; any
    /// other is disconnected.
    #[default]
    Resubscribe,
    /// It is disconnected.
    Disconnect,
}

/// The rules of one namespace. Durations in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// How many publications a channel remembers; 0 means none.
    pub history_size: usize,
    /// For how long a publication is remembered.
    pub history_ttl: u32,
    /// Whether subscribers of channels with history can recover what they missed.
    pub recovery: bool,
    /// Whether it is known who is subscribed.
    pub presence: bool,
    /// Whether subscribers hear of others that come and go.
    pub join_leave: bool,
    /// Who may subscribe.
    pub subscribe: Permission,
    /// Who may publish.
    pub publish: Permission,
    /// Who may read history; `None` means those who may subscribe.
    pub read_history: Option<Permission>,
    /// Who may read presence; `None` means those who may subscribe.
    pub read_presence: Option<Permission>,
    /// Most subscribers of a channel on all shards; 0 means no limit.
    pub subscribers_max: usize,
    /// What becomes of slow subscribers.
    pub when_slow: WhenSlow,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            history_size: 0,
            history_ttl: 300,
            recovery: true,
            presence: false,
            join_leave: false,
            subscribe: Permission::Everybody,
            publish: Permission::Nobody,
            read_history: None,
            read_presence: None,
            subscribers_max: 0,
            when_slow: WhenSlow::Resubscribe,
        }
    }
}

impl Namespace {
    /// Whether channels have a stream: offsets, an epoch, and publications that are remembered.
    pub fn has_history(&self) -> bool {
        self.history_size > 0
    }

    /// Who may read history, whether that was said or not.
    pub fn history_readers(&self) -> Permission {
        self.read_history.unwrap_or(self.subscribe)
    }

    /// Who may read presence, whether that was said or not.
    pub fn presence_readers(&self) -> Permission {
        self.read_presence.unwrap_or(self.subscribe)
    }

    /// Whether a channel's home has to know every subscriber by name.
    pub fn keeps_roll(&self) -> bool {
        self.presence || self.join_leave || self.subscribers_max > 0
    }
}

/// All namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    default: Arc<Namespace>,
    personal: Arc<Namespace>,
    named: HashMap<Box<str>, Arc<Namespace>>,
}

impl Namespaces {
    /// The rules of channels without a namespace, of personal channels, and of each namespace.
    pub fn new(
        default: Namespace,
        personal: Namespace,
        named: HashMap<Box<str>, Namespace>,
    ) -> Self {
        let named = named.into_iter().map(|(name, rules)| (name, Arc::new(rules))).collect();
        Self { default: Arc::new(default), personal: Arc::new(personal), named }
    }

    /// The rules of a channel; `None` if its namespace is not configured.
    pub fn of(&self, channel: &ChannelName) -> Option<&Arc<Namespace>> {
        match channel.namespace() {
            None if channel.user().is_some() => Some(&self.personal),
            None => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }

    /// Whether these rules can take the place of others while channels are in use. Who is known by
    /// name, and who hears of that, was settled when they subscribed and must be undone when they
    /// leave, so each namespace stays and says the same of it.
    pub fn may_follow(&self, before: &Self) -> bool {
        let may_follow = |after: &Namespace, before: &Namespace| {
            after.keeps_roll() == before.keeps_roll() && after.join_leave == before.join_leave
        };
        let mut named = before.named.iter();
        may_follow(&self.default, &before.default)
            && may_follow(&self.personal, &before.personal)
            && named.all(|(name, before)| {
                self.named.get(name).is_some_and(|after| may_follow(after, before))
            })
    }
}

/// Whether a namespace may be called so.
pub fn is_namespace_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_find_their_namespace() {
        let chat = Namespace { history_size: 9, ..Namespace::default() };
        let named = HashMap::from([("chat".into(), chat.clone())]);
        let personal = Namespace { history_size: 5, ..Namespace::default() };
        let namespaces = Namespaces::new(Namespace::default(), personal.clone(), named);
        let of = |name: &str| {
            namespaces.of(&ChannelName::parse(name.as_bytes()).unwrap()).map(AsRef::as_ref)
        };
        assert_eq!(of("chat:lobby"), Some(&chat));
        assert_eq!(of("lobby"), Some(&Namespace::default()));
        assert_eq!(of("#42"), Some(&personal));
        assert_eq!(of("#a:b"), Some(&personal));
        assert_eq!(of("other:lobby"), None);
        assert_eq!(of(":lobby"), None);
    }
}
