//! Options that contradict each other: each is right alone, and together one makes the other
//! useless or turns against clients that did nothing wrong.

use crate::config::check::Place;
use crate::config::endpoint::Endpoint;
use crate::config::error::Origin;
use crate::config::group::Reader;
use crate::config::table::Config;
use crate::model::{Namespace, Permission};

/// The limit of what clients send.
const MESSAGES_OF_CLIENTS: &str = "websocket.message_bytes_max";

/// How long a `subscribe` may be, with a token, so that one for each channel fits a message.
const SUBSCRIPTION_BYTES: usize = 512;

/// How many messages of the longest kind there must be memory for: that of one in fragments is
/// doubled as it grows.
const MESSAGES_IN_MEMORY: usize = 4;

/// Limits that nobody wrote follow those that somebody did.
pub(super) fn settle(config: &mut Config, reader: &Reader) {
    let is_default = |key: &str| reader.origin_of(key) == Origin::Default;
    let memory_max = config.slow.memory_max / 2;
    for (key, bytes) in [
        ("slow.lag_bytes_max", &mut config.slow.lag_bytes_max),
        ("slow.outbox_bytes_max", &mut config.slow.outbox_bytes_max),
        ("client.reply_bytes_max", &mut config.client.reply_bytes_max),
    ] {
        if is_default(key) {
            *bytes = memory_max.min(*bytes);
        }
    }
    if is_default("client.publishes_per_second") {
        let client = &mut config.client;
        let others = [client.commands_per_second, client.user_publishes_per_second];
        let least = others.into_iter().filter(|&limit| limit > 0).min();
        client.publishes_per_second = client.publishes_per_second.min(least.unwrap_or(u32::MAX));
    }
    let most = config.slow.lag_bytes_max / 2;
    for (index, endpoint) in config.ingest.endpoints.iter_mut().enumerate() {
        if is_default(&format!("ingest.endpoints[{index}].message_bytes_max")) {
            endpoint.message_bytes_max = endpoint.message_bytes_max.min(most);
        }
    }
    if is_default("api.message_bytes_max") {
        config.api.message_bytes_max = config.api.message_bytes_max.min(most);
    }
    if is_default(MESSAGES_OF_CLIENTS) {
        // A client that comes back subscribes to all its channels in one message.
        let of_subscriptions = config.client.channels_max * SUBSCRIPTION_BYTES;
        let most = if may_clients_publish(config) { most } else { usize::MAX };
        let websocket = &mut config.websocket;
        let most = most.min(websocket.memory_max / MESSAGES_IN_MEMORY);
        websocket.message_bytes_max = websocket.message_bytes_max.max(of_subscriptions).min(most);
    }
}

/// Reports every pair that contradicts itself, by name.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    if config.token.jwks_file.is_some() && config.token.jwks_url.is_some() {
        let problem = ("token.jwks_file is set too", "keep one of the two");
        Place("token".to_owned()).conflict("jwks_url", problem, reader);
    }
    check_memory(config, reader);
    check_rates(config, reader);
    for (index, endpoint) in config.ingest.endpoints.iter().enumerate() {
        let place = Place(format!("ingest.endpoints[{index}]"));
        if endpoint.is_input() {
            check_message(endpoint.message_bytes_max, &place, config, reader);
        }
        check_address(index, &config.ingest.endpoints, &place, reader);
    }
    let place = Place("api".to_owned());
    check_message(config.api.message_bytes_max, &place, config, reader);
    if may_clients_publish(config) {
        let place = Place("websocket".to_owned());
        check_message(config.websocket.message_bytes_max, &place, config, reader);
    }
}

fn may_clients_publish(config: &Config) -> bool {
    all_rules(config).any(|rules| rules.publish != Permission::Nobody)
}

fn all_rules(config: &Config) -> impl Iterator<Item = &Namespace> {
    [&config.channels, &config.personal].into_iter().chain(config.namespaces.0.values())
}

