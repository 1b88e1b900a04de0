//! The ingest thread: opens all endpoints, and then sleeps in one place for everything.
//!
//! It sleeps in `zmq_poll` over its sockets, the bell that shards ring and the eventfd that ends
//! it. While a link is full the inputs are left out of the wait: they stay readable, and would
//! turn the wait into a spin.

use std::fmt;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ingest::curve::Gate;
use crate::ingest::event::Outputs;
use crate::ingest::monitor::Monitor;
use crate::ingest::peers::Peers;
use crate::ingest::pending::Expiry;
use crate::ingest::receive::Receiver;
use crate::ingest::socket::open;
use crate::ingest::source::Sources;
use crate::ingest::turn::{Input, State};
use crate::ingest::{Endpoint, Error, Kind};
use crate::mesh::{AskerPort, Requester};
use crate::metrics::IngestMetrics;
use crate::sys::{Complaints, EventFd};

/// The edge's monotonic clock, in nanoseconds.
pub type Clock = Box<dyn Fn() -> u64 + Send>;

/// How long the thread waits for room in a full link before it looks again, in milliseconds.
const STALL_WAIT_MS: i64 = 1;

/// How long it sleeps at most while requests wait, in milliseconds: they may time out.
const PENDING_WAIT_MS: i64 = 500;

/// When it is told to finish: how long it answers what has come, how long nothing has come when
/// everything has, in nanoseconds, and how long it sleeps at most meanwhile, in milliseconds.
const FAREWELL_NANOS: u64 = 1_000_000_000;
const QUIET_NANOS: u64 = 50_000_000;
const FAREWELL_WAIT_MS: i64 = 1;

/// All endpoints, open; [`Ingest::run`] is the thread.
pub struct Ingest {
    inputs: Vec<Input>,
    outputs: Outputs,
    /// Places of the XPUB sockets among the outputs.
    xpubs: Vec<usize>,
    gate: Option<Gate>,
    monitors: Vec<Monitor>,
    addresses: Vec<String>,
    stop: Stop,
    state: State,
}

/// Ends the ingest thread, from any other.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Stopping>);

#[derive(Debug)]
struct Stopping {
    event: EventFd,
    /// Whether it is to end, and not only to finish.
    is_end: AtomicBool,
}

impl Stop {
    /// Tells the thread that there are no clients any more: what has come of backends is refused,
    /// and so told of, and who has asked is answered, in about a second. Shards go on.
    pub fn finish(&self) {
        self.0.event.signal();
    }

    /// Tells the thread to pass on what shards have said, and then to end. Shards that still run
    /// lose what they say later, so they end first.
    pub fn stop(&self) {
        self.0.is_end.store(true, Ordering::Release);
        self.0.event.signal();
    }

    fn is_end(&self) -> bool {
        self.0.is_end.load(Ordering::Acquire)
    }
}

impl Ingest {
    /// Opens all endpoints.
    pub fn bind(
        endpoints: &[Endpoint],
        port: AskerPort,
        metrics: Arc<IngestMetrics>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let context = zmq::Context::new();
        // One for endpoints that listen, one for those that connect (`socket`).
        context.set_io_threads(2)?;
        // The gate comes first: a CURVE server without one lets everybody in.
        let gate = Gate::open(&context, endpoints)?;
        let mut inputs = Vec::new();
        let mut outputs = Outputs::default();
        let mut xpubs = Vec::new();
        let mut monitors = Vec::with_capacity(endpoints.len());
        let mut doors = Vec::with_capacity(endpoints.len());
        let mut addresses = Vec::with_capacity(endpoints.len());
        for (place, endpoint) in endpoints.iter().enumerate() {
            let opened = open(&context, endpoint, place)?;
            let (socket, address) = (opened.socket, opened.address);
            monitors.push(opened.monitor);
            doors.push(opened.door);
            addresses.push(address.clone());
            if endpoint.kind.is_input() {
                inputs.push(Input { socket, kind: endpoint.kind, address, endpoint: place });
                continue;
            }
            if endpoint.kind == Kind::Xpub {
                xpubs.push(outputs.sockets.len());
            }
            outputs.sockets.push(socket);
        }
        let (requester, inbox) = Requester::new(port);
        let state = State {
            requester,
            expiry: Expiry::default(),
            share: 0,
            inbox,
            clock,
            sources: Sources::default(),
            complaints: Complaints::default(),
            peers: Peers::new(endpoints, doors, Arc::clone(&metrics)),
            metrics,
            is_ending: false,
        };
        let stopping = Stopping { event: EventFd::new()?, is_end: AtomicBool::new(false) };
        let stop = Stop(Arc::new(stopping));
        Ok(Self { inputs, outputs, xpubs, gate, monitors, addresses, stop, state })
    }

