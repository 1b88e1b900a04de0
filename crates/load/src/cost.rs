//! What a run costs its servers and the kernel, read at the stations of the run.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::slab::Slabs;
use crate::usage::Usage;

/// Caches that hold less than this for each socket have grown for other reasons.
const CACHE_BYTES_MIN: f64 = 8.0;

/// The cache of requests that the kernel holds for io_uring.
const PENDING: &str = "io_kiocb";

/// What the servers have used.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCost {
    /// How many processes they are, those of the kernel not counted.
    pub processes: usize,
    /// Resident memory before the connections were opened.
    pub resident_before_bytes: u64,
    /// Resident memory with all of them open and quiet.
    pub resident_open_bytes: u64,
    /// Resident memory after the load, quiet again and still open.
    pub resident_after_bytes: u64,
    /// Resident memory after they have closed.
    pub resident_closed_bytes: u64,
    /// What opening has added, for each connection; none in `churn`, which holds none then.
    pub resident_per_connection_bytes: Option<f64>,
    /// What is there more after the load than before opening, for each connection.
    pub resident_after_per_connection_bytes: Option<f64>,
    /// CPU time per second of opening: 1 is a core.
    pub cpu_opening_cores: f64,
    /// CPU time per second of the run, until the last receipt.
    pub cpu_run_cores: f64,
    /// CPU time of the run for each connection and second.
    pub cpu_per_connection_second_ns: Option<f64>,
    /// CPU time of the run for each message that arrived.
    pub cpu_per_delivery_ns: Option<f64>,
}

/// What the kernel holds, on the whole host.
#[derive(Clone, Debug, Serialize)]
pub struct KernelCost {
    /// Ends of a connection that are on this host.
    pub sockets_per_connection: u64,
    /// Slabs, for each socket.
    pub per_socket_bytes: f64,
    /// What is left for each socket after all have closed.
    pub left_per_socket_bytes: f64,
    /// The part of operations that wait in io_uring; none if it cannot be read.
    pub pending_per_socket_bytes: Option<f64>,
    /// The caches that have grown, the largest first; empty if they cannot be read.
    pub caches: Vec<CacheCost>,
}

/// What one cache of the kernel holds.
#[derive(Clone, Debug, Serialize)]
pub struct CacheCost {
    /// Its name.
    pub name: String,
    /// Memory for each socket, unused places included.
    pub per_socket_bytes: f64,
    /// Objects for each socket.
    pub per_socket_objects: f64,
    /// The size of one.
    pub object_bytes: u64,
}

/// What everything uses at one moment.
pub(super) struct Reading {
    at: Instant,
    usage: Usage,
    slabs: Slabs,
}

impl Reading {
    pub(super) fn now(pids: &[u32]) -> Result<Self, Error> {
        Ok(Self { at: Instant::now(), usage: Usage::of(pids)?, slabs: Slabs::now() })
    }
}

/// The readings of a run, in their order.
pub(super) struct Readings {
    /// Nobody is connected.
    pub(super) before: Reading,
    /// The last connection has just been opened.
    pub(super) opened: Reading,
    /// The load begins.
    pub(super) open: Reading,
    /// The last message has arrived.
    pub(super) done: Reading,
    /// Everything is quiet again.
    pub(super) after: Reading,
    /// All have closed.
    pub(super) closed: Reading,
}

/// What was held and done, to divide by.
pub(super) struct Work {
    /// Connections that were open during the whole run; none in `churn`.
    pub(super) connections: Option<u32>,
    pub(super) deliveries: u64,
    pub(super) sockets_per_connection: u64,
}

impl Readings {
    pub(super) fn server(&self, pids: &[u32], work: &Work) -> Option<ServerCost> {
        if pids.is_empty() {
            return None;
        }
        let resident = |reading: &Reading| reading.usage.resident_bytes;
        let grown = |reading| resident(reading).saturating_sub(resident(&self.before)) as f64;
        let connections = work.connections.map(f64::from);
        let (cpu, time) = used(&self.open, &self.done);
        let deliveries = (work.deliveries > 0).then_some(work.deliveries as f64);
        Some(ServerCost {
            processes: self.before.usage.processes,
            resident_before_bytes: resident(&self.before),
            resident_open_bytes: resident(&self.open),
            resident_after_bytes: resident(&self.after),
            resident_closed_bytes: resident(&self.closed),
            resident_per_connection_bytes: connections.map(|count| grown(&self.open) / count),
            resident_after_per_connection_bytes: connections
                .map(|count| grown(&self.after) / count),
            cpu_opening_cores: cores(&self.before, &self.opened),
            cpu_run_cores: cores(&self.open, &self.done),
            cpu_per_connection_second_ns: connections
                .map(|count| cpu / count / time.as_secs_f64().max(1e-9)),
            cpu_per_delivery_ns: deliveries.map(|count| cpu / count),
        })
    }

