//! Who is in which channel, and which channel a message goes to.
//!
//! Channels have numbers from zero, and messages go round them: of `n` channels, message `m` is
//! number `m / n` of channel `m % n`. Connection `c` is in `each` neighbouring channels, from
//! `c % n` on. So whoever knows the rule knows what everybody has to get, and keeps no lists.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::message::{Message, Stream};

/// Channels of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channels {
    /// The name of the only one, or what the names of many begin with.
    pub name: String,
    /// How many there are that connections share.
    pub count: u32,
    /// How many of those each connection is in.
    pub each: u32,
    /// Whether each connection is in one for itself, too.
    pub has_own: bool,
}

impl Default for Channels {
    /// One, in which everybody is.
    fn default() -> Self {
        Self { name: "bench".to_owned(), count: 1, each: 1, has_own: false }
    }
}

/// A message that came as it was published, and where it belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) message: Message,
    pub(super) stream: Stream,
    /// None means the receiver's own.
    pub(super) channel: Option<u32>,
    /// Whose own, if that is known.
    pub(super) owner: Option<u32>,
    /// Its number in the channel, from zero.
    pub(super) number: u32,
    /// Where it stands in the channel's history; 0 if there is none.
    pub(super) offset: u64,
}

impl Channels {
    /// The name of a shared one.
    pub(super) fn name(&self, channel: u32) -> String {
        if self.count == 1 { self.name.clone() } else { format!("{}-{channel}", self.name) }
    }

    /// The name of a connection's own one, where the protocol has no personal channels.
    pub(super) fn own_name(&self, client: u32) -> String {
        format!("{}-{client}", self.name)
    }

    /// The shared ones of a connection.
    pub(super) fn of_client(&self, client: u32) -> impl Iterator<Item = u32> {
        (0..self.each).map(move |at| (client % self.count + at) % self.count)
    }

    /// The name of one of a connection's subscriptions: shared ones, and behind them its own.
    pub(super) fn name_at(&self, client: u32, place: usize) -> String {
        let shared = self.of_client(client).nth(place);
        shared.map_or_else(|| self.own_name(client), |channel| self.name(channel))
    }

    /// How many subscriptions a connection has.
    pub(super) fn subscriptions(&self) -> usize {
        self.each as usize + usize::from(self.has_own)
    }

    /// Which of a connection's subscriptions a publication came through.
    pub(super) fn place(&self, client: u32, publication: &Publication) -> Option<usize> {
        let Some(channel) = publication.channel else {
            let is_ours = publication.owner.is_none_or(|owner| owner == client);
            return is_ours.then_some(self.each as usize);
        };
        let place = (channel + self.count - client % self.count) % self.count;
        (place < self.each).then_some(place as usize)
    }

    /// Where a message belongs; `None` if it is of no stream.
    pub(super) fn assign(&self, message: Message) -> Option<Publication> {
        let (stream, number) = Stream::of(message.number)?;
        let publication = Publication { message, stream, number, ..Publication::default() };
        if stream == Stream::Main && self.each > 0 {
            let (channel, number) = self.channel_of(number);
            return Some(Publication { channel: Some(channel), number, ..publication });
        }
        Some(publication)
    }

    /// The same for a message that came in a channel of that name: `None` if it is the wrong one.
    pub(super) fn assign_named(&self, name: &str, message: Message) -> Option<Publication> {
        let publication = self.assign(message)?;
        if let Some(channel) = publication.channel {
            return (self.name(channel) == name).then_some(publication);
        }
        let owner = name.strip_prefix(&self.name)?.strip_prefix('-')?.parse().ok()?;
        (self.own_name(owner) == name).then_some(Publication { owner: Some(owner), ..publication })
    }

    /// The channel of a message by its number, and its number there.
    pub(super) fn channel_of(&self, number: u32) -> (u32, u32) {
        (number % self.count, number / self.count)
    }

