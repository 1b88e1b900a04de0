//! The roll of a channel: who is subscribed, by name, for presence and for joins and leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::mesh::Standing;
use crate::model::{ClientId, ClientInfo};

/// The subscribers of one channel on all shards. Both tables find their keys in what they point to.
#[derive(Debug, Default)]
pub(in crate::hub) struct Roll {
    clients: HashTable<Arc<ClientInfo>>,
    /// How many of them each user has that are not hidden, beside one of them or of those that
    /// were: statistics are asked for more often than lists.
    users: HashTable<(Arc<ClientInfo>, u32)>,
    hasher: ahash::RandomState,
    /// Those that stand on it otherwise than the namespace says.
    exceptions: BTreeMap<ClientId, Standing>,
    /// How many of these are hidden.
    hidden: usize,
}

impl Roll {
    /// Adds a connection, which may be an exception. Returns false if it was there already.
    pub(in crate::hub) fn add(
        &mut self,
        info: Arc<ClientInfo>,
        exception: Option<Standing>,
    ) -> bool {
        let Self { clients, users, hasher, .. } = self;
        let hash_of = |info: &Arc<ClientInfo>| hasher.hash_one(info.client);
        let is_it = |other: &Arc<ClientInfo>| other.client == info.client;
        match clients.entry(hash_of(&info), is_it, hash_of) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() = info;
                return false;
            }
            Entry::Vacant(entry) => entry.insert(Arc::clone(&info)),
        };
        self.exceptions.extend(exception.map(|standing| (info.client, standing)));
        if exception.is_some_and(|standing| standing.is_hidden) {
            self.hidden += 1;
            return true;
        }
        let hash_of = |(info, _): &(Arc<ClientInfo>, u32)| hasher.hash_one(&info.user);
        let is_theirs = |(other, _): &(Arc<ClientInfo>, u32)| other.user == info.user;
        let hash = hasher.hash_one(&info.user);
        users.entry(hash, is_theirs, hash_of).or_insert((info, 0)).get_mut().1 += 1;
        true
    }

    /// Others see something else of a connection, if it is there.
    pub(in crate::hub) fn inform(&mut self, info: Arc<ClientInfo>) {
        let hash = self.hasher.hash_one(info.client);
        if let Some(known) = self.clients.find_mut(hash, |known| known.client == info.client) {
            *known = info;
        }
    }

    /// Removes a connection, and says how it was an exception if it was one.
    pub(in crate::hub) fn remove(
        &mut self,
        client: ClientId,
    ) -> Option<(Arc<ClientInfo>, Option<Standing>)> {
        let hash = self.hasher.hash_one(client);
        let entry = self.clients.find_entry(hash, |info| info.client == client).ok()?;
        let (info, _) = entry.remove();
        let exception = self.exceptions.remove(&client);
        if exception.is_some_and(|standing| standing.is_hidden) {
            self.hidden -= 1;
            return Some((info, exception));
        }
        let hash = self.hasher.hash_one(&info.user);
        if let Ok(mut entry) = self.users.find_entry(hash, |(other, _)| other.user == info.user) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        Some((info, exception))
    }

    /// How many connections are on it, hidden ones among them.
    pub(in crate::hub) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many connections are on it that are not hidden.
    pub(in crate::hub) fn listed(&self) -> usize {
        self.clients.len() - self.hidden
    }

    /// How many different users are on it that are not hidden.
    pub(in crate::hub) fn users(&self) -> usize {
        self.users.len()
    }

    /// All of them that are not hidden.
    pub(in crate::hub) fn list(&self) -> Vec<Arc<ClientInfo>> {
        let is_hidden = |info: &Arc<ClientInfo>| {
            self.exceptions.get(&info.client).is_some_and(|standing| standing.is_hidden)
        };
        self.clients.iter().filter(|info| !is_hidden(info)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeId, ShardId};

    fn info(row: u32, user: &str) -> Arc<ClientInfo> {
        let client = ClientId { node: NodeId(0), shard: ShardId(0), row, generation: 1 };
        Arc::new(ClientInfo { client, user: user.into(), connection: None, channel: None })
    }

    #[test]
    fn devices_of_a_user_are_one_user() {
        let mut roll = Roll::default();
        for (row, user) in [(1, "a"), (2, "a"), (3, "b")] {
            assert!(roll.add(info(row, user), None));
        }
        assert!(!roll.add(info(3, "b"), None));
        assert_eq!((roll.clients(), roll.users()), (3, 2));
        assert_eq!(roll.remove(info(1, "a").client), Some((info(1, "a"), None)));
        assert_eq!((roll.clients(), roll.users()), (2, 2));
        let seen = |row: u32, text: &str| {
            let connection = Some(text.into());
            Arc::new(ClientInfo { connection, ..ClientInfo::clone(&info(row, "b")) })
        };
        roll.inform(seen(3, "1"));
        roll.inform(seen(9, "1"));
        assert_eq!(roll.list().iter().filter(|it| it.connection.is_some()).count(), 1);
        roll.inform(seen(3, "null"));
        roll.remove(info(2, "a").client);
        assert_eq!((roll.remove(info(2, "a").client), roll.users()), (None, 1));
        let list = roll.list();
        assert_eq!((list.len(), list[0].connection.as_deref()), (1, Some("null")));
    }

    #[test]
    fn who_is_hidden_counts_but_is_not_listed() {
        let mut roll = Roll::default();
        let hidden = Some(Standing { is_hidden: true, is_announced: true });
        let silent = Some(Standing { is_hidden: false, is_announced: false });
        assert!(roll.add(info(1, "a"), hidden) && roll.add(info(2, "b"), silent));
        assert_eq!((roll.clients(), roll.listed(), roll.users()), (2, 1, 1));
        assert_eq!(roll.list(), [info(2, "b")]);
        assert_eq!(roll.remove(info(1, "a").client), Some((info(1, "a"), hidden)));
        assert_eq!(roll.remove(info(2, "b").client), Some((info(2, "b"), silent)));
        assert_eq!((roll.clients(), roll.listed(), roll.users()), (0, 0, 0));
        assert!(roll.exceptions.is_empty());
    }
}
