//! A channel as one shard's subscribers see it: members, and the round that serves them.

use smallvec::SmallVec;

use crate::hub::delivery::connection::{Member, Subscription};
use crate::hub::delivery::log::Log;
use crate::hub::named::Named;
use crate::hub::rows::Id;
use crate::hub::{Place, Ranked};
use crate::mesh::Handle;
use crate::model::{ChannelName, Variant};

/// The part of a channel that one shard keeps while it has a subscriber.
#[derive(Debug, Default)]
pub(in crate::hub) struct Channel {
    name: Option<ChannelName>,
    /// The subscribers, in no particular order.
    pub(in crate::hub) members: SmallVec<[Member; 1]>,
    /// The log and who is being served from it; exists only while somebody lacks something.
    pub(in crate::hub) round: Option<Box<Round>>,
    /// Bytes ever appended.
    pub(in crate::hub) head: u64,
    /// Which stay of this shard in the channel this is. The two lowest bits say in which wire
    /// variant, the third whether members hear of joins and leaves otherwise than the namespace
    /// says.
    pub(in crate::hub) generation: u32,
    /// How many members' subscriptions have not begun yet.
    pub(in crate::hub) joining: u32,
}

const _: () = assert!(size_of::<Channel>() <= 56, "every user has a personal channel");

/// The bits of a generation that tell the parts of a channel apart.
const DISTINCTION: u32 = 0b111;

/// One pass over the members of a channel after another, until all have what the log holds.
#[derive(Debug)]
pub(in crate::hub) struct Round {
    pub(in crate::hub) log: Log,
    /// The member that comes next.
    pub(in crate::hub) walk: u32,
    /// How many members lag: their sockets are full, and the log waits for them.
    pub(in crate::hub) lagging: u32,
    /// True exactly when the channel stands in the queue of dirty channels, or its pass has
    /// ended in the present batch.
    pub(in crate::hub) is_queued: bool,
    /// True exactly when the log is so long that the shard takes no more publications.
    pub(in crate::hub) is_congested: bool,
    /// The least position that this pass left a member at.
    pub(super) reach: u64,
    /// When the oldest publication of this pass was received, and the oldest of the next.
    pub(super) oldest_nanos: u64,
    pub(super) next_oldest_nanos: Option<u64>,
    /// When it makes room for others.
    place: Place<Channel>,
}

impl Ranked for Channel {
    fn place(&mut self) -> &mut Place<Self> {
        &mut self.round.as_mut().expect("a channel has a rank while it has a log").place
    }
}

impl Named for Channel {
    fn name(&self) -> Option<&ChannelName> {
        self.name.as_ref()
    }

    fn distinction(&self) -> u8 {
        (self.generation & DISTINCTION) as u8
    }
}

impl Channel {
    /// A channel without members, not yet confirmed by its home.
    pub(in crate::hub) fn new(name: ChannelName, count: u32, distinction: u8) -> Self {
        let generation = (count << DISTINCTION.count_ones()) | u32::from(distinction);
        Self { name: Some(name), generation, ..Self::default() }
    }

    /// How the parts of a channel in one shard are told apart.
    pub(super) fn distinguish(variant: Variant, hears_otherwise: bool) -> u8 {
        variant as u8 | u8::from(hears_otherwise) << 2
    }

    /// Where this part is, which is at a row.
    pub(in crate::hub) fn handle(&self, row: Id<Self>) -> Handle {
        let hears_otherwise = self.distinction() > Self::distinguish(self.variant(), false);
        let row = row.number();
        Handle { row, generation: self.generation, variant: self.variant(), hears_otherwise }
    }

    /// The wire variant of its frames.
    pub(in crate::hub) fn variant(&self) -> Variant {
        Variant::ALL[(self.generation & 3) as usize]
    }

    /// The name of a row in use.
    pub(in crate::hub) fn channel_name(&self) -> &ChannelName {
        self.name.as_ref().expect("a channel in use has a name")
    }

    /// The log, where the caller knows that somebody lacks something.
    pub(in crate::hub) fn log(&self) -> &Log {
        &self.round.as_ref().expect("a member that lacks something has a log").log
    }

    /// How many members are open.
    pub(in crate::hub) fn open_count(&self) -> u32 {
        self.members.len() as u32 - self.joining
    }

    /// Adds a member at the end; returns its place.
    pub(super) fn add_member(&mut self, member: Member) -> u32 {
        self.members.push(member);
        self.members.len() as u32 - 1
    }

    /// Takes a member out and keeps the rest in two parts, those that the present pass has
    /// served and those that it has not. Calls `moved(subscription, place)` for each member that
    /// has a new place.
    pub(super) fn remove_member(
        &mut self,
        place: u32,
        mut moved: impl FnMut(Id<Subscription>, u32),
    ) -> Member {
        let mut hole = place;
        if let Some(round) = &mut self.round
            && place < round.walk
        {
            round.walk -= 1;
            let last_served = round.walk;
            self.members.swap(place as usize, last_served as usize);
            if last_served != place {
                moved(self.members[place as usize].subscription, place);
            }
            hole = last_served;
        }
        let member = self.members.swap_remove(hole as usize);
        if let Some(filler) = self.members.get(hole as usize) {
            moved(filler.subscription, hole);
        }
        member
    }
}

impl Round {
    /// A round that begins with an empty log at a position.
    pub(in crate::hub) fn new(head: u64) -> Self {
        Self {
            log: Log::new(head),
            walk: 0,
            lagging: 0,
            is_queued: false,
            is_congested: false,
            reach: u64::MAX,
            oldest_nanos: u64::MAX,
            next_oldest_nanos: None,
            place: Place::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::delivery::connection::Cursor;

    #[test]
    fn removal_keeps_served_and_unserved_members_apart() {
        for removed in 0..6 {
            for walk in 0..=6 {
                let mut channel = Channel::default();
                for number in 0..6 {
                    let (connection, subscription) = (Id::new(number), Id::new(number));
                    let cursor = Cursor::at(0);
                    channel.add_member(Member { connection, subscription, cursor });
                }
                channel.round = Some(Box::new(Round { walk, ..Round::new(0) }));
                let mut places: Vec<u32> = (0..6).collect();
                let member = channel.remove_member(removed, |subscription, place| {
                    places[subscription.number() as usize] = place;
                });
                assert_eq!(member.connection.number(), removed);
                let walk_now = channel.round.as_ref().unwrap().walk;
                for (place, member) in channel.members.iter().enumerate() {
                    let number = member.connection.number();
                    assert_eq!(places[number as usize] as usize, place);
                    assert_eq!((place as u32) < walk_now, number < walk);
                }
            }
        }
    }
}
