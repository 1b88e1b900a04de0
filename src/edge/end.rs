//! The end of an edge: waits for it, and ends threads in their order.
//!
//! First clients leave. Then whoever has asked something over HTTP or ZeroMQ gets an answer, for
//! which shards go on. Then shards end, all at once, because they are home to each other's
//! channels, and then ingest, which has passed on their last events.

use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::edge::Error;
use crate::ingest::Stop;
use crate::shard::Drain;

/// What the thread that waits for the end hears.
pub(super) enum Word {
    /// No shard has a connection any more.
    ClientsLeft,
    /// Nobody waits for an answer over ZeroMQ any more.
    IngestFinished,
    /// A thread has ended: what it was for, and how.
    Ended(&'static str, Result<(), String>),
}

/// All threads that serve.
pub(super) struct Threads {
    pub(super) shards: Vec<JoinHandle<()>>,
    pub(super) ingest: JoinHandle<()>,
    pub(super) control: JoinHandle<()>,
}

/// What says a word.
pub(super) fn tell(
    words: Sender<Word>,
    word: impl Fn() -> Word + Send + Sync,
) -> impl Fn() + Send + Sync {
    move || {
        // Nobody listens any more when the edge is on its way out.
        let _ = words.send(word());
    }
}

/// Waits until the edge has drained, and ends it.
pub(super) fn wait(
    heard: &Receiver<Word>,
    threads: Threads,
    (drain, ingest, api): (&Drain, &Stop, oneshot::Sender<()>),
) -> Result<(), Error> {
    let Threads { shards, ingest: ingest_thread, control } = threads;
    wait_for(heard, 1, None)?;
    ingest.finish();
    drop(api);
    wait_for(heard, 2, Some("control"))?;
    drain.end();
    wait_for(heard, shards.len(), Some("shard"))?;
    ingest.stop();
    for thread in shards.into_iter().chain([ingest_thread, control]) {
        // Panics were caught and reported inside the thread.
        let _ = thread.join();
    }
    tracing::info!("drained");
    Ok(())
}

/// Waits for so many words. That a thread has ended is an error but for those of one name.
fn wait_for(
    heard: &Receiver<Word>,
    count: usize,
    may_end: Option<&'static str>,
) -> Result<(), Error> {
    for _ in 0..count {
        match heard.recv().expect("the drain has a sender") {
            Word::Ended(thread, Err(reason)) => return Err(Error::Died { thread, reason }),
            Word::Ended(thread, Ok(())) if may_end != Some(thread) => {
                return Err(Error::Died { thread, reason: "it ended by itself".to_owned() });
            }
            Word::Ended(..) | Word::ClientsLeft | Word::IngestFinished => {}
        }
    }
    Ok(())
}
