//! Promises: the description of the API has every method and no other, and each of its examples is
//! what the edge takes and answers.

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate::protocol::http_api::Method;

use crate::backend::shard;
use crate::edge::Edge;

#[test]
fn the_description_has_every_method_and_no_other() {
    let edge = Edge::start(false);
    let response = edge.get("/api/openapi.json");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let description = response.json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let methods = Method::ALL.iter().map(|method| format!("/api/{}", method.name()));
    let methods: Vec<String> = methods.chain(["/api".to_owned()]).collect();
    assert_eq!(described, methods.iter().map(String::as_str).collect());
    for (path, item) in paths {
        let kinds: Vec<_> = item.as_object().unwrap().keys().collect();
        assert_eq!(kinds, ["post"], "{path}");
    }
}

#[test]
fn its_examples_are_real() {
    let mut edge = Edge::with_key();
    let description = edge.get("/api/openapi.json").json();
    edge.with_shards(shard, |edge| {
        for (path, item) in description["paths"].as_object().unwrap() {
            let content = &item["post"]["requestBody"]["content"]["application/json"];
            let examples = content["examples"].as_object().unwrap();
            assert!(!examples.is_empty(), "{path}");
            for (name, example) in examples {
                let request = example["value"].to_string();
                let response = match path.strip_prefix("/api/") {
                    Some(method) => edge.call(method, &request),
                    None => edge.lines(&request),
                };
                assert_eq!(response.status, 200, "{path} {name}: {response:?}");
                let body = response.json();
                assert!(!has_key(&body, "error"), "{path} {name}: {body}");
                // The results of lines are those of the methods.
                if path != "/api" {
                    assert_described(&description, item, &body);
                }
            }
        }
    });
}

/// Every key that the edge answers with at the top of a result stands in the description.
fn assert_described(description: &Value, item: &Value, body: &Value) {
    let schema = &item["post"]["responses"]["200"]["content"]["application/json"]["schema"];
    let schema = resolve(description, schema);
    for (key, value) in body.as_object().unwrap() {
        let inner = resolve(description, &schema["properties"][key]);
        assert!(inner.is_object(), "{key} is not in {schema}");
        for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
            assert!(inner["properties"][key].is_object(), "{key} is not in {inner}");
        }
    }
}

fn resolve<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => description.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(object) => {
            object.iter().any(|(name, value)| name == key || has_key(value, key))
        }
        Value::Array(list) => list.iter().any(|value| has_key(value, key)),
        _ => false,
    }
}
