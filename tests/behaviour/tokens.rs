//! The promise: a token lets in whom it names, for as long as it says, and not after it was
//! revoked.

use serde_json::json;

use crate::harness::{Client, Edge, HMAC_SECRET, Managed, seconds_from_now, token};

/// A raw client of a user, with these claims beside.
fn raw(edge: &Edge, user: &str, claims: serde_json::Value) -> Client {
    let mut all = json!({ "sub": user });
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    edge.open(&format!("/websocket/{user}?token={}", token(all)))
}

#[test]
fn raw_connections_end_with_their_token_unless_it_is_renewed() {
    let edge = Edge::with(&[HMAC_SECRET, "client.refresh_grace=1s"]);
    let soon = json!({ "exp": seconds_from_now(2) });
    let ends = raw(&edge, "ends", soon.clone());
    let renewed = raw(&edge, "renewed", soon);
    let endless = raw(&edge, "endless", json!({}));
    let shortened = raw(&edge, "shortened", json!({}));
    let refresh = |user: &str, at: u64| {
        let meta = json!({ "op": "refresh", "user": user, "expires_at": at }).to_string();
        assert_eq!(edge.command("", &meta)["sessions"], 1, "{user}");
    };
    refresh("renewed", seconds_from_now(600));
    refresh("shortened", seconds_from_now(2));
    for ended in [ends, shortened] {
        assert_eq!(ended.expect_close(3005), "expired");
    }
    edge.expect_metric("tidegate_connections_closed_total{reason=\"expired\"", 2);
    for (client, user) in [(&renewed, "#renewed"), (&endless, "#endless")] {
        assert_eq!(edge.publish(user, "still here"), 1);
        client.expect("still here");
    }
    edge.command("", r#"{"op":"refresh","user":"renewed","expired":true}"#);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"command\"", 1);
}

#[test]
fn a_token_names_the_user_of_a_raw_connection_whose_path_does_not() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let client = edge.open(&format!("/websocket?token={}", token(json!({ "sub": "42" }))));
    assert_eq!(edge.publish("#42", "for you"), 1);
    client.expect("for you");
    let nobody = edge.open(&format!("/websocket?token={}", token(json!({ "sub": "" }))));
    edge.command("", r#"{"op":"disconnect","user":"42","revoke":true}"#);
    client.expect_close(3503);
    edge.command("", r#"{"op":"all"}"#);
    nobody.expect("");
}

#[test]
fn a_managed_connection_that_expires_is_counted_as_such() {
    let edge = Edge::with(&[HMAC_SECRET, "client.refresh_grace=1s"]);
    let client = Managed::open(&edge);
    let claims = json!({ "sub": "42", "exp": seconds_from_now(2) });
    client.done("connect", json!({ "token": token(claims) }));
    client.expect_close(3005);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"expired\"", 1);
}

/// Error codes and results of the next replies, in the order of the commands' numbers.
fn outcomes(client: &Managed, count: usize) -> Vec<u64> {
    let mut replies: Vec<_> = (0..count).map(|_| client.hear()).collect();
    replies.sort_by_key(|reply| reply["id"].as_u64());
    replies.iter().map(|reply| reply["error"]["code"].as_u64().unwrap_or(0)).collect()
}

#[test]
fn commands_beyond_the_rate_are_refused_before_their_token_is_looked_at() {
    let edge = Edge::with(&[HMAC_SECRET, "client.commands_per_second=1"]);
    let client = Managed::connect_as(&edge, "42");
    // What comes in one frame comes in one second.
    let commands = [
        json!({ "id": 2, "unsubscribe": { "channel": "a" } }),
        json!({ "id": 3, "refresh": { "token": "x" } }),
        json!({ "id": 4, "subscribe": { "channel": "a", "token": "x" } }),
        json!({ "id": 5, "sub_refresh": { "channel": "a", "token": "x" } }),
    ];
    client.say(&commands.map(|command| command.to_string()).join("\n"));
    // A token that is looked at closes the connection, or is error 103.
    assert_eq!(outcomes(&client, 4), [0, 111, 111, 111]);
    edge.expect_metric("tidegate_client_commands_over_rate_total", 3);
    assert_eq!(edge.publish("#42", "x"), 1);
}

#[test]
fn what_no_token_can_change_is_refused_before_it_is_looked_at() {
    let edge = Edge::with(&[HMAC_SECRET, "client.channels_max=2"]);
    let client = Managed::connect_as(&edge, "42");
    client.done("subscribe", json!({ "channel": "a" }));
    let with_token = |channel: &str| json!({ "channel": channel, "token": "x" });
    assert_eq!(client.refused("subscribe", with_token("a")), 105);
    assert_eq!(client.refused("subscribe", with_token("b")), 106);
    assert_eq!(client.refused("subscribe", with_token("unknown:b")), 102);
    assert_eq!(client.refused("sub_refresh", with_token("b")), 107);
    assert_eq!(client.refused("sub_refresh", with_token("a")), 103);
    client.begin("connect", json!({ "token": "x" }));
    assert_eq!(client.expect_close(3501), "connected already");
}

#[test]
fn meta_is_for_backends_alone() {
    let edge = Edge::with(&[HMAC_SECRET, "channels.presence=true"]);
    let events = edge.events();
    let meta = json!({ "plan": "gold" });
    let client = raw(&edge, "raw", json!({ "meta": meta }));
    client.say("hello");
    client.close(1000);
    for name in ["connected", "message", "disconnected"] {
        assert_eq!(events.expect(name, "raw").meta["meta"], meta, "{name}");
    }
    let managed = Managed::open(&edge);
    let claims = token(json!({ "sub": "managed", "meta": meta, "info": 1 }));
    let result = managed.done("connect", json!({ "token": claims }));
    assert_eq!(events.expect("connected", "managed").meta["meta"], meta);
    managed.done("subscribe", json!({ "channel": "news" }));
    let presence = managed.done("presence", json!({ "channel": "news" }));
    assert!(!format!("{result} {presence}").contains("gold"));
    let _other = raw(&edge, "without", json!({}));
    assert_eq!(events.expect("connected", "without").meta.get("meta"), None);
}
