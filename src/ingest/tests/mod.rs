//! The ingest thread over real ZeroMQ sockets, with shards that the test itself plays.

mod commands;
mod curve;
mod events;
mod pressure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ingest::{Endpoint, Error, Ingest, Kind, Stop};
use crate::mesh::{self, Asker, AskerPort, Envelope, Outbound, ShardPort};
use crate::metrics::{Counter, IngestMetrics};
use crate::model::{Answer, Command, Ticket};

const PATIENCE: Duration = Duration::from_secs(10);

/// An ingest thread, and everything around it.
struct Edge {
    shards: Vec<ShardPort>,
    metrics: Arc<IngestMetrics>,
    addresses: Vec<String>,
    context: zmq::Context,
    stop: Stop,
    has_finished: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Edge {
    fn start(endpoints: &[Endpoint], shards: u8, capacity: usize) -> Self {
        Self::start_named(endpoints, shards, capacity, "ingest")
    }

    fn start_named(endpoints: &[Endpoint], shards: u8, capacity: usize, name: &str) -> Self {
        let (shards, mut askers) = mesh::build(shards, capacity, 7).unwrap();
        let port = AskerPort::take(&mut askers, Asker::Ingest);
        let metrics = Arc::new(IngestMetrics::default());
        let epoch = Instant::now();
        let clock = Box::new(move || epoch.elapsed().as_nanos() as u64);
        let ingest = Ingest::bind(endpoints, port, Arc::clone(&metrics), clock).unwrap();
        let (addresses, stop) = (ingest.addresses().to_vec(), ingest.stop_handle());
        let builder = std::thread::Builder::new().name(name.to_owned());
        let has_finished = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&has_finished);
        let run = move || ingest.run(|| finished.store(true, Ordering::Relaxed));
        let (thread, context) = (Some(builder.spawn(run).unwrap()), zmq::Context::new());
        Self { shards, metrics, addresses, context, stop, has_finished, thread }
    }

    /// An edge with one endpoint of a kind, and a peer of it.
    fn with_peer(kind: Kind, peer: zmq::SocketType, shards: u8) -> (Self, zmq::Socket) {
        let edge = Self::start(&[endpoint(kind)], shards, 1024);
        let peer = edge.connect(peer, 0);
        (edge, peer)
    }

    fn connect(&self, kind: zmq::SocketType, place: usize) -> zmq::Socket {
        let socket = self.socket(kind);
        socket.connect(&self.addresses[place]).unwrap();
        socket
    }

    fn socket(&self, kind: zmq::SocketType) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket
    }

    /// The next command at a shard, if there is one now.
    fn poll(&self, shard: usize) -> Option<(Command, Option<Ticket>)> {
        let from_ingest = self.shards.len() + usize::from(Asker::Ingest.place());
        let inbox = &self.shards[shard].inbox;
        let envelope = inbox.receive(from_ingest)?;
        inbox.note_taken(from_ingest, envelope.weight());
        match envelope {
            Envelope::Command { command, ticket } => Some((*command, ticket)),
            other => panic!("not a command: {other:?}"),
        }
    }

    /// The next command at any shard.
    fn command(&self) -> (usize, Command, Option<Ticket>) {
        wait_for(|| {
            (0..self.shards.len()).find_map(|shard| {
                self.poll(shard).map(|(command, ticket)| (shard, command, ticket))
            })
        })
    }

    /// A shard says something to the ingest thread.
    fn tell(&self, shard: usize, message: Outbound) {
        let link = &self.shards[shard].askers[usize::from(Asker::Ingest.place())];
        link.try_send(message).unwrap();
        link.ring();
    }

    /// A shard answers: whether it was the first receiver, who else will, how many sessions.
    fn answer(&self, shard: usize, ticket: Option<Ticket>, part: (bool, i32, u32)) {
        let Ticket { asker, number } = ticket.unwrap();
        assert_eq!(asker, Asker::Ingest.place());
        let (is_first, awaiting, sessions) = part;
        let answer =
            Answer { number, firsts: u32::from(is_first), awaiting, sessions, ..Answer::default() };
        self.tell(shard, Outbound::Answer(answer));
    }

    /// Stops the thread; says how long that took.
    fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        began.elapsed()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn endpoint(kind: Kind) -> Endpoint {
    Endpoint::new(kind, "tcp://127.0.0.1:*")
}

fn wait_for<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = what() {
            return it;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wait_for_count(counter: &Counter, count: u64) {
    wait_for(|| (counter.value() >= count).then_some(()));
    assert_eq!(counter.value(), count);
}

fn payload(command: &Command) -> (String, String) {
    let Command::Publish { channel, publication, .. } = command else {
        panic!("not a publish: {command:?}")
    };
    (channel.to_string(), String::from_utf8(publication.payload().to_vec()).unwrap())
}

fn reply(socket: &zmq::Socket) -> String {
    let parts = socket.recv_multipart(0).unwrap();
    String::from_utf8(parts.last().unwrap().clone()).unwrap()
}

/// Publishes until the edge has heard the first message: a PUB loses what it sends before that.
fn join(edge: &Edge, publisher: &zmq::Socket) {
    wait_for(|| {
        publisher.send_multipart(["hello", ""], 0).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        edge.poll(0)
    });
    std::thread::sleep(Duration::from_millis(50));
    while edge.poll(0).is_some() {}
}