    pub(super) fn kernel(&self, work: &Work) -> Option<KernelCost> {
        let sockets = u64::from(work.connections?) * work.sockets_per_connection;
        let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / sockets as f64;
        let [before, open, closed] =
            [&self.before, &self.open, &self.closed].map(|reading| &reading.slabs);
        let mut caches = Vec::new();
        for (name, cache) in &open.caches {
            let base = before.caches.get(name).copied().unwrap_or_default();
            caches.push(CacheCost {
                name: name.clone(),
                per_socket_bytes: each(cache.bytes, base.bytes),
                per_socket_objects: each(cache.objects, base.objects),
                object_bytes: cache.object_bytes,
            });
        }
        let pending = caches.iter().find(|cache| cache.name == PENDING);
        let pending_per_socket_bytes = pending.map(|cache| cache.per_socket_bytes);
        caches.retain(|cache| cache.per_socket_bytes >= CACHE_BYTES_MIN);
        caches.sort_by(|one, other| other.per_socket_bytes.total_cmp(&one.per_socket_bytes));
        Some(KernelCost {
            sockets_per_connection: work.sockets_per_connection,
            per_socket_bytes: each(open.bytes, before.bytes),
            left_per_socket_bytes: each(closed.bytes, before.bytes),
            pending_per_socket_bytes,
            caches,
        })
    }
}

/// CPU nanoseconds and time between two readings.
fn used(from: &Reading, to: &Reading) -> (f64, Duration) {
    let cpu = to.usage.cpu_nanos.saturating_sub(from.usage.cpu_nanos);
    (cpu as f64, to.at - from.at)
}

fn cores(from: &Reading, to: &Reading) -> f64 {
    let (cpu, time) = used(from, to);
    cpu / time.as_nanos().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::slab::Cache;
    use super::*;

    fn reading(at: Instant, resident_bytes: u64, cpu_nanos: u64, sockets: u64) -> Reading {
        let cache =
            |size: u64| Cache { bytes: size * sockets, objects: sockets, object_bytes: size };
        let caches = [("TCP", cache(2400)), (PENDING, cache(256)), ("odd", cache(1))];
        let caches = caches.map(|(name, cache)| (name.to_owned(), cache)).into();
        let slabs = Slabs { bytes: 4000 * sockets, caches };
        Reading { at, usage: Usage { processes: 1, resident_bytes, cpu_nanos }, slabs }
    }

    #[test]
    fn costs_are_divided_by_what_they_belong_to() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let readings = Readings {
            before: reading(at(0), 1000, 0, 0),
            opened: reading(at(1), 4000, 500_000_000, 20),
            open: reading(at(2), 3000, 600_000_000, 20),
            done: reading(at(4), 9000, 1_600_000_000, 20),
            after: reading(at(5), 3500, 1_600_000_000, 20),
            closed: reading(at(6), 1100, 1_700_000_000, 1),
        };
        let work = Work { connections: Some(10), deliveries: 40, sockets_per_connection: 2 };
        let server = readings.server(&[1], &work).unwrap();
        assert_eq!(server.resident_per_connection_bytes, Some(200.0));
        assert_eq!(server.resident_after_per_connection_bytes, Some(250.0));
        assert_eq!((server.cpu_opening_cores, server.cpu_run_cores), (0.5, 0.5));
        assert_eq!(server.cpu_per_connection_second_ns, Some(50_000_000.0));
        assert_eq!(server.cpu_per_delivery_ns, Some(25_000_000.0));
        let kernel = readings.kernel(&work).unwrap();
        assert_eq!((kernel.per_socket_bytes, kernel.left_per_socket_bytes), (4000.0, 200.0));
        assert_eq!(kernel.pending_per_socket_bytes, Some(256.0));
        let names: Vec<&str> = kernel.caches.iter().map(|cache| cache.name.as_str()).collect();
        assert_eq!((names, kernel.caches[0].per_socket_objects), (vec!["TCP", PENDING], 1.0));
        assert!(readings.server(&[], &work).is_none());
        assert!(readings.kernel(&Work { connections: None, ..work }).is_none());
    }
}
