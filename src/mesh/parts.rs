//! Commands for several shards, cut into parts: each goes to one shard and is little work there.
//!
//! A link is FIFO, so what comes behind a broadcast to a thousand channels would wait for all of
//! them. In parts others have their turn in between.

use std::sync::Arc;

use crate::mesh::Homes;
use crate::model::{ChannelName, Command, ShardId};

/// Most channels of one part of a broadcast: each part costs as much as a few channels, and a
/// shard takes two of them from a link before it looks at the next.
const PART_CHANNELS_MAX: usize = 128;

/// The parts of a command, each with the shard that begins it. Each part is answered.
pub(super) fn parts(command: Command, homes: &Homes) -> Vec<(ShardId, Command)> {
    if let Some(shard) = command.first_shard(homes) {
        return vec![(shard, command)];
    }
    let shards = (0..homes.shards()).map(ShardId);
    match command {
        Command::PublishAll { publication } => shards
            .map(|shard| (shard, Command::PublishAll { publication: Arc::clone(&publication) }))
            .collect(),
        Command::Channels { pattern } => {
            shards.map(|shard| (shard, Command::Channels { pattern: pattern.clone() })).collect()
        }
        Command::Broadcast { channels, publication, key } => {
            let part = |(shard, mut channels): (ShardId, Vec<ChannelName>)| {
                let (publication, key) = (Arc::clone(&publication), key.clone());
                let part = match channels.len() {
                    1 => Command::Publish { channel: channels.remove(0), publication, key },
                    _ => Command::Broadcast { channels, publication, key },
                };
                (shard, part)
            };
            portions(channels, homes).into_iter().map(part).collect()
        }
        _ => unreachable!("every other command has a first shard"),
    }
}

/// Channels by home, in portions.
fn portions(channels: Vec<ChannelName>, homes: &Homes) -> Vec<(ShardId, Vec<ChannelName>)> {
    if homes.shards() == 1 && channels.len() <= PART_CHANNELS_MAX {
        return vec![(ShardId(0), channels)];
    }
    let mut groups: Vec<Vec<ChannelName>> = (0..homes.shards()).map(|_| Vec::new()).collect();
    let mut portions = Vec::with_capacity(groups.len());
    for channel in channels {
        let shard = homes.of(&channel);
        let group = &mut groups[shard.index()];
        group.push(channel);
        if group.len() == PART_CHANNELS_MAX {
            portions.push((shard, std::mem::take(group)));
        }
    }
    let rest = (0..).map(ShardId).zip(groups).filter(|(_, group)| !group.is_empty());
    portions.extend(rest);
    portions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Publication;

    #[test]
    fn broadcasts_go_to_each_home_with_its_own_channels_in_small_parts() {
        let homes = Homes::new(3, 7);
        let name = |number: u32| ChannelName::parse(format!("c{number}").as_bytes()).unwrap();
        let channels: Vec<_> = (0..1000).map(name).collect();
        let publication = Arc::new(Publication::new(true, b"x", 0));
        let mut seen = Vec::new();
        let whole = Command::Broadcast { channels: channels.clone(), publication, key: None };
        for (shard, part) in parts(whole, &homes) {
            let Command::Broadcast { channels, .. } = part else { panic!("not a broadcast") };
            assert!(channels.iter().all(|channel| homes.of(channel) == shard));
            assert!(channels.len() <= PART_CHANNELS_MAX);
            seen.extend(channels);
        }
        seen.sort_unstable();
        let mut channels = channels;
        channels.sort_unstable();
        assert_eq!(seen, channels);
    }

    #[test]
    fn a_channel_alone_is_a_publication() {
        let homes = Homes::new(3, 7);
        let channels = vec![ChannelName::parse(b"a").unwrap()];
        let publication = Arc::new(Publication::new(true, b"x", 0));
        let parts = parts(Command::Broadcast { channels, publication, key: None }, &homes);
        assert!(matches!(parts[..], [(_, Command::Publish { .. })]));
    }
}
