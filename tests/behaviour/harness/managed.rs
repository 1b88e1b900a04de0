//! A client that speaks the client protocol in JSON, over the independent WebSocket client.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Client, Edge, Heard};

/// The path of the door.
const PATH: &str = "/connection/websocket";

/// The secret that [`token`] signs with.
const SECRET: &str = "a secret of at least thirty-two bytes";

/// The option that makes an edge take such tokens.
pub const HMAC_SECRET: &str = "token.hmac_secret=a secret of at least thirty-two bytes";

/// A Unix second to come, for claims.
pub fn seconds_from_now(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

/// A token as a backend makes it.
pub fn token(claims: Value) -> String {
    token_of(SECRET, claims)
}

/// A token that is signed with another secret.
pub fn token_of(secret: &str, claims: Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// A connection of the client protocol.
pub struct Managed {
    client: Client,
    id: Cell<u32>,
    /// Pushes that came while a reply was awaited.
    pushes: RefCell<VecDeque<Value>>,
}

impl Managed {
    /// A connection that has not said anything.
    pub fn open(edge: &Edge) -> Self {
        let client = edge.open(PATH);
        Self { client, id: Cell::new(0), pushes: RefCell::default() }
    }

    /// A connection of nobody in particular.
    pub fn connect(edge: &Edge) -> Self {
        let managed = Self::open(edge);
        managed.done("connect", json!({}));
        managed
    }

    /// A connection of a user.
    pub fn connect_as(edge: &Edge, user: &str) -> Self {
        let managed = Self::open(edge);
        managed.done("connect", json!({ "token": token(json!({ "sub": user })) }));
        managed
    }

    /// Sends a command without waiting for anything; returns its number.
    pub fn begin(&self, method: &str, request: Value) -> u32 {
        self.id.set(self.id.get() + 1);
        self.say(&json!({ "id": self.id.get(), method: request }).to_string());
        self.id.get()
    }

    /// Sends a command and waits for its reply.
    #[track_caller]
    pub fn ask(&self, method: &str, request: Value) -> Value {
        let id = self.begin(method, request);
        loop {
            let message = self.hear();
            if message["id"] == id {
                return message;
            }
            assert!(message["push"].is_object(), "{message} instead of the reply {id}");
            self.pushes.borrow_mut().push_back(message["push"].clone());
        }
    }

    /// Sends a command that succeeds; returns its result.
    #[track_caller]
    pub fn done(&self, method: &str, request: Value) -> Value {
        let reply = self.ask(method, request);
        assert!(reply[method].is_object(), "{method}: {reply}");
        reply[method].clone()
    }

    /// Sends a command that fails; returns the code.
    #[track_caller]
    pub fn refused(&self, method: &str, request: Value) -> u64 {
        let reply = self.ask(method, request);
        reply["error"]["code"].as_u64().unwrap_or_else(|| panic!("{method}: {reply}"))
    }

    /// The next push.
    #[track_caller]
    pub fn push(&self) -> Value {
        let early = self.pushes.borrow_mut().pop_front();
        early.unwrap_or_else(|| {
            let message = self.hear();
            assert!(message["push"].is_object(), "{message} instead of a push");
            message["push"].clone()
        })
    }

    /// The next push is a publication; returns its data.
    #[track_caller]
    pub fn data(&self) -> Value {
        let push = self.push();
        assert!(push["pub"].is_object(), "{push} instead of a publication");
        push["pub"]["data"].clone()
    }

    /// The next message that is not a ping. Pings are answered.
    #[track_caller]
    pub fn hear(&self) -> Value {
        loop {
            let heard = self.client.hear();
            let Heard::Text(text) = heard else { panic!("{heard:?} instead of a message") };
            if text == "{}" {
                self.say("{}");
            } else {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Sends a text frame.
    pub fn say(&self, text: &str) {
        self.client.say(text);
    }

    /// The connection beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The next thing that is not a ping is the end, with this code. Gives the reason.
    #[track_caller]
    pub fn expect_close(&self, expected: u16) -> String {
        let ping = Heard::Text("{}".to_owned());
        let mut heard = self.client.hear();
        while heard == ping {
            heard = self.client.hear();
        }
        let Heard::Close(code, reason) = heard else { panic!("{heard:?} instead of a close") };
        assert_eq!(code, expected, "{reason}");
        assert_eq!(self.client.hear(), Heard::Lost);
        reason
    }
}
