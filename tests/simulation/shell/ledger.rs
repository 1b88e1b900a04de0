//! What was published, and what that promises to whoever is subscribed.
//!
//! Nothing is known here of shards, homes or links: only what a backend and a client can see. What
//! is published after a client has read that it is subscribed must come, all of it and in order;
//! nothing that was carried out before the client asked may come; and between two publications of a
//! channel none is missing, unless the client was told so.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// The place of a channel among all.
pub(crate) type Channel = usize;

/// What is wrong with what a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are none of ours, or a frame is not whole.
    Torn,
    /// Something that this client must not get.
    Foreign,
    /// Something came again, or behind what is newer.
    Repeated,
    /// Something is missing.
    Missing,
    /// Something is older than the subscription.
    Stale,
    /// Something followed the close frame.
    AfterClose,
}

/// A fault and where it was seen.
pub(crate) type Verdict = Result<(), (Fault, String)>;

/// What kind of channel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is remembered.
    Plain,
    /// It has history; backends publish there.
    Remembered,
    /// It has history; clients publish there.
    Talk,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The sizes of all publications.
    sizes: Vec<usize>,
    /// So many of them were carried out.
    handled: usize,
    /// What clients have seen in a channel where they publish, by offset.
    seen: BTreeMap<u64, usize>,
}

/// All channels, and what was published in them.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tracks: Vec<Track>,
    places: HashMap<String, Channel>,
}

impl Ledger {
    /// Channels in this order.
    pub(crate) fn new(channels: Vec<(String, Kind)>) -> Self {
        let mut ledger = Self::default();
        for (name, kind) in channels {
            ledger.places.insert(name.clone(), ledger.tracks.len());
            let (sizes, seen) = (Vec::new(), BTreeMap::new());
            ledger.tracks.push(Track { name, kind, sizes, handled: 0, seen });
        }
        ledger
    }

    /// The channel of a name.
    pub(crate) fn place(&self, name: &str) -> Option<Channel> {
        self.places.get(name).copied()
    }

    /// Something is published; returns its number and what it says.
    pub(crate) fn publish(&mut self, channel: Channel, size: usize) -> (usize, Vec<u8>) {
        let number = self.tracks[channel].sizes.len();
        self.tracks[channel].sizes.push(size);
        (number, payload(channel, number, size))
    }

    /// A publication was carried out, and with it those before it.
    pub(crate) fn note_handled(&mut self, channel: Channel, number: usize) {
        let track = &mut self.tracks[channel];
        track.handled = track.handled.max(number + 1);
    }

    /// How many publications were carried out for certain.
    pub(crate) fn handled(&self, channel: Channel) -> usize {
        self.tracks[channel].handled
    }

    /// How many publications there are: in a channel where clients publish, those that were seen.
    pub(crate) fn count(&self, channel: Channel) -> usize {
        let track = &self.tracks[channel];
        match track.kind {
            Kind::Talk => track.seen.last_key_value().map_or(0, |(offset, _)| *offset as usize),
            Kind::Plain | Kind::Remembered => track.sizes.len(),
        }
    }

    /// Which publication something is, if it is one as it was sent.
    fn identify(&self, bytes: &[u8]) -> Option<(Channel, usize)> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let channel = value["c"].as_u64()? as usize;
        let number = value["n"].as_u64()? as usize;
        let size = *self.tracks.get(channel)?.sizes.get(number)?;
        (payload(channel, number, size) == bytes).then_some((channel, number))
    }

    /// Which publication a client is shown, and at which place in its channel. Raw clients see no
    /// offsets.
    pub(crate) fn place_of(
        &mut self,
        bytes: &[u8],
        offset: Option<u64>,
    ) -> Result<(Channel, usize), (Fault, String)> {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let (channel, number) =
            self.identify(bytes).ok_or_else(|| (Fault::Torn, format!("nobody sent {shown}")))?;
        let track = &mut self.tracks[channel];
        let place = match (track.kind, offset) {
            (Kind::Plain, _) | (Kind::Remembered, None) => return Ok((channel, number)),
            (Kind::Talk, None) => return Err((Fault::Foreign, format!("{shown} without offset"))),
            (_, Some(offset)) => offset as usize,
        };
        let is_right = match track.kind {
            Kind::Talk => *track.seen.entry(place as u64).or_insert(number) == number,
            Kind::Plain | Kind::Remembered => place == number + 1,
        };
        let wrong = || (Fault::Foreign, format!("{shown} at offset {place}"));
        if is_right { Ok((channel, place - 1)) } else { Err(wrong()) }
    }
}

fn payload(channel: Channel, number: usize, size: usize) -> Vec<u8> {
    let letter = char::from(b'a' + (number % 26) as u8).to_string();
    format!(r#"{{"c":{channel},"n":{number},"x":"{}"}}"#, letter.repeat(size)).into_bytes()
}

/// What one subscription was told and has got.
#[derive(Debug)]
pub(crate) struct View {
    /// So much was carried out before it was asked for.
    floor: usize,
    /// So much was sent when it was known to be there: what comes first is no later than this.
    ceiling: usize,
    /// What comes next, once that is known.
    next: Option<usize>,
}

impl View {
    /// A subscription that has begun: how much had been carried out when it was asked for, and how
    /// much has been sent now that it is there.
    pub(crate) fn new(floor: usize, ceiling: usize) -> Self {
        Self { floor, ceiling, next: None }
    }

    /// One that begins at a known place.
    pub(crate) fn at(next: usize) -> Self {
        Self { floor: next, ceiling: next, next: Some(next) }
    }

    /// What comes next, if that is known.
    pub(crate) fn next(&self) -> Option<usize> {
        self.next
    }

    /// A publication has come.
    pub(crate) fn hear(&mut self, place: usize) -> Verdict {
        let due = match self.next {
            Some(next) if place < next => {
                return Err((Fault::Repeated, format!("{place} came where {next} was due")));
            }
            None if place < self.floor => {
                let text = format!("{place} was over before {} began it all", self.floor);
                return Err((Fault::Stale, text));
            }
            next => next.unwrap_or(self.ceiling),
        };
        if place > due || self.next.is_some_and(|next| place != next) {
            return Err((Fault::Missing, format!("{place} came where {due} was due")));
        }
        self.next = Some(place + 1);
        Ok(())
    }

    /// Everything has arrived: so many publications there were.
    pub(crate) fn finish(&self, count: usize) -> Verdict {
        let have = self.next.unwrap_or(self.ceiling);
        if have >= count { Ok(()) } else { Err((Fault::Missing, format!("{have} of {count}"))) }
    }
}
