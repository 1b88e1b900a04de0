//! The promise: what a token overrides holds for its subscription, and for no other.

use serde_json::{Value, json};

use crate::harness::{Edge, HMAC_SECRET, Managed, token};

const CHANNEL: &str = "news";

fn on() -> Value {
    json!({ "channel": CHANNEL })
}

fn values(overrides: &[(&str, bool)]) -> Value {
    let value = |(name, value): &(&str, bool)| ((*name).to_owned(), json!({ "value": value }));
    overrides.iter().map(value).collect()
}

/// Subscribes with a token that overrides something; `asked` is what the client says beside.
fn subscribe(client: &Managed, user: &str, overrides: &[(&str, bool)], asked: Value) -> Value {
    let claims = json!({ "sub": user, "channel": CHANNEL, "override": values(overrides) });
    let mut request = json!({ "channel": CHANNEL, "token": token(claims) });
    request.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    client.done("subscribe", request)
}

/// A connected user with a subscription.
fn subscriber(edge: &Edge, user: &str, overrides: &[(&str, bool)]) -> Managed {
    let client = Managed::connect_as(edge, user);
    subscribe(&client, user, overrides, json!({}));
    client
}

/// Who a push says that came or left.
fn who(push: &Value, what: &str) -> String {
    push[what]["info"]["user"].as_str().unwrap_or_else(|| panic!("{push}")).to_owned()
}

#[test]
fn who_is_hidden_is_not_present_and_counts_all_the_same() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.presence=true", "channels.subscribers_max=3"]);
    let hidden = subscriber(&edge, "hidden", &[("presence", false)]);
    // Those of a raw client's connection token hold too.
    let subs = json!({ "news": { "override": values(&[("presence", false)]) } });
    let claims = token(json!({ "sub": "raw", "subs": subs }));
    let raw = edge.open(&format!("/websocket/raw?channels=news&token={claims}"));
    let shown = subscriber(&edge, "shown", &[("presence", true)]);
    for client in [&hidden, &shown] {
        let list = client.done("presence", on())["presence"].clone();
        let users: Vec<_> = list.as_object().unwrap().values().map(|it| &it["user"]).collect();
        assert_eq!(users, ["shown"]);
        let stats = client.done("presence_stats", on());
        assert_eq!(stats, json!({ "num_clients": 1, "num_users": 1 }));
    }
    let other = Managed::connect_as(&edge, "other");
    assert_eq!(other.refused("subscribe", on()), 106);
    drop(raw);
    edge.expect_metric("tidegate_presence_clients", 2);
    other.done("subscribe", on());
}

#[test]
fn joins_and_leaves_are_told_of_whom_and_to_whom_the_token_says() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let events = edge.events();
    let told = subscriber(&edge, "told", &[("force_push_join_leave", true)]);
    let silent = subscriber(&edge, "silent", &[]);
    let loud = subscriber(&edge, "loud", &[("join_leave", true)]);
    assert_eq!(who(&told.push(), "join"), "loud");
    loud.done("unsubscribe", on());
    assert_eq!(who(&told.push(), "leave"), "loud");
    subscribe(&loud, "loud", &[("join_leave", true)], json!({}));
    assert_eq!(who(&told.push(), "join"), "loud");
    assert_eq!(edge.publish(CHANNEL, "x"), 3);
    for client in [&told, &silent, &loud] {
        assert_eq!(client.data(), "x");
    }
    drop(loud);
    assert_eq!(who(&told.push(), "leave"), "loud");
    told.done("unsubscribe", on());
    assert_eq!(edge.publish(CHANNEL, "y"), 1);
    assert_eq!(silent.data(), "y");
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let event = events.next_of_all();
        if matches!(&*event.name, "joined" | "left") {
            assert_eq!(event.meta["user"], "loud");
            heard.push(event.name);
        }
    }
    assert_eq!(heard, ["joined", "left", "joined", "left"]);
    drop((silent, told));
    for gauge in ["presence_clients", "subscriptions", "channels"] {
        edge.expect_metric(&format!("tidegate_{gauge}"), 0);
    }
}

