//! The rules of channels: one set for channels without a namespace, one for personal channels,
//! and one for each namespace.
//!
//! The rules and their defaults are those of [`Namespace`]; here is how each is written. Namespaces
//! are the only options whose key an operator chooses. What is wrong with a name is said here; what
//! contradicts itself inside one set of rules is found in `check`.

use std::collections::BTreeMap;

use crate::config::codec::{Flag, Number, OneOf, Optional, Seconds, names};
use crate::config::group::{Described, Group, GroupReader, Reader, group, nearest};
use crate::config::node::{Node, Value};
use crate::model::{NAMESPACE_NAME_FORM, Namespace, Permission, WhenSlow, is_namespace_name};

const YEAR: u32 = 365 * 24 * 3600;

names! {
    Permission {
        Nobody = "nobody",
        Token = "token",
        Everybody = "everybody",
    }
}

names! {
    WhenSlow {
        Resubscribe = "resubscribe",
        Disconnect = "disconnect",
    }
}

group! {
    /// Rules of the channels without a namespace, such as "lobby".
    Namespace {
        /// Most publications that a channel remembers; 0 means that it has no history.
        live history_size: usize as Number, 0..=100_000;
        /// Time for which a publication is remembered.
        live history_ttl: u32 as Seconds, 1..=YEAR;
        /// Whether subscribers of a channel with history get what they missed while they were
        /// away.
        live recovery: bool as Flag;
        /// Whether it can be asked who is subscribed.
        restart presence: bool as Flag;
        /// Whether subscribers and backends hear of every client that joins or leaves.
        restart join_leave: bool as Flag;
        /// Who may subscribe. "token" means clients whose token allows the channel, "nobody" those
        /// that a backend subscribes and no others, whatever their token says.
        live subscribe: Permission as OneOf;
        /// Who may publish. "token" means clients that a token let subscribe.
        live publish: Permission as OneOf;
        /// Who may read the history; left out, those who may subscribe. "token" means clients that
        /// a token let subscribe.
        live read_history: Option<Permission> as Optional<OneOf>;
        /// Who may ask who is subscribed; left out, those who may subscribe. "token" means clients
        /// that a token let subscribe.
        live read_presence: Option<Permission> as Optional<OneOf>;
        /// Most connections that may be subscribed to a channel; 0 means no limit.
        restart subscribers_max: usize as Number, 0..=100_000_000;
        /// What becomes of a subscriber that is too slow. "resubscribe" disconnects it all the
        /// same if the channel has no recovery or the client speaks no protocol that could.
        live when_slow: WhenSlow as OneOf;
    }
}

/// The rules of each namespace by its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedRules(pub BTreeMap<String, Namespace>);

impl Group for NamedRules {
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
            Some((name, option)) if !Namespace::KEYS.contains(&option) => {
                let nearest = nearest(option, Namespace::KEYS.iter().copied());
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
