//! The roll of a channel: who is subscribed, by name, for presence and for joins and leaves.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::protocol::{ClientId, ClientInfo};

/// The subscribers of one channel on all shards. Both tables find their keys in what they point to.
#[derive(Debug, Default)]
pub(super) struct Roll {
    clients: HashTable<Arc<ClientInfo>>,
    /// How many of them each user has, beside one of them or of those that were: statistics are
    /// asked for more often than lists.
    users: HashTable<(Arc<ClientInfo>, u32)>,
    hasher: ahash::RandomState,
}

impl Roll {
    /// Adds a connection. Returns false if it was there already.
    pub(super) fn add(&mut self, info: Arc<ClientInfo>) -> bool {
        let Self { clients, users, hasher } = self;
        let hash_of = |info: &Arc<ClientInfo>| hasher.hash_one(info.client);
        let is_it = |other: &Arc<ClientInfo>| other.client == info.client;
        match clients.entry(hash_of(&info), is_it, hash_of) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() = info;
                return false;
            }
            Entry::Vacant(entry) => entry.insert(Arc::clone(&info)),
        };
        let hash_of = |(info, _): &(Arc<ClientInfo>, u32)| hasher.hash_one(&info.user);
        let is_theirs = |(other, _): &(Arc<ClientInfo>, u32)| other.user == info.user;
        let hash = hasher.hash_one(&info.user);
        users.entry(hash, is_theirs, hash_of).or_insert((info, 0)).get_mut().1 += 1;
        true
    }

    /// Others see something else of a connection, if it is there.
    pub(super) fn inform(&mut self, client: ClientId, info: Box<str>) {
        let hash = self.hasher.hash_one(client);
        if let Some(known) = self.clients.find_mut(hash, |known| known.client == client) {
            Arc::make_mut(known).connection = Some(info);
        }
    }

    /// Removes a connection.
    pub(super) fn remove(&mut self, client: ClientId) -> Option<Arc<ClientInfo>> {
        let hash = self.hasher.hash_one(client);
        let entry = self.clients.find_entry(hash, |info| info.client == client).ok()?;
        let (info, _) = entry.remove();
        let hash = self.hasher.hash_one(&info.user);
        if let Ok(mut entry) = self.users.find_entry(hash, |(other, _)| other.user == info.user) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        Some(info)
    }

    /// How many connections are on it.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many different users are on it.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ShardId;

    fn info(row: u32, user: &str) -> Arc<ClientInfo> {
        let client = ClientId { shard: ShardId(0), row, generation: 1 };
        Arc::new(ClientInfo { client, user: user.into(), connection: None, channel: None })
    }

    #[test]
    fn devices_of_a_user_are_one_user() {
        let mut roll = Roll::default();
        assert!(roll.add(info(1, "a")) && roll.add(info(2, "a")) && roll.add(info(3, "b")));
        assert!(!roll.add(info(3, "b")));
        assert_eq!((roll.clients(), roll.users()), (3, 2));
        assert_eq!(roll.remove(info(1, "a").client), Some(info(1, "a")));
        assert_eq!((roll.clients(), roll.users()), (2, 2));
        roll.inform(info(3, "b").client, "1".into());
        roll.inform(info(9, "b").client, "1".into());
        assert_eq!(roll.list().iter().filter(|it| it.connection.is_some()).count(), 1);
        roll.inform(info(3, "b").client, "null".into());
        roll.remove(info(2, "a").client);
        assert_eq!((roll.remove(info(2, "a").client), roll.users()), (None, 1));
        let list = roll.list();
        assert_eq!((list.len(), list[0].connection.as_deref()), (1, Some("null")));
    }
}
