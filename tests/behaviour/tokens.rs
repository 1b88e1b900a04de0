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
fn a_managed_connection_that_expires_is_counted_as_such() {
    let edge = Edge::with(&[HMAC_SECRET, "client.refresh_grace=1s"]);
    let client = Managed::open(&edge);
    let claims = json!({ "sub": "42", "exp": seconds_from_now(2) });
    client.done("connect", json!({ "token": token(claims) }));
    client.expect_close(3005);
    edge.expect_metric("tidegate_connections_closed_total{reason=\"expired\"", 1);
}
