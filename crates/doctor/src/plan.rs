//! What the host is to carry, and what that costs.
//!
//! The two prices were measured: the kernel's over many loopback connections, ours in a running
//! edge (`benches/README.md` has both). They are upper bounds of the idle state; what waits in
//! socket buffers and logs comes on top and has bounds of its own.

use crate::{Tree, descriptor, processor};
use tidegate_limits::{DESCRIPTORS_RESERVED, SHARDS_MAX, descriptors_of_clients};

/// Kernel memory of one end of an idle TCP connection: socket, file, inode, pending poll.
pub(super) const KERNEL_BYTES: u64 = 4_200;

/// Our memory of one idle connection, with a user, a session and a few channels.
pub(super) const USER_BYTES: u64 = 400;

/// The plan where neither the operator nor the host names a number.
const CONNECTIONS_DEFAULT: u64 = 1_000_000;

/// What an operator asked for, in options and flags.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Connections at the same time; none for as many as there is room for.
    pub connections: Option<u64>,
    /// Threads of the data plane; none for as many as there are cores.
    pub shards: Option<u64>,
    /// `public.backlog`.
    pub backlog: u64,
    /// Descriptors that backends may take: those of all `peers_max`.
    pub backends: u64,
    /// Most memory for what clients are owed, what has come in part and what is remembered:
    /// `slow.memory_max`, `websocket.memory_max` and `history.memory_max` together.
    pub budgets: u64,
}

/// What the host is to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Connections at the same time.
    pub connections: u64,
    /// Threads of the data plane.
    pub shards: u64,
    /// As in [`Wanted`].
    pub backlog: u64,
    /// As in [`Wanted`].
    pub backends: u64,
    /// As in [`Wanted`].
    pub budgets: u64,
}

impl Plan {
    /// What is wanted, and where nobody named a number, what the host leaves room for.
    #[must_use]
    pub fn new(wanted: &Wanted, tree: &Tree) -> Self {
        let Wanted { connections, shards, backlog, backends, budgets } = *wanted;
        let connections =
            connections.or_else(|| room_of_host(tree, backends)).unwrap_or(CONNECTIONS_DEFAULT);
        let shards = shards.unwrap_or_else(|| {
            let quota = processor::quota(tree).unwrap_or(u64::MAX);
            processor::allowed(tree).unwrap_or(1).min(quota).clamp(1, SHARDS_MAX as u64)
        });
        Self { connections, shards, backlog, backends, budgets }
    }

    /// Descriptors of the process: the least limit that leaves room for the connections. Backends
    /// have no more than a quarter of it.
    pub(super) fn descriptors(&self) -> u64 {
        let without_backends = self.connections.saturating_add(DESCRIPTORS_RESERVED as u64);
        let below = without_backends - 1;
        let three_quarters = below.saturating_add(below / 3).saturating_add(1);
        without_backends.saturating_add(self.backends).min(three_quarters)
    }

    /// Those of them that are not for clients.
    pub(super) fn others(&self) -> u64 {
        self.descriptors() - self.connections
    }

    /// Connections that a limit of descriptors leaves room for.
    pub(super) fn room(&self, limit: u64) -> u64 {
        room(limit, self.backends)
    }

    /// Memory of all connections while they are idle.
    pub(super) fn idle_bytes(&self) -> u64 {
        self.connections.saturating_mul(KERNEL_BYTES + USER_BYTES)
    }
}

/// Connections that the descriptor limit leaves room for.
fn room(limit: u64, backends: u64) -> u64 {
    let number = |value| usize::try_from(value).unwrap_or(usize::MAX);
    descriptors_of_clients(number(limit), number(backends)) as u64
}

/// The same for the limit of the host.
fn room_of_host(tree: &Tree, backends: u64) -> Option<u64> {
    let (_, hard) = descriptor::limit(tree, "Max open files")?;
    let room = room(hard, backends);
    (room > 0 && hard < i64::MAX as u64).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, nothing};
    use super::*;

    #[test]
    fn connections_are_those_wanted_or_what_the_limit_leaves() {
        let host = Fixture::new();
        let mut wanted = Wanted { backends: 8_736, ..nothing() };
        let connections = |wanted: &Wanted| Plan::new(wanted, &host.tree()).connections;
        assert_eq!(connections(&wanted), CONNECTIONS_DEFAULT);
        host.limits("Max open files            1024                 20512                files");
        assert_eq!(connections(&wanted), 20_512 - 512 - 20_512 / 4);
        wanted.backends = 0;
        assert_eq!(connections(&wanted), 20_000);
        for (connections, backends) in [(1_000_000, 8_736), (4_096, 8_736), (1, 9), (0, 0)] {
            let plan = Plan { connections, backends, ..super::super::fixture::million() };
            assert!(plan.room(plan.descriptors()) >= connections);
            assert!(connections == 0 || plan.room(plan.descriptors() - 1) < connections);
        }
        wanted.connections = Some(7);
        assert_eq!(connections(&wanted), 7);
        wanted.connections = None;
        host.limits("Max open files            1024                 unlimited            files");
        assert_eq!(connections(&wanted), CONNECTIONS_DEFAULT);
    }

    #[test]
    fn shards_are_the_cores_unless_wanted_otherwise() {
        let host = Fixture::new();
        let mut wanted = nothing();
        let shards = |wanted: &Wanted| Plan::new(wanted, &host.tree()).shards;
        assert_eq!(shards(&wanted), 1);
        host.file("/proc/self/status", "Cpus_allowed_list:\t0-3,8\n");
        assert_eq!(shards(&wanted), 5);
        host.file("/proc/self/status", "Cpus_allowed_list:\t0-4095\n");
        assert_eq!(shards(&wanted), 253);
        host.file("/proc/self/cgroup", "0::/\n");
        for (quota, expected) in [("50000", 1), ("199999", 1), ("300000", 3), ("max", 253)] {
            host.file("/sys/fs/cgroup/cpu.max", &format!("{quota} 100000\n"));
            assert_eq!(shards(&wanted), expected, "{quota}");
        }
        wanted.shards = Some(3);
        assert_eq!(shards(&wanted), 3);
    }

    #[test]
    fn no_plan_overflows() {
        let plan = Plan {
            connections: u64::MAX,
            shards: u64::MAX,
            backlog: u64::MAX,
            backends: u64::MAX,
            budgets: u64::MAX,
        };
        assert_eq!(plan.descriptors(), u64::MAX);
        assert_eq!(plan.idle_bytes(), u64::MAX);
    }
}