fn check_memory(config: &Config, reader: &mut Reader) {
    let slow = &config.slow;
    // However many shards there are, each may have half of a budget; of many none has more.
    for (section, key, bytes) in [
        ("slow", "lag_bytes_max", slow.lag_bytes_max),
        ("slow", "outbox_bytes_max", slow.outbox_bytes_max),
        ("client", "reply_bytes_max", config.client.reply_bytes_max),
    ] {
        if bytes > slow.memory_max / 2 {
            let reason = "more than half of slow.memory_max, all that a shard among many may have";
            let problem = (reason, "lower it or raise slow.memory_max");
            Place(section.to_owned()).conflict(key, problem, reader);
        }
    }
    let most = config.websocket.memory_max / MESSAGES_IN_MEMORY;
    let is_written = |key: &str| reader.origin_of(key) != Origin::Default;
    let of_subscriptions = config.client.channels_max * SUBSCRIPTION_BYTES;
    let is_hidden = is_written("client.channels_max") && !is_written(MESSAGES_OF_CLIENTS);
    if is_hidden && of_subscriptions > most {
        let reason = "a client that comes back subscribes to so many channels in one message, \
                      which may be longer than a quarter of websocket.memory_max";
        let problem = (reason, "lower it or raise websocket.memory_max");
        Place("client".to_owned()).conflict("channels_max", problem, reader);
    }
    if config.websocket.message_bytes_max > most {
        let reason = "more than a quarter of websocket.memory_max";
        let problem = (reason, "lower it or raise websocket.memory_max");
        Place("websocket".to_owned()).conflict("message_bytes_max", problem, reader);
    }
}

/// What may be published must fit the limits of those who are to get it.
fn check_message(bytes: usize, place: &Place, config: &Config, reader: &mut Reader) {
    // A message is on its way to every reader when the next one comes.
    if bytes > config.slow.lag_bytes_max / 2 {
        let reason =
            "more than half of slow.lag_bytes_max: two such messages would close healthy readers";
        let remedy = "lower it or raise slow.lag_bytes_max";
        place.conflict("message_bytes_max", (reason, remedy), reader);
    }
    let key = format!("{}.message_bytes_max", place.0);
    if reader.origin_of(&key) == Origin::Default || all_rules(config).all(has_no_history) {
        return;
    }
    for (part, other, limit) in [
        ("", "client.reply_bytes_max", config.client.reply_bytes_max),
        ("half of ", "history.memory_max", config.history.memory_max / 2),
    ] {
        if bytes > limit {
            let reason = format!("more than {part}{other}: such a message could not be recovered");
            let remedy = format!("lower it or raise {other}");
            place.conflict("message_bytes_max", (&reason, &remedy), reader);
        }
    }
}

fn has_no_history(rules: &Namespace) -> bool {
    rules.history_size == 0
}

/// A rate that a lower one hides: publications are commands, and a user's connections count
/// together.
fn check_rates(config: &Config, reader: &mut Reader) {
    let client = &config.client;
    let commands = ("commands_per_second", client.commands_per_second);
    let publishes = ("publishes_per_second", client.publishes_per_second);
    let user_commands = ("user_commands_per_second", client.user_commands_per_second);
    let user_publishes = ("user_publishes_per_second", client.user_publishes_per_second);
    for ((key, rate), (other, limit)) in [
        (publishes, commands),
        (user_publishes, user_commands),
        (commands, user_commands),
        (publishes, user_publishes),
    ] {
        // No limit is 0, and hides nothing.
        if limit > 0 && rate > limit {
            let reason = format!("more than client.{other}, so it is never reached");
            let remedy = format!("lower it or raise client.{other}");
            Place("client".to_owned()).conflict(key, (&reason, &remedy), reader);
        }
    }
}

/// Two sockets cannot listen at one address.
fn check_address(index: usize, endpoints: &[Endpoint], place: &Place, reader: &mut Reader) {
    let endpoint = &endpoints[index];
    let is_same = |other: &Endpoint| other.listens_at() == endpoint.listens_at();
    if endpoint.listens_at().is_some()
        && let Some(other) = endpoints[..index].iter().position(is_same)
    {
        let reason = format!("ingest.endpoints[{other}] listens there too");
        place.conflict("endpoint", (&reason, "choose another address"), reader);
    }
}
