//! The codec's share of the hot path: reading small frames, encoding them, unmasking payloads.
//!
//! `cargo bench --bench frame`. Reading unmasks in place, so each round copies fresh frames into
//! the buffer first, as a receive would; `receive` is that copy alone, to be subtracted. What is
//! allocated is counted once before the times.

mod allocation;

use std::hint::black_box;

use allocation::print_allocations;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::ws::frame::{encode_frame, frame_bytes};
use tidegate::ws::mask::{unmask, unmask_scalar};
use tidegate::ws::{Header, Inbound, Limits, Opcode};

const LIMITS: Limits = Limits { message_bytes_max: 64 * 1024, fragments_max: 64 };
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Masked text frames as clients send them.
fn client_frames(count: usize, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        fin: true,
        opcode: Opcode::Text,
        mask: Some(MASK),
        payload_length: payload.len() as u64,
    };
    let mut frames = Vec::new();
    for _ in 0..count {
        header.encode(&mut frames);
        let start = frames.len();
        frames.extend_from_slice(payload);
        unmask(&mut frames[start..], MASK, 0);
    }
    frames
}

fn read_all(buffer: &mut [u8]) -> usize {
    let mut inbound = Inbound::default();
    let (mut at, mut items) = (0, 0);
    while let Ok(step) = inbound.read(&mut buffer[at..], &LIMITS)
        && let Some(item) = step.item
    {
        black_box(item);
        at += step.consumed;
        items += 1;
    }
    items
}

fn allocations(_: &mut Criterion) {
    let mut whole = client_frames(64, &[b'x'; 128]);
    print_allocations("read 64 whole frames", || assert_eq!(read_all(&mut whole), 64));
    let mut cut = client_frames(2, &[b'x'; 128]);
    cut.truncate(200);
    print_allocations("read a frame and a half", || assert_eq!(read_all(&mut cut), 1));
    let mut buffer = [7; 1024];
    print_allocations("unmask 1 KiB", || unmask(black_box(&mut buffer), MASK, 0));
    let mut out = Vec::with_capacity(64 * 140);
    print_allocations("encode 64 frames into a buffer", || {
        (0..64).for_each(|_| encode_frame(Opcode::Text, &[b'x'; 128], &mut out));
    });
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    for count in [1, 64] {
        for payload in [16, 128] {
            let frames = client_frames(count, &vec![b'x'; payload]);
            let mut buffer = frames.clone();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("receive/{count}x{payload}B"), |b| {
                b.iter(|| black_box(&mut buffer[..]).copy_from_slice(&frames));
            });
            group.bench_function(format!("frames/{count}x{payload}B"), |b| {
                b.iter(|| {
                    buffer.copy_from_slice(&frames);
                    assert_eq!(read_all(&mut buffer), count);
                });
            });
        }
    }
    let frame = client_frames(1, b"x");
    group.throughput(Throughput::Elements(1));
    group.bench_function("header", |b| b.iter(|| Header::parse(black_box(&frame))));
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let payload = [b'x'; 128];
    let mut log = Vec::with_capacity(64 * 1024);
    group.throughput(Throughput::Elements(1));
    group.bench_function("frame/128B", |b| {
        b.iter(|| {
            log.clear();
            encode_frame(Opcode::Text, black_box(&payload), &mut log);
        });
    });
    log.clear();
    (0..64).for_each(|_| encode_frame(Opcode::Text, &payload, &mut log));
    group.throughput(Throughput::Elements(64));
    group.bench_function("boundaries/64x128B", |b| {
        b.iter(|| {
            let (mut at, mut count) = (0, 0);
            while let Some(bytes) = frame_bytes(&black_box(&log)[at..]) {
                at += bytes;
                count += 1;
            }
            count
        });
    });
    group.finish();
}

fn unmasking(c: &mut Criterion) {
    let mut group = c.benchmark_group("unmask");
    for size in [16, 128, 1024, 64 * 1024] {
        let mut payload = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        // In place and over again: masking twice is the identity, and the cache stays warm, as it
        // is after a receive.
        let mut kernel = |name: &str, unmask: fn(&mut [u8], [u8; 4], usize)| {
            group.bench_function(format!("{name}/{size}B"), |b| {
                b.iter(|| unmask(black_box(&mut payload), black_box(MASK), 0));
            });
        };
        kernel("words", unmask);
        kernel("scalar", unmask_scalar);
    }
    group.finish();
}

criterion_group!(benches, allocations, read, encode, unmasking);
criterion_main!(benches);