#[test]
fn who_is_not_told_of_joins_may_ask_for_them() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.join_leave=true"]);
    let usual = subscriber(&edge, "usual", &[]);
    assert_eq!(who(&usual.push(), "join"), "usual");
    let not_told = [("force_push_join_leave", false)];
    let deaf = subscriber(&edge, "deaf", &not_told);
    assert_eq!(who(&usual.push(), "join"), "deaf");
    let asks = Managed::connect_as(&edge, "asks");
    subscribe(&asks, "asks", &not_told, json!({ "join_leave": true }));
    let quiet = subscriber(&edge, "quiet", &[("join_leave", false)]);
    for client in [&usual, &asks] {
        assert_eq!(who(&client.push(), "join"), "asks");
    }
    edge.publish(CHANNEL, "x");
    // The quiet one hears of the others, and of nothing before its time.
    for client in [&usual, &deaf, &asks, &quiet] {
        assert_eq!(client.data(), "x");
    }
    drop(asks);
    for client in [&usual, &quiet] {
        assert_eq!(who(&client.push(), "leave"), "asks");
    }
    assert_eq!(deaf.refused("subscribe", on()), 105);
}

#[test]
fn positions_and_recovery_are_forced_or_asked_for() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.history_size=3"]);
    let offers = |result: &Value| {
        let is = |name: &str| result[name].as_bool().unwrap_or(false);
        (is("positioned"), is("recoverable"))
    };
    let not_forced = [("force_positioning", false), ("force_recovery", false)];
    for (overrides, asked, expected) in [
        (&[][..], json!({}), (true, true)),
        (&not_forced, json!({}), (false, false)),
        (&not_forced, json!({ "positioned": true }), (true, false)),
        (&not_forced, json!({ "recoverable": true }), (true, true)),
        (&not_forced[1..], json!({}), (true, false)),
    ] {
        let client = Managed::connect_as(&edge, "42");
        let result = subscribe(&client, "42", overrides, asked);
        assert_eq!(offers(&result), expected, "{overrides:?}: {result}");
    }
    let edge = Edge::with(&[HMAC_SECRET]);
    let forced = not_forced.map(|(name, _)| (name, true));
    let client = Managed::connect_as(&edge, "42");
    let result = subscribe(&client, "42", &forced, json!({}));
    assert_eq!(offers(&result), (false, false), "there is no stream");
}

#[test]
fn recovery_may_be_forced_upon_some() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.history_size=3", "channels.recovery=false"]);
    let forced = [("force_recovery", true)];
    let client = Managed::connect_as(&edge, "42");
    let seen = subscribe(&client, "42", &forced, json!({}));
    assert_eq!(seen["recoverable"], true);
    drop(client);
    edge.publish(CHANNEL, r#""missed""#);
    let again = json!({ "recover": true, "epoch": seen["epoch"], "offset": seen["offset"] });
    for (overrides, is_recovered) in [(&forced[..], true), (&[], false)] {
        let client = Managed::connect_as(&edge, "42");
        let result = subscribe(&client, "42", overrides, again.clone());
        assert_eq!(result["was_recovering"], true);
        assert_eq!(result["recovered"].as_bool().unwrap_or(false), is_recovered, "{result}");
    }
    // The same for a server-side subscription, by the connection token.
    let subs = json!({ "news": { "override": values(&forced) } });
    let claims = token(json!({ "sub": "42", "subs": subs }));
    let positions = json!({ "news": again });
    let result = Managed::open(&edge)
        .done("connect", json!({ "token": claims, "subs": positions }))["subs"][CHANNEL]
        .clone();
    assert_eq!((&result["recovered"], &result["recoverable"]), (&json!(true), &json!(true)));
    assert_eq!(result["publications"][0]["data"], "missed");
}
