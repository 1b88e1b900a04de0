//! Judges what one connection received: whole frames, each in its place, none twice, none foreign.
//!
//! A history is told in advance what its connection will be owed, channel by channel in the order
//! in which the shard took the publications. Then it reads the bytes that the socket took. Only
//! the end of each channel may be missing, and only if the connection was closed. Publications to
//! a list of channels arrive once for each; as their copies look alike they are counted, and
//! held against what surrounds them in their channels.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::OnceLock;

use tidegate::ws::{Header, Opcode};

/// The place of a channel's name in the world's list.
pub(crate) type Channel = usize;

/// The channel of broadcasts to everybody.
pub(crate) const EVERYONE: Channel = usize::MAX;

/// What is wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are not whole frames that somebody sent.
    Torn,
    /// A message that this connection must not get.
    Foreign,
    /// A message came again.
    Duplicated,
    /// A message is missing, or has been overtaken by the one seen now.
    Missing,
    /// Something followed the close frame.
    AfterClose,
}

/// A fault and where it was seen.
pub(crate) type Verdict = Result<(), (Fault, String)>;

/// A publication as it was sent.
#[derive(Debug)]
pub(crate) struct Message {
    /// The payload, which begins with the number of the message.
    pub(crate) payload: Vec<u8>,
    /// The opcode of its frame.
    pub(crate) opcode: Opcode,
    /// The channels it went to: one, or a list.
    pub(crate) channels: Vec<Channel>,
}

/// All publications of a run, by number.
#[derive(Debug, Default)]
pub(crate) struct Library(pub(crate) Vec<Message>);

/// What messages are made of: each begins at a place of its own (of 32768).
static LETTERS: OnceLock<Vec<u8>> = OnceLock::new();

fn letter(at: usize) -> u8 {
    b'a' + (at * at / 5 % 26) as u8
}

impl Library {
    /// Adds a message of a size; its number and its size fix all of its bytes.
    pub(crate) fn add(&mut self, channels: Vec<Channel>, text: bool, size: usize) -> u32 {
        let number = self.0.len() as u32;
        let mut payload = format!("{number:08x}").into_bytes();
        let letters = LETTERS.get_or_init(|| (0..1 << 17).map(letter).collect());
        let first = number as usize * 7 % (1 << 15);
        payload.extend_from_slice(&letters[first..first + size.saturating_sub(8)]);
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        self.0.push(Message { payload, opcode, channels });
        number
    }

    /// The number of the message that a payload claims to be.
    pub(crate) fn number_of(payload: &[u8]) -> Option<u32> {
        let digits = std::str::from_utf8(payload.get(..8)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    }

    fn is_list(&self, number: u32) -> bool {
        self.0[number as usize].channels.len() > 1
    }
}

/// What is owed of one channel, and how much of it has come.
#[derive(Debug, Default)]
struct Stream {
    owed: Vec<u32>,
    next: usize,
}

/// What one connection is owed and what it got.
#[derive(Debug, Default)]
pub(crate) struct History {
    streams: BTreeMap<Channel, Stream>,
    /// How many copies of a message to a list came, and how many channels have moved past it.
    lists: HashMap<u32, (usize, usize)>,
    replies: VecDeque<Vec<u8>>,
    bytes: Vec<u8>,
    /// How many publications came.
    pub(crate) publications: u64,
    /// Whether a close frame came.
    pub(crate) is_closed: bool,
    /// What it said, until somebody looks.
    pub(crate) close_reason: Option<String>,
}

impl History {
    /// The shard owes the connection a publication.
    pub(crate) fn owe(&mut self, channel: Channel, number: u32) {
        self.streams.entry(channel).or_default().owed.push(number);
    }

    /// The shell owes the connection a reply.
    pub(crate) fn owe_reply(&mut self, payload: &[u8]) {
        self.replies.push_back(payload.to_vec());
    }

    /// The socket took some bytes.
    pub(crate) fn receive(&mut self, library: &Library, bytes: &[u8]) -> Verdict {
        self.bytes.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.bytes);
        let mut at = 0;
        loop {
            let header = Header::parse(&received[at..])
                .map_err(|error| (Fault::Torn, format!("not a frame: {error}")))?;
            let Some((header, size)) = header else { break };
            let length = usize::try_from(header.payload_length).unwrap_or(usize::MAX);
            if header.mask.is_some() || !header.fin || length > 1 << 20 {
                return Err((Fault::Torn, format!("not a frame of ours: {header:?}")));
            }
            let Some(payload) = received.get(at + size..at + size + length) else { break };
            self.frame(library, header.opcode, payload)?;
            at += size + length;
        }
        self.bytes = received[at..].to_vec();
        Ok(())
    }

