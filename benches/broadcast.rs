//! What the hub itself adds to a broadcast: appending to the log, and walking the members.
//!
//! No socket is involved; every send is taken whole. Compare with the few microseconds that the
//! kernel takes for each send. Allocations are counted for a publication in the steady state.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;

use std::sync::Arc;

use allocation::print_allocations;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::hub::{Batch, Hub, Session, Settings};
use tidegate::mesh::{Envelope, Homes};
use tidegate::metrics::ShardMetrics;
use tidegate::protocol::{ChannelName, Command, Publication, ShardId};

fn hub(subscribers: u32) -> Hub {
    let settings = Settings {
        sessions_per_user_max: 10,
        evict_oldest: true,
        lag_bytes_max: 1 << 20,
        outbox_bytes_max: 1 << 18,
        connections_max: 1000,
        memory_max: 1 << 28,
        ..Settings::unlimited(ShardId(0), Homes::new(1, 7))
    };
    let mut hub = Hub::new(settings, Arc::new(ShardMetrics::default()));
    for token in 0..subscribers {
        let row = hub.attach(token as i32);
        hub.enter(row, Session { channels: vec![channel()], ..Session::default() });
        while hub.poll_effect().is_some() {}
    }
    hub
}

fn channel() -> ChannelName {
    ChannelName::parse(b"bench").expect("a valid name")
}

fn publish(hub: &mut Hub, publication: &Arc<Publication>) {
    let publication = Arc::clone(publication);
    let command = Box::new(Command::Publish { channel: channel(), publication, key: None });
    hub.handle(Envelope::Command { command, ticket: None });
}

/// Serves everybody; returns how many bytes that were.
fn flush(hub: &mut Hub, batch: &mut Batch) -> u64 {
    let mut bytes = 0;
    while hub.has_work() {
        hub.poll_batch(batch);
        bytes += batch.entries.iter().map(|entry| hub.bytes(entry).len() as u64).sum::<u64>();
        hub.finish_batch(batch, 0);
    }
    bytes
}

fn bench(criterion: &mut Criterion) {
    let publication = Arc::new(Publication::new(false, &[7; 128], 0));
    let mut batch = Batch::default();
    let mut group = criterion.benchmark_group("hub");
    for subscribers in [1, 1_000, 100_000] {
        let mut hub = hub(subscribers);
        publish(&mut hub, &publication);
        assert_eq!(flush(&mut hub, &mut batch), 132 * u64::from(subscribers));
        print_allocations(&format!("one publication to {subscribers}"), || {
            publish(&mut hub, &publication);
            flush(&mut hub, &mut batch);
        });
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        let id = BenchmarkId::new("broadcast to all, per subscriber", subscribers);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                publish(&mut hub, &publication);
                flush(&mut hub, &mut batch)
            });
        });
        if subscribers == 1_000 {
            group.throughput(Throughput::Elements(100 * u64::from(subscribers)));
            group.bench_function("100 gathered publications, per delivery", |bencher| {
                bencher.iter(|| {
                    for _ in 0..100 {
                        publish(&mut hub, &publication);
                    }
                    flush(&mut hub, &mut batch)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