    /// The addresses of the endpoints, in their order, with wildcards resolved.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What ends [`Ingest::run`].
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until it is told to finish, which takes at most about a second, and calls `finished`;
    /// then passes on what shards say until it is stopped.
    pub fn run(self, finished: impl FnOnce()) -> Result<(), Error> {
        let Self { inputs, outputs, xpubs, gate, monitors, stop, mut state, .. } = self;
        let bell = state.inbox.bell().as_raw_fd();
        let mut items = vec![
            zmq::PollItem::from_fd(bell, zmq::POLLIN),
            zmq::PollItem::from_fd(stop.0.event.as_raw_fd(), zmq::POLLIN),
        ];
        items.extend(gate.iter().map(|gate| gate.socket().as_poll_item(zmq::POLLIN)));
        let first_monitor = items.len();
        items.extend(monitors.iter().map(|monitor| monitor.socket().as_poll_item(zmq::POLLIN)));
        let first_xpub = items.len();
        let subscribed = xpubs.iter().map(|&place| &outputs.sockets[place]);
        items.extend(subscribed.map(|socket| socket.as_poll_item(zmq::POLLIN)));
        let first_input = items.len();
        items.extend(inputs.iter().map(|input| input.socket.as_poll_item(zmq::POLLIN)));
        let mut receiver = Receiver::new();
        // The socket that has the first chance: what it delivers may fill a link.
        let mut first = 0;
        loop {
            let stalled = state.requester.is_stalled();
            let awaited = if stalled { first_input } else { items.len() };
            wait(&state, &mut items[..awaited], stalled)?;
            if items[1].is_readable() {
                break;
            }
            if let Some(gate) = &gate
                && items[2].is_readable()
            {
                let now_nanos = (state.clock)();
                gate.serve(&state.metrics, (&state.complaints, now_nanos));
            }
            let happened = items[first_monitor..first_xpub].iter().enumerate();
            for (place, _) in happened.filter(|(_, item)| item.is_readable()) {
                state.hear_monitor(&monitors[place], place);
            }
            state.check_peers();
            for (item, &place) in items[first_xpub..first_input].iter().zip(&xpubs) {
                if item.is_readable() {
                    outputs.drain_subscriptions(place);
                }
            }
            state.hear(&inputs, &outputs);
            state.expire(&inputs);
            state.requester.retry();
            let polled = &items[first_input..awaited];
            first = (first + usize::from(!polled.is_empty())) % inputs.len().max(1);
            for place in (0..polled.len()).map(|turn| (first + turn) % polled.len()) {
                if !polled[place].is_readable() {
                    state.peers.note_empty(inputs[place].endpoint);
                } else if !state.requester.is_stalled() {
                    state.receive(&mut receiver, &inputs, place);
                }
            }
            state.requester.ring();
        }
        stop.0.event.drain();
        farewell(&mut state, (&inputs, &outputs, &monitors), &mut receiver, &mut items[..2])?;
        drop(items);
        part(&mut state, inputs);
        finished();
        hear_the_last(&mut state, &outputs, &stop)
    }
}

/// Closes the sockets that messages come in on: nobody is owed an answer, and whoever sends more
/// keeps it for the next edge. A socket that is closed may read on for a while.
fn part(state: &mut State, inputs: Vec<Input>) {
    for input in inputs {
        if input.kind != Kind::Router {
            state.peers.cut_off(input.endpoint);
        }
    }
}

/// Passes on what shards say until they have ended.
fn hear_the_last(state: &mut State, outputs: &Outputs, stop: &Stop) -> Result<(), Error> {
    let bell = state.inbox.bell().as_raw_fd();
    let mut items = [bell, stop.0.event.as_raw_fd()]
        .map(|descriptor| zmq::PollItem::from_fd(descriptor, zmq::POLLIN));
    while !stop.is_end() {
        sleep(state, &mut items, -1)?;
        state.exchange(&[], outputs);
    }
    state.hear(&[], outputs);
    Ok(())
}

/// Answers those who have asked, and refuses what has come, in bounded time.
fn farewell(
    state: &mut State,
    (inputs, outputs, monitors): (&[Input], &Outputs, &[Monitor]),
    receiver: &mut Receiver,
    items: &mut [zmq::PollItem<'_>],
) -> Result<(), Error> {
    state.say_farewell(inputs);
    let began = (state.clock)();
    let mut last_came = began;
    let is_quiet = loop {
        let now = (state.clock)();
        if state.refuse_what_came(receiver, (inputs, monitors)) {
            last_came = now;
        }
        state.exchange(inputs, outputs);
        let is_quiet = now - last_came >= QUIET_NANOS && state.has_answered_all();
        if is_quiet || now - began >= FAREWELL_NANOS {
            break is_quiet;
        }
        sleep(state, items, FAREWELL_WAIT_MS)?;
    };
    state.dismiss(inputs, is_quiet);
    Ok(())
}

/// Waits until there is something to do.
fn wait(state: &State, items: &mut [zmq::PollItem<'_>], stalled: bool) -> Result<(), Error> {
    let pending_ms = (!state.requester.is_empty()).then_some(PENDING_WAIT_MS);
    let peers_ms = state.peers.interval_nanos().map(|nanos| (nanos / 1_000_000) as i64);
    let longest_ms = match stalled {
        _ if state.expiry.is_behind() => 0,
        true => STALL_WAIT_MS,
        false => pending_ms.into_iter().chain(peers_ms).min().unwrap_or(-1),
    };
    sleep(state, items, longest_ms)
}

fn sleep(state: &State, items: &mut [zmq::PollItem<'_>], longest_ms: i64) -> Result<(), Error> {
    let bell = state.inbox.bell();
    bell.begin_sleep();
    let longest_ms = if state.inbox.is_empty() { longest_ms } else { 0 };
    let polled = zmq::poll(items, longest_ms);
    bell.end_sleep();
    if items[0].is_readable() {
        bell.event().drain();
    }
    match polled {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
