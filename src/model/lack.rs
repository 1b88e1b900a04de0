//! What a channel lacks, and which option gives it: whoever is told that something is not there
//! should not have to search for that.

use crate::model::{ChannelName, CommandError, NAMESPACE_NAME_FORM, excerpt, is_namespace_name};

/// What may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The channel's namespace.
    Namespace,
    /// A history.
    History,
    /// Presence.
    Presence,
}

impl Lack {
    /// What to do about it, for the message of an error.
    pub fn remedy(self, channel: &ChannelName) -> String {
        let section = match channel.namespace() {
            Some(name) if !is_namespace_name(name) => {
                let name = excerpt(name);
                return format!(
                    "\"{name}\" cannot be a namespace, which has {NAMESPACE_NAME_FORM}"
                );
            }
            // A table's name is a path, whose dots are not the name's own.
            Some(name) if self == Self::Namespace && name.contains('.') => {
                format!("namespaces.\"{name}\"")
            }
            Some(name) => format!("namespaces.{name}"),
            None if channel.user().is_some() => "personal".to_owned(),
            None => "channels".to_owned(),
        };
        match self {
            Self::Namespace => format!("add [{section}] to the configuration"),
            Self::History => format!("set {section}.history_size"),
            Self::Presence => format!("set {section}.presence"),
        }
    }
}

impl CommandError {
    /// The cause in words; where the channel lacks something, what to do about it.
    pub fn in_channel(self, channel: &ChannelName) -> String {
        let lack = match self {
            Self::UnknownNamespace => Lack::Namespace,
            Self::NoHistory => Lack::History,
            Self::NoPresence => Lack::Presence,
            other => return other.to_string(),
        };
        lack.remedy(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_a_section() {
        let remedy = |lack: Lack, channel: &str| {
            lack.remedy(&ChannelName::parse(channel.as_bytes()).unwrap())
        };
        assert_eq!(remedy(Lack::History, "news"), "set channels.history_size");
        assert_eq!(remedy(Lack::Presence, "#42"), "set personal.presence");
        assert_eq!(remedy(Lack::History, "chat:a:b"), "set namespaces.chat.history_size");
        assert_eq!(remedy(Lack::Namespace, "chat:a"), "add [namespaces.chat] to the configuration");
        let dotted = "add [namespaces.\"a.b\"] to the configuration";
        assert_eq!(remedy(Lack::Namespace, "a.b:c"), dotted);
        for (channel, name) in [(":a", "\"\""), ("a b:c", "\"a b\""), ("\u{e9}:c", "\"\u{e9}\"")] {
            let said = remedy(Lack::Namespace, channel);
            assert!(said.starts_with(&format!("{name} cannot be a namespace")), "{said}");
        }
        let longest = "x".repeat(64);
        let said = remedy(Lack::Namespace, &format!("{longest}:a"));
        assert!(said.contains(&format!("[namespaces.{longest}]")), "{said}");
        let too_long = remedy(Lack::Namespace, &format!("{}:a", "x".repeat(200)));
        assert!(too_long.contains("cannot be") && too_long.len() < 150, "{too_long}");
        let channel = ChannelName::parse(b"chat:a").unwrap();
        let said = CommandError::NoPresence.in_channel(&channel);
        assert_eq!(said, remedy(Lack::Presence, "chat:a"));
        assert!(CommandError::Draining.in_channel(&channel).contains("draining"));
    }
}
