//! A client as published SDKs behave: it keeps a position for each subscription and uses it.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::Value;

/// What a client knows of one channel.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Epoch and offset, once known.
    pub(crate) position: Option<(String, u64)>,
    /// Whether it hears the channel.
    pub(crate) is_live: bool,
    /// The command that asks for it, while it is not answered.
    pub(crate) asked: Option<u32>,
    /// The command that ends it, while it is not answered.
    pub(crate) leaving: Option<u32>,
    /// The command that asks where the channel stands, while it is not answered.
    pub(crate) asking: Option<u32>,
}

/// Something that a client was told and the world has to check.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A publication: channel, epoch, offset, payload.
    Publication(usize, String, u64, u64),
    /// A recovery brought so many.
    Recovered(usize),
    /// It could not recover.
    NotRecovered,
    /// It was told to subscribe again.
    CutOff,
    /// A backend took the channel away, before it was there or after that.
    TakenAway(bool),
    /// It has left a channel.
    Left,
    /// It was told where a channel stands that it has never heard.
    Stands,
    /// The connection is closed.
    Closed,
    /// It is connected.
    Connected,
}

/// One client, over many connections.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its user.
    pub(crate) user: String,
    /// The channels it wants, by number; the first is its personal one.
    pub(crate) wanted: Vec<usize>,
    pub(crate) subscriptions: HashMap<usize, Subscription>,
    pub(crate) is_connected: bool,
    /// What its socket has and it has not read.
    pub(crate) pipe: VecDeque<u8>,
    input: Vec<u8>,
    next_id: u32,
    /// Commands without a reply.
    unanswered: HashSet<u32>,
}

impl Client {
    pub(crate) fn new(user: String, wanted: Vec<usize>) -> Self {
        let subscriptions = wanted.iter().map(|&channel| (channel, Subscription::default()));
        Self {
            user,
            subscriptions: subscriptions.collect(),
            wanted,
            is_connected: false,
            pipe: VecDeque::new(),
            input: Vec::new(),
            next_id: 1,
            unanswered: HashSet::new(),
        }
    }

    pub(crate) fn next_id(&mut self) -> u32 {
        self.next_id += 1;
        self.unanswered.insert(self.next_id);
        self.next_id
    }

    /// Whether every command was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// The connection is gone, and with it what was not read.
    pub(crate) fn disconnect(&mut self) {
        self.is_connected = false;
        self.pipe.clear();
        self.input.clear();
        self.unanswered.clear();
        for subscription in self.subscriptions.values_mut() {
            (subscription.is_live, subscription.asked) = (false, None);
            (subscription.leaving, subscription.asking) = (None, None);
        }
    }

    /// Reads some bytes of its socket.
    pub(crate) fn read(&mut self, count: usize, names: &HashMap<String, usize>) -> Vec<Heard> {
        let count = count.min(self.pipe.len());
        self.input.extend(self.pipe.drain(..count));
        let mut heard = Vec::new();
        while let Some((opcode, payload, size)) = frame(&self.input) {
            let payload = payload.to_vec();
            self.input.drain(..size);
            match opcode {
                8 => heard.push(Heard::Closed),
                1 => {
                    let reply = serde_json::from_slice(&payload).expect("a reply is JSON");
                    self.hear(&reply, names, &mut heard);
                }
                other => panic!("a frame of kind {other}"),
            }
        }
        heard
    }

    fn hear(&mut self, reply: &Value, names: &HashMap<String, usize>, heard: &mut Vec<Heard>) {
        if let Some(push) = reply.get("push") {
            let channel = names[push["channel"].as_str().expect("a channel")];
            if let Some(publication) = push.get("pub") {
                assert!(self.subscriptions[&channel].is_live, "a publication before the answer");
                self.advance(channel, publication, heard);
            } else if let Some(unsubscribe) = push.get("unsubscribe") {
                let subscription = self.subscriptions.get_mut(&channel).expect("wanted");
                assert!(subscription.is_live, "taken away before it was there");
                subscription.is_live = false;
                heard.push(match unsubscribe["code"].as_u64() {
                    Some(2500) => Heard::CutOff,
                    Some(2000) => Heard::TakenAway(false),
                    _ => panic!("{push}"),
                });
            } else {
                assert!(push.get("join").or_else(|| push.get("leave")).is_some(), "{push}");
            }
        } else {
            let id = reply["id"].as_u64().expect("an id") as u32;
            assert!(self.unanswered.remove(&id), "a second reply: {reply}");
            self.hear_reply(id, reply, names, heard);
        }
    }