    /// How many of the first `messages` went to a channel.
    pub(super) fn messages_in(&self, channel: u32, messages: u32) -> u32 {
        messages / self.count + u32::from(channel < messages % self.count)
    }

    /// Whether any of these connections is in a channel.
    pub(super) fn are_in(&self, clients: &Range<u32>, channel: u32) -> bool {
        let reach = u64::from(clients.len() as u32) + u64::from(self.each);
        let distance = (channel + self.count - clients.start % self.count) % self.count;
        !clients.is_empty() && self.each > 0 && u64::from(distance) + 1 < reach
    }

    /// How often the first `messages` arrive at these connections together.
    pub(super) fn deliveries(&self, clients: Range<u32>, messages: u32) -> u64 {
        if self.each == self.count {
            return u64::from(clients.len() as u32) * u64::from(messages);
        }
        let channels = clients.flat_map(|client| self.of_client(client));
        channels.map(|channel| u64::from(self.messages_in(channel, messages))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(count: u32, each: u32) -> Channels {
        Channels { name: "c".to_owned(), count, each, has_own: false }
    }

    fn message(number: u32) -> Message {
        Message { number, published_nanos: 0 }
    }

    #[test]
    fn what_is_counted_is_what_everybody_gets() {
        for (count, each) in [(1, 1), (7, 1), (7, 3), (7, 7), (40, 2)] {
            let channels = channels(count, each);
            for clients in [0..20, 5..6, 13..40] {
                let (mut deliveries, mut heard) = (0, vec![0; count as usize]);
                for number in 0..50 {
                    let publication = channels.assign(message(number)).unwrap();
                    let channel = publication.channel.unwrap();
                    let places = clients.clone().map(|client| channels.place(client, &publication));
                    let count = places.flatten().count() as u64;
                    assert_eq!(channels.are_in(&clients, channel), count > 0, "{channel}");
                    assert_eq!(publication.number, heard[channel as usize]);
                    heard[channel as usize] += 1;
                    deliveries += count;
                }
                assert_eq!(channels.deliveries(clients.clone(), 50), deliveries);
                let all = (0..count).map(|channel| channels.messages_in(channel, 50));
                assert_eq!(all.collect::<Vec<_>>(), heard);
            }
        }
        assert!(!channels(5, 1).are_in(&(3..3), 3));
    }

    #[test]
    fn a_subscription_has_the_place_of_its_name() {
        let channels = Channels { has_own: true, ..channels(5, 2) };
        let names: Vec<String> = (0..3).map(|place| channels.name_at(9, place)).collect();
        assert_eq!(
            (names, channels.subscriptions()),
            (vec!["c-4".into(), "c-0".into(), "c-9".into()], 3)
        );
        let of = |number| channels.place(9, &channels.assign(message(number)).unwrap());
        assert_eq!([4, 5, 6, 9].map(of), [Some(0), Some(1), None, Some(0)]);
        let own = channels.assign(message(Stream::UnicastBusy.number(3))).unwrap();
        assert_eq!((channels.place(9, &own), own.number), (Some(2), 3));
    }

    #[test]
    fn a_message_belongs_to_the_channel_it_came_in() {
        let shared = channels(5, 1);
        assert_eq!(shared.assign_named("c-4", message(9)).unwrap().number, 1);
        for name in ["c-3", "c", "c-04", "d-4", "c-9"] {
            assert_eq!(shared.assign_named(name, message(9)), None, "{name}");
        }
        assert!(channels(1, 1).assign_named("c", message(9)).is_some());
        let own = Channels { has_own: true, ..channels(1, 0) };
        let publication = own.assign_named("c-7", message(2)).unwrap();
        assert_eq!((own.place(7, &publication), own.place(8, &publication)), (Some(0), None));
        for name in ["c-07", "c-+7", "c-", "c", "c-x"] {
            assert_eq!(own.assign_named(name, message(2)), None, "{name}");
        }
    }
}
