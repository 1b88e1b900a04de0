//! What the hub itself adds to a broadcast: appending to the log, and walking the members.
//!
//! No socket is involved; every send is taken whole. Compare with the few microseconds that the
//! kernel takes for each send. Allocations are counted for a publication in the steady state.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

mod allocation;
mod stage;

use std::sync::Arc;

use allocation::print_allocations;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stage::{Stage, channel};
use tidegate::model::{Namespace, Publication, Variant};

fn stage(subscribers: u32) -> Stage {
    let mut stage = Stage::new(Namespace::default());
    for _ in 0..subscribers {
        stage.enter(Variant::Raw, "", vec![channel(0)]);
    }
    stage
}

fn bench(criterion: &mut Criterion) {
    let publication = Arc::new(Publication::new(false, &[7; 128], 0));
    let channel = channel(0);
    let mut group = criterion.benchmark_group("hub");
    for subscribers in [1, 1_000, 100_000] {
        let mut stage = stage(subscribers);
        stage.publish(&channel, &publication);
        assert_eq!(stage.flush(), 132 * u64::from(subscribers));
        print_allocations(&format!("one publication to {subscribers}"), || {
            stage.publish(&channel, &publication);
            stage.flush();
        });
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        let id = BenchmarkId::new("broadcast to all, per subscriber", subscribers);
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                stage.publish(&channel, &publication);
                stage.flush()
            });
        });
        if subscribers == 1_000 {
            group.throughput(Throughput::Elements(100 * u64::from(subscribers)));
            group.bench_function("100 gathered publications, per delivery", |bencher| {
                bencher.iter(|| {
                    for _ in 0..100 {
                        stage.publish(&channel, &publication);
                    }
                    stage.flush()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
