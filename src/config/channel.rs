//! The rules of channels: one set for channels without a namespace, one for personal channels,
//! and one for each namespace.
//!
//! Namespaces are the only options whose key an operator chooses. What is wrong with a name is
//! said here; what contradicts itself inside one set of rules is found in `check`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::codec::{Flag, Number, OneOf, Optional, Time, choices};
use super::group::{Described, Group, GroupReader, Reader, nearest, options};
use super::node::{Node, Value};
use crate::model::{NAMESPACE_NAME_FORM, is_namespace_name};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

choices! {
    /// Who may do something in a channel. Backends always may.
    Permission {
        /// No client.
        Nobody = "nobody",
        /// Clients whose token allows the channel.
        Token = "token",
        /// Every client.
        Everybody = "everybody",
    }
}

choices! {
    /// What becomes of a subscriber that falls too far behind.
    WhenSlow {
        /// It is told to subscribe again, and recovers what it missed from the history.
        Resubscribe = "resubscribe",
        /// It is disconnected.
        Disconnect = "disconnect",
    }
}

options! {
    /// Rules of the channels without a namespace, such as "lobby".
    Rules {
        /// Most publications that a channel remembers; 0 means that it has no history.
        history_size: usize as Number = 0, 0..=100_000;
        /// Time for which a publication is remembered.
        history_ttl: Duration as Time = 300 * SECOND, SECOND..=365 * DAY;
        /// Whether subscribers of a channel with history get what they missed while they were
        /// away.
        recovery: bool as Flag = true;
        /// Whether it can be asked who is subscribed.
        presence: bool as Flag = false;
        /// Whether subscribers and backends hear of every client that joins or leaves.
        join_leave: bool as Flag = false;
        /// Who may subscribe. "token" means clients whose token allows the channel, "nobody" those
        /// that a backend subscribes and no others, whatever their token says.
        subscribe: Permission as OneOf = Permission::Everybody;
        /// Who may publish. "token" means clients that a token let subscribe.
        publish: Permission as OneOf = Permission::Nobody;
        /// Who may read the history; left out, those who may subscribe. "token" means clients that
        /// a token let subscribe.
        read_history: Option<Permission> as Optional<OneOf> = None;
        /// Who may ask who is subscribed; left out, those who may subscribe. "token" means clients
        /// that a token let subscribe.
        read_presence: Option<Permission> as Optional<OneOf> = None;
        /// Most connections that may be subscribed to a channel; 0 means no limit.
        subscribers_max: usize as Number = 0, 0..=100_000_000;
        /// What becomes of a subscriber that is too slow. "resubscribe" disconnects it all the
        /// same if the channel has no recovery or the client speaks no protocol that could.
        when_slow: WhenSlow as OneOf = WhenSlow::Resubscribe;
    }
}

/// The rules of each namespace by its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespaces(pub BTreeMap<String, Rules>);

impl Group for Namespaces {
    /// Names are the operator's choice.
    const KEYS: &'static [&'static str] = &[];
    const REQUIRED: &'static [&'static str] = &[];
    const ABOUT: &'static str = concat!(
        " Rules of namespaces, each in a table of its own with the keys of [channels]: the\n",
        " channel \"chat:lobby\" follows [namespaces.chat]. A key that is left out has its\n",
        " default, whatever [channels] says. Channels of a namespace without a table do not\n",
        " exist.\n",
    );

    fn read_key(&mut self, key: &str, node: &Node, reader: &mut Reader) -> bool {
        // A variable or flag may set one option: its key is NAME.OPTION, and a NAME may have dots.
        let single = match (&node.value, key.rsplit_once('.')) {
            (Value::Table(_), _) => None,
            (_, single) => single.filter(|_| node.is_from_text()),
        };
        let name = single.map_or(key, |(name, _)| name);
        if !is_namespace_name(name) {
            let found = format!("the name {name:?}");
            reader.reject(node, found, NAMESPACE_NAME_FORM.to_owned());
            return true;
        }
        match single {
            Some((name, option)) if !Rules::KEYS.contains(&option) => {
                let nearest = nearest(option, Rules::KEYS.iter().copied());
                let nearest = nearest.map(|option| format!("namespaces.{name}.{option}"));
                reader.unknown(node, nearest);
                true
            }
            Some((name, option)) => {
                self.0.entry(name.to_owned()).or_default().read_key(option, node, reader)
            }
            None => {
                self.0.entry(name.to_owned()).or_default().read_table(node, reader);
                true
            }
        }
    }

    fn describe(&self) -> Vec<Described> {
        Vec::new()
    }
}
