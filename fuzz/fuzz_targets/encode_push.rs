//! Any bytes as a channel, NUL, a tag, NUL and a payload: what comes out is one frame, which JSON
//! clients can read and do not part, and from which protobuf clients get the payload back.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidegate::model::{ChannelName, Publication, Push, PushBody, Variant};
use tidegate::ws::frame::frame_bytes;

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let Ok(channel) = ChannelName::parse(part()) else { return };
    let tag = String::from_utf8_lossy(part());
    let payload = part();
    let text = str::from_utf8(payload).is_ok();
    let publication = Publication::new(text, payload, 0)
        .with_tags(vec![("tidegate.encoding".into(), (&*tag).into()), (tag.into(), "".into())]);
    let publication = Arc::new(publication);
    let push = Push::new(channel, PushBody::Publication { publication, offset: 1 });
    for variant in [Variant::Json, Variant::Protobuf] {
        let frame = push.frame(variant).unwrap();
        assert_eq!(frame_bytes(frame), Some(frame.len()));
    }

    let object = push.object(Variant::Json);
    assert!(!object.contains(&b'\n'));
    let object: serde_json::Value = serde_json::from_slice(object).unwrap();
    let data = &object["data"];
    if !text {
        assert_eq!(object["tags"]["tidegate.encoding"], "base64");
    } else if let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload) {
        assert!(*data == value || data.as_str().map(str::as_bytes) == Some(payload));
    } else {
        assert_eq!(data.as_str().map(str::as_bytes), Some(payload));
    }

    let object = push.object(Variant::Protobuf);
    assert!(object.windows(payload.len().max(1)).any(|part| part == payload) || payload.is_empty());
});