    fn frame(&mut self, library: &Library, opcode: Opcode, payload: &[u8]) -> Verdict {
        if self.is_closed {
            return Err((Fault::AfterClose, format!("{opcode:?} after the close frame")));
        }
        match opcode {
            Opcode::Close => {
                self.is_closed = true;
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or(&[]));
                self.close_reason = Some(reason.into_owned());
            }
            Opcode::Pong => {
                if self.replies.pop_front().as_deref() != Some(payload) {
                    return Err((Fault::Foreign, "a reply out of order".into()));
                }
            }
            _ => {
                let number = Library::number_of(payload);
                let sent = number.and_then(|number| library.0.get(number as usize));
                if sent.is_none_or(|sent| sent.payload != payload || sent.opcode != opcode) {
                    return Err((Fault::Torn, format!("nobody sent this ({number:?})")));
                }
                self.publications += 1;
                let number = number.expect("found in the library");
                if library.is_list(number) {
                    return self.list_message(library, number);
                }
                let channel = library.0[number as usize].channels[0];
                return self.channel_message(library, channel, number);
            }
        }
        Ok(())
    }

    fn channel_message(&mut self, library: &Library, channel: Channel, number: u32) -> Verdict {
        let stream = self.streams.entry(channel).or_default();
        while let Some(&owed) = stream.owed.get(stream.next) {
            if owed != number && !library.is_list(owed) {
                let text = format!("message {owed} was due in channel {channel}, not {number}");
                if stream.owed[..stream.next].contains(&number) {
                    return Err((Fault::Duplicated, text));
                }
                let is_owed = stream.owed[stream.next..].contains(&number);
                return Err((if is_owed { Fault::Missing } else { Fault::Foreign }, text));
            }
            stream.next += 1;
            if owed == number {
                return Ok(());
            }
            let (came, passed) = self.lists.entry(owed).or_default();
            *passed += 1;
            if passed > came {
                return Err((Fault::Missing, format!("{number} overtook the list's {owed}")));
            }
        }
        let came_before = stream.owed.contains(&number);
        let fault = if came_before { Fault::Duplicated } else { Fault::Foreign };
        Err((fault, format!("message {number} of channel {channel} is not owed")))
    }

    fn list_message(&mut self, library: &Library, number: u32) -> Verdict {
        let (mut owed, mut ready) = (0, 0);
        for channel in &library.0[number as usize].channels {
            let Some(stream) = self.streams.get(channel) else { continue };
            let Some(place) = stream.owed.iter().rposition(|&other| other == number) else {
                continue;
            };
            owed += 1;
            let between = stream.owed.get(stream.next..place).unwrap_or(&[]);
            ready += usize::from(between.iter().all(|&other| library.is_list(other)));
        }
        let (came, _) = self.lists.entry(number).or_default();
        *came += 1;
        if *came > owed {
            let fault = if owed > 0 { Fault::Duplicated } else { Fault::Foreign };
            return Err((fault, format!("copy {came} of the list's {number}, {owed} owed")));
        }
        if *came > ready {
            return Err((Fault::Missing, format!("the list's {number} overtook others")));
        }
        Ok(())
    }

    /// How many bytes of one channel are owed and did not come, at least, for the worst channel.
    pub(crate) fn lag(&self, library: &Library) -> usize {
        let (begun, came) = self.begun();
        let size = |&number: &u32| match library.is_list(number) {
            // A copy of it may have come already.
            true => 0,
            false if begun == Some(number) => library.0[number as usize].payload.len() - came,
            false => library.0[number as usize].payload.len(),
        };
        let lags = self.streams.values().map(|stream| &stream.owed[stream.next..]);
        let worst = lags.map(|owed| owed.iter().map(size).sum()).max().unwrap_or(0);
        // Of a message whose number has still to come some bytes may be there.
        if begun.is_none() { worst.saturating_sub(came) } else { worst }
    }

    /// The message that came in part, if that part has its number, and how many bytes of its
    /// payload came.
    fn begun(&self) -> (Option<u32>, usize) {
        let Ok(Some((header, size))) = Header::parse(&self.bytes) else { return (None, 0) };
        let is_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let payload = &self.bytes[size..];
        if is_message { (Library::number_of(payload), payload.len()) } else { (None, 0) }
    }

    /// Judges a connection that stayed open until everything was sent.
    pub(crate) fn finish(&self, library: &Library) -> Verdict {
        if !self.bytes.is_empty() {
            return Err((Fault::Torn, format!("{} bytes of a frame", self.bytes.len())));
        }
        if !self.replies.is_empty() {
            return Err((Fault::Missing, format!("{} replies", self.replies.len())));
        }
        let mut lists: HashMap<u32, usize> = HashMap::new();
        for (channel, stream) in &self.streams {
            let rest = &stream.owed[stream.next..];
            if let Some(number) = rest.iter().find(|&&number| !library.is_list(number)) {
                return Err((Fault::Missing, format!("{number} of channel {channel} at the end")));
            }
            for &number in stream.owed.iter().filter(|&&number| library.is_list(number)) {
                *lists.entry(number).or_default() += 1;
            }
        }
        for (number, owed) in lists {
            if self.lists.get(&number).is_none_or(|&(came, _)| came != owed) {
                return Err((Fault::Missing, format!("a copy of the list's {number}")));
            }
        }
        Ok(())
    }
}