    fn hear_reply(
        &mut self,
        id: u32,
        reply: &Value,
        names: &HashMap<String, usize>,
        heard: &mut Vec<Heard>,
    ) {
        let mut subscriptions = self.subscriptions.iter_mut();
        let mut of = |is_it: &dyn Fn(&Subscription) -> bool| {
            subscriptions.find(|(_, it)| is_it(it)).expect("somebody asked")
        };
        if let Some(connect) = reply.get("connect") {
            self.is_connected = true;
            heard.push(Heard::Connected);
            for (name, result) in connect["subs"].as_object().into_iter().flatten() {
                self.subscribed(names[name], result, heard);
            }
        } else if let Some(result) = reply.get("subscribe") {
            let (&channel, _) = of(&|it| it.asked == Some(id));
            self.subscribed(channel, result, heard);
        } else if reply.get("unsubscribe").is_some() {
            let (_, subscription) = of(&|it| it.leaving == Some(id));
            (subscription.is_live, subscription.leaving) = (false, None);
            heard.push(Heard::Left);
        } else if let Some(history) = reply.get("history") {
            let (_, subscription) = of(&|it| it.asking == Some(id));
            subscription.asking = None;
            // It may have subscribed meanwhile, and knows better.
            if subscription.position.is_none() {
                let epoch = history["epoch"].as_str().expect("an epoch").to_owned();
                let offset = history.get("offset").and_then(Value::as_u64).unwrap_or(0);
                subscription.position = Some((epoch, offset));
                heard.push(Heard::Stands);
            }
        } else {
            assert_eq!(reply["error"]["code"], 103, "{reply}");
            let (_, subscription) = of(&|it| it.asked == Some(id));
            subscription.asked = None;
            heard.push(Heard::TakenAway(true));
        }
    }

    fn subscribed(&mut self, channel: usize, result: &Value, heard: &mut Vec<Heard>) {
        let subscription = self.subscriptions.get_mut(&channel).expect("wanted");
        (subscription.is_live, subscription.asked) = (true, None);
        if result.get("recoverable").is_none() {
            return;
        }
        let epoch = result["epoch"].as_str().expect("an epoch").to_owned();
        let offset = result.get("offset").map_or(0, |offset| offset.as_u64().expect("a number"));
        let is_recovered = result.get("recovered") == Some(&Value::Bool(true));
        if let Some(position) = &subscription.position {
            if is_recovered {
                assert_eq!(*position, (epoch, offset), "the position that was asked for");
            } else {
                heard.push(Heard::NotRecovered);
                subscription.position = Some((epoch, offset));
            }
        } else {
            assert!(!is_recovered, "there was nothing to recover");
            subscription.position = Some((epoch, offset));
        }
        let missed = result.get("publications").and_then(Value::as_array);
        if is_recovered {
            heard.push(Heard::Recovered(missed.map_or(0, Vec::len)));
        } else {
            assert!(missed.is_none_or(Vec::is_empty), "publications without a recovery");
        }
        for publication in missed.into_iter().flatten() {
            self.advance(channel, publication, heard);
        }
    }

    /// A publication must be the next one.
    fn advance(&mut self, channel: usize, publication: &Value, heard: &mut Vec<Heard>) {
        let payload = publication["data"].as_u64().expect("a number");
        let subscription = self.subscriptions.get_mut(&channel).expect("wanted");
        let Some((epoch, position)) = &mut subscription.position else { return };
        let offset = publication["offset"].as_u64().expect("an offset");
        assert_eq!(offset, *position + 1, "{} in channel {channel}", self.user);
        *position = offset;
        heard.push(Heard::Publication(channel, epoch.clone(), offset, payload));
    }
}

/// The first frame of some bytes of a server: opcode, payload, size.
pub(crate) fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, _) = rest.split_first()?;
    let (header, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(header..header + length)?;
    Some((first & 15, payload, header + length))
}
