//! The promise: a token lets in whom it names, for as long as it says, and not after it was
//! revoked.

use serde_json::json;

use crate::harness::{
    Client, Edge, HMAC_SECRET, Heard, Managed, request, seconds_from_now, token, token_of,
};

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
fn nobody_is_let_in_whom_backends_cannot_name() {
    let edge = Edge::with(&[HMAC_SECRET, "client.anonymous=true"]);
    for user in ["4\n2", "\u{85}", "u\0"] {
        let client = Managed::open(&edge);
        client.begin("connect", json!({ "token": token(json!({ "sub": user })) }));
        client.expect_close(3500);
        let path = format!("/websocket?token={}", token(json!({ "sub": user })));
        assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "401");
        let client = Managed::connect(&edge);
        let claims = json!({ "sub": user, "channel": "news" });
        let subscribe = json!({ "channel": "news", "token": token(claims) });
        assert_eq!(client.refused("subscribe", subscribe), 103);
    }
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
    assert_eq!(client.refused("sub_refresh", with_token("b")), 103);
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

/// 401 names the scheme that it asks for.
#[test]
fn a_raw_client_may_show_its_token_in_a_header() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let token = token(json!({ "sub": "42" }));
    for field in [
        format!("Authorization: Bearer {token}"),
        format!("authorization: bearer {token}"),
        format!("Sec-WebSocket-Protocol: tidegate, token.{token}"),
    ] {
        let mut peer = edge.tcp();
        peer.send(request("/websocket/42", &[&field]).as_bytes());
        peer.expect_open();
    }
    let mut peer = edge.tcp();
    peer.send(request("/websocket/42", &["Authorization: Basic NDI6NDI="]).as_bytes());
    let response = peer.response().unwrap();
    assert_eq!(response.status, 401);
    assert!(response.head.contains("WWW-Authenticate: Bearer"), "{}", response.head);
}

/// A backend's clock is ahead of the edge's: the client comes again, and gets in.
#[test]
fn a_token_whose_time_has_not_come_is_refused_for_now_only() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let early = token(json!({ "sub": "42", "nbf": seconds_from_now(600) }));
    let client = Managed::open(&edge);
    let reply = client.ask("connect", json!({ "token": early }));
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["temporary"]),
        (&json!(100), &json!(true))
    );
    let path = format!("/websocket/42?token={early}");
    assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "503");
    let client = Managed::connect_as(&edge, "42");
    assert_eq!(client.refused("refresh", json!({ "token": early })), 100);
    assert_eq!(edge.metric("tidegate_tokens_refused_total{reason=\"not_yet\""), 3);
}

#[test]
fn clocks_may_be_apart_as_far_as_the_leeway() {
    let edge = Edge::with(&[HMAC_SECRET, "token.leeway=60s"]);
    let late = token(json!({ "sub": "late", "exp": seconds_from_now(0) - 30 }));
    let early = token(json!({ "sub": "early", "nbf": seconds_from_now(30) }));
    for (user, claims) in [("late", &late), ("early", &early)] {
        let client = edge.open(&format!("/websocket/{user}?token={claims}"));
        assert_eq!(edge.publish(&format!("#{user}"), "still here"), 1);
        client.expect("still here");
        let managed = Managed::open(&edge);
        let connected = managed.done("connect", json!({ "token": claims }));
        let ttl = connected["ttl"].as_u64();
        assert!(ttl.is_none_or(|ttl| (1..=30).contains(&ttl)), "{connected}");
    }
    let over = token(json!({ "sub": "late", "exp": seconds_from_now(0) - 90 }));
    let refused = Client::try_open(edge.public, &format!("/websocket/late?token={over}"));
    assert_eq!(refused.map(drop).unwrap_err(), "401");
}

/// A new secret comes before the old one goes.
#[test]
fn secrets_change_without_a_moment_in_which_a_good_token_is_refused() {
    let (new, old) = ("the new secret of thirty-two bytes", "the old secret of thirty-two bytes");
    let edge = Edge::with(&[&format!("token.hmac_secret=[\"{new}\", \"{old}\"]")]);
    for secret in [new, old] {
        let token = token_of(secret, json!({ "sub": "42" }));
        edge.open(&format!("/websocket/42?token={token}"));
    }
    let other = token_of("a secret that nobody has configured", json!({ "sub": "42" }));
    let refused = Client::try_open(edge.public, &format!("/websocket/42?token={other}"));
    assert_eq!(refused.map(drop).unwrap_err(), "401");
}

/// A secret may be all digits, which in a file of options would be a number.
#[test]
fn a_secret_of_digits_needs_no_quotes_in_a_variable() {
    let secret = "12345678901234567890123456789012";
    let edge = Edge::with(&[&format!("token.hmac_secret={secret}"), "token.audience=42"]);
    let token = token_of(secret, json!({ "sub": "42", "aud": "42" }));
    edge.open(&format!("/websocket/42?token={token}"));
}

/// The device that a token names is shut out with it, whatever the client calls itself.
#[test]
fn a_revoked_device_does_not_come_back_with_its_token() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let iat = seconds_from_now(0) - 5;
    let of = |device: &str| token(json!({ "sub": "42", "iat": iat, "device": device }));
    let (phone, laptop) = (of("phone"), of("laptop"));
    let raw = edge.open(&format!("/websocket/42?token={phone}"));
    let managed = Managed::open(&edge);
    managed.done("connect", json!({ "token": phone }));
    let stays = edge.open(&format!("/websocket/42?token={laptop}&device=laptop"));
    let meta = r#"{"op":"disconnect","user":"42","device":"phone","revoke":true}"#;
    assert_eq!(edge.command("", meta)["sessions"], 2);
    assert!(matches!(raw.hear(), Heard::Close(3503, _)));
    managed.expect_close(3503);
    for device in ["", "&device=phone", "&device=laptop", "&device=tablet"] {
        let path = format!("/websocket/42?token={phone}{device}");
        let refused = Client::try_open(edge.public, &path).map(drop).unwrap_err();
        assert_eq!(refused, "401", "{device}");
        let again = Managed::open(&edge);
        let name = device.trim_start_matches("&device=");
        again.begin("connect", json!({ "token": phone, "headers": { "x-device": name } }));
        again.expect_close(3500);
    }
    edge.publish("#42", "x");
    stays.expect("x");
    edge.open(&format!("/websocket/42?token={laptop}"));
}

/// A token that names a device is of no use to another one.
#[test]
fn a_token_of_one_device_lets_no_other_in() {
    let edge = Edge::with(&[HMAC_SECRET]);
    let phone = token(json!({ "sub": "42", "device": "phone" }));
    let path = format!("/websocket/42?token={phone}&device=laptop");
    assert_eq!(Client::try_open(edge.public, &path).map(drop).unwrap_err(), "403");
    let laptop = Managed::open(&edge);
    laptop.begin("connect", json!({ "token": phone, "headers": { "x-device": "laptop" } }));
    laptop.expect_close(3500);
    let bound = Managed::open(&edge);
    bound.done("connect", json!({ "token": phone }));
    let tablet = token(json!({ "sub": "42", "device": "tablet" }));
    bound.done("refresh", json!({ "token": phone }));
    for (device, expected) in [("phone", 0), ("tablet", 103)] {
        let claims = json!({ "sub": "42", "channel": device, "device": device });
        let reply = bound.ask("subscribe", json!({ "channel": device, "token": token(claims) }));
        assert_eq!(reply["error"]["code"].as_u64().unwrap_or(0), expected, "{device}");
    }
    bound.begin("refresh", json!({ "token": tablet }));
    bound.expect_close(3500);
}
