//! The roll of a channel: who is subscribed, by name, for presence and for joins and leaves.

use std::collections::HashMap;
use std::sync::Arc;

use crate::protocol::{ClientId, ClientInfo};

/// The subscribers of one channel on all shards.
#[derive(Debug, Default)]
pub(super) struct Roll {
    clients: HashMap<ClientId, Arc<ClientInfo>, ahash::RandomState>,
    /// How many of them each user has: statistics are asked for more often than lists.
    users: HashMap<Box<str>, u32, ahash::RandomState>,
}

impl Roll {
    /// Adds a connection. Returns false if it was there already.
    pub(super) fn add(&mut self, info: Arc<ClientInfo>) -> bool {
        let user = info.user.clone();
        let is_new = self.clients.insert(info.client, info).is_none();
        if is_new {
            *self.users.entry(user).or_default() += 1;
        }
        is_new
    }

    /// Removes a connection.
    pub(super) fn remove(&mut self, client: ClientId) -> Option<Arc<ClientInfo>> {
        let info = self.clients.remove(&client)?;
        if let Some(count) = self.users.get_mut(&info.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&info.user);
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
        self.clients.values().cloned().collect()
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
        roll.remove(info(2, "a").client);
        assert_eq!((roll.remove(info(2, "a").client), roll.users()), (None, 1));
        assert_eq!(roll.list(), [info(3, "b")]);
    }
}
