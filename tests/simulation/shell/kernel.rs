//! The kernel of the simulation: descriptors, listeners, watches, ticks and the clock.
//!
//! It keeps to what the ring promises its shard and no more: submissions count when they are
//! submitted, connections are accepted after that, watches hold sockets open, a watch speaks when
//! something comes and not while it is there, numbers of descriptors are used again at once,
//! completions may be merged, and a watch or the accepting may end at any time.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use tidegate::shard::Net;
use tidegate::sys::ring::{Completion, Kind};

use super::wire::{End, Wire};
use crate::random::Random;

/// The bits of a generation that completions have.
const GENERATION_MASK: u32 = 0x00ff_ffff;

/// The Unix second in which a simulation begins.
pub(crate) const BEGINNING: u64 = 1_700_000_000;

/// Descriptors below it are those that every process has.
const FIRST_FD: usize = 3;

/// What is planted to be found: each is as if a shard forgot something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A send is taken and lost.
    Lose,
    /// A send goes out twice.
    Repeat,
    /// Nobody is told that a connection is readable.
    Deafen,
    /// A watch is not ended.
    Hold,
    /// Ticks end.
    Stop,
}

/// What waits to be submitted.
#[derive(Debug)]
enum Op {
    Accept,
    StopListening,
    Watch(Kind, RawFd, (u32, u32)),
    Cancel(Kind, (u32, u32)),
    Tick(u64),
}

/// What the kernel has for one shard.
#[derive(Debug)]
struct Endpoint {
    backlog: VecDeque<usize>,
    is_listening: bool,
    is_accepting: bool,
    tick: Option<u64>,
    /// Which connection a watch is of; writing apart from reading.
    watched: HashMap<(bool, (u32, u32)), usize>,
    submissions: Vec<Op>,
    posted: VecDeque<Completion>,
    /// It has come to sleep, for nothing was there.
    has_slept: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// Nanoseconds.
    pub(crate) now: u64,
    /// Nothing breaks any more.
    pub(crate) is_calm: bool,
    /// What is wrong, now and then.
    pub(crate) sabotage: Option<Sabotage>,
    random: Random,
    wires: Vec<Wire>,
    descriptors: Vec<Option<usize>>,
    endpoints: Vec<Endpoint>,
}

impl Kernel {
    /// For a number of shards.
    pub(crate) fn new(shards: usize, seed: u64) -> Self {
        let endpoint = |_| Endpoint {
            backlog: VecDeque::new(),
            is_listening: true,
            is_accepting: false,
            tick: None,
            watched: HashMap::new(),
            submissions: Vec::new(),
            posted: VecDeque::new(),
            has_slept: false,
        };
        Self {
            now: 1,
            is_calm: false,
            sabotage: None,
            random: Random::new(seed),
            wires: Vec::new(),
            descriptors: Vec::new(),
            endpoints: (0..shards).map(endpoint).collect(),
        }
    }

    /// A client connects to a shard; `None` if that does not listen any more.
    pub(crate) fn connect(&mut self, shard: usize, capacity: usize) -> Option<usize> {
        if !self.endpoints[shard].is_listening {
            return None;
        }
        let wire = self.wires.len();
        self.wires.push(Wire::new(shard, capacity));
        self.endpoints[shard].backlog.push_back(wire);
        Some(wire)
    }

    /// A client sends something.
    pub(crate) fn say(&mut self, wire: usize, bytes: &[u8]) {
        self.wires[wire].say(bytes);
    }

    /// A client says that it has said all.
    pub(crate) fn end(&mut self, wire: usize) {
        self.wires[wire].end();
    }

    /// A client closes its socket.
    pub(crate) fn leave(&mut self, wire: usize) {
        self.wires[wire].leave();
        if self.wires[wire].is_reset {
            self.tell_broken(wire);
        }
    }

    /// A connection breaks.
    pub(crate) fn reset(&mut self, wire: usize) {
        self.wires[wire].reset();
        self.tell_broken(wire);
    }

    /// So many bytes that a client sent arrive.
    pub(crate) fn carry(&mut self, wire: usize, count: usize) {
        if self.wires[wire].carry(count) {
            self.tell_readable(wire);
        }
    }

    /// Whether nothing is on its way from a client, or to it.
    pub(crate) fn is_carried(&self, wire: usize) -> bool {
        self.wires[wire].is_calm()
    }

    /// What a client reads, and how its connection has ended if it has.
    pub(crate) fn hear(&mut self, wire: usize, most: usize) -> (Vec<u8>, Option<End>) {
        let heard = self.wires[wire].hear(most);
        if !heard.is_empty() {
            self.tell_writable(wire);
        }
        (heard, self.wires[wire].end_heard())
    }

    /// Whether a shard sleeps on that has just begun to.
    pub(crate) fn sleeps(&mut self, shard: usize) -> bool {
        let endpoint = &mut self.endpoints[shard];
        let is_due = endpoint.tick.is_some_and(|due| due <= self.now);
        let accepts = endpoint.is_accepting && !endpoint.backlog.is_empty();
        let has_news = is_due || accepts || !endpoint.posted.is_empty();
        std::mem::take(&mut endpoint.has_slept) && !has_news
    }

    /// How many shards listen.
    pub(crate) fn listening(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.is_listening).count()
    }

    /// What shards hold that no client has any more: descriptors, and watches.
    pub(crate) fn held(&self) -> (usize, usize) {
        let open = self.descriptors.iter().flatten().count();
        (open, self.endpoints.iter().map(|endpoint| endpoint.watched.len()).sum())
    }

    fn is_wrong(&mut self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage) && self.random.chance(2)
    }

    fn accept_some(&mut self, shard: usize) {
        while self.endpoints[shard].is_accepting && !self.endpoints[shard].backlog.is_empty() {
            let fails = !self.is_calm && self.random.chance(2);
            let has_more = !fails && (self.is_calm || !self.random.chance(3));
            self.endpoints[shard].is_accepting = has_more;
            let result = if fails {
                -self.random.pick(&[libc::EMFILE, libc::ENFILE, libc::ENOBUFS])
            } else {
                let wire = self.endpoints[shard].backlog.pop_front().expect("it is not empty");
                self.wires[wire].is_open = true;
                self.descriptor(wire)
            };
            self.post(shard, Kind::Accept, (0, 0), (result, has_more));
        }
    }

    /// The lowest free number.
    fn descriptor(&mut self, wire: usize) -> RawFd {
        let free = self.descriptors.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            self.descriptors.push(None);
            self.descriptors.len() - 1
        });
        self.descriptors[place] = Some(wire);
        (place + FIRST_FD) as RawFd
    }

    fn wire_of(&self, fd: RawFd) -> Option<usize> {
        *self.descriptors.get((fd as usize).checked_sub(FIRST_FD)?)?
    }

    fn post(&mut self, shard: usize, kind: Kind, id: (u32, u32), outcome: (i32, bool)) {
        let ((row, generation), (result, has_more)) = (id, outcome);
        let generation = generation & GENERATION_MASK;
        let completion = Completion { kind, row, generation, result, has_more };
        self.endpoints[shard].posted.push_back(completion);
    }

    fn tell_readable(&mut self, wire: usize) {
        let Wire { shard, readable: Some(id), .. } = self.wires[wire] else { return };
        if self.is_wrong(Sabotage::Deafen) {
            return;
        }
        let mask = self.wires[wire].readiness();
        let last = self.endpoints[shard].posted.back_mut().filter(|last| {
            last.kind == Kind::Readable
                && (last.row, last.generation) == (id.0, id.1 & GENERATION_MASK)
        });
        if let Some(last) = last
            && self.random.chance(50)
        {
            last.result |= mask;
            return;
        }
        let has_more = self.is_calm || !self.random.chance(3);
        self.post(shard, Kind::Readable, id, (mask, has_more));
        if !has_more {
            self.unwatch(shard, false, id);
        }
    }

    fn tell_writable(&mut self, wire: usize) {
        let Wire { shard, writable: Some(id), .. } = self.wires[wire] else { return };
        if self.wires[wire].is_writable() {
            self.unwatch(shard, true, id);
            self.post(shard, Kind::Writable, id, (i32::from(libc::POLLOUT), false));
        }
    }

    fn tell_broken(&mut self, wire: usize) {
        self.tell_readable(wire);
        self.tell_writable(wire);
    }

    /// Ends a watch; what was held open by it alone is closed.
    fn unwatch(&mut self, shard: usize, writes: bool, id: (u32, u32)) -> Option<usize> {
        let wire = self.endpoints[shard].watched.remove(&(writes, id))?;
        let Wire { readable, writable, .. } = &mut self.wires[wire];
        *(if writes { writable } else { readable }) = None;
        self.finish(wire);
        Some(wire)
    }

    fn finish(&mut self, wire: usize) {
        let wire = &mut self.wires[wire];
        let is_held = wire.is_open || wire.readable.is_some() || wire.writable.is_some();
        if !is_held && !wire.is_finished {
            wire.finish(&mut self.random);
        }
    }

    fn submit(&mut self, shard: usize) {
        for op in std::mem::take(&mut self.endpoints[shard].submissions) {
            match op {
                Op::Accept => self.endpoints[shard].is_accepting = true,
                Op::StopListening => {
                    let endpoint = &mut self.endpoints[shard];
                    endpoint.is_listening = false;
                    let was_accepting = std::mem::take(&mut endpoint.is_accepting);
                    for wire in std::mem::take(&mut endpoint.backlog) {
                        self.wires[wire].reset();
                    }
                    if was_accepting {
                        self.post(shard, Kind::Accept, (0, 0), (-libc::ECANCELED, false));
                    }
                }
                Op::Watch(kind, fd, id) => self.watch(shard, kind, fd, id),
                Op::Cancel(..) if self.is_wrong(Sabotage::Hold) => {}
                Op::Tick(_) if self.is_wrong(Sabotage::Stop) => {}
                Op::Cancel(kind, id) => {
                    if self.unwatch(shard, kind == Kind::Writable, id).is_some() {
                        self.post(shard, kind, id, (-libc::ECANCELED, false));
                    }
                }
                Op::Tick(nanos) => self.endpoints[shard].tick = Some(self.now + nanos),
            }
        }
        let mut watched = self.endpoints[shard].watched.values();
        assert!(watched.all(|&wire| self.wires[wire].is_open), "a watch holds what is closed");
    }

    fn watch(&mut self, shard: usize, kind: Kind, fd: RawFd, id: (u32, u32)) {
        // Where another shard has the number meanwhile, a cancellation follows behind the watch.
        let wire = self.wire_of(fd).filter(|&wire| self.wires[wire].shard == shard);
        let Some(wire) = wire else {
            return self.post(shard, kind, id, (-libc::EBADF, false));
        };
        let writes = kind == Kind::Writable;
        let Wire { readable, writable, .. } = &mut self.wires[wire];
        let watch = if writes { writable } else { readable };
        assert_eq!(watch.replace(id), None, "a connection is watched twice");
        self.endpoints[shard].watched.insert((writes, id), wire);
        if writes {
            self.tell_writable(wire);
        } else if self.wires[wire].readiness() != 0 {
            self.tell_readable(wire);
        }
    }

    fn write(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, i32> {
        let wire = self.wire_of(fd).ok_or(libc::EBADF)?;
        if self.is_wrong(Sabotage::Lose) {
            return Ok(bytes.len());
        }
        if self.is_wrong(Sabotage::Repeat) {
            self.wires[wire].sent.extend(bytes);
        }
        let was_broken = self.wires[wire].is_reset;
        let falls_short = !self.is_calm && self.random.chance(4);
        let random = falls_short.then_some(&mut self.random);
        let result = self.wires[wire].write(bytes, random);
        if self.wires[wire].is_reset && !was_broken {
            self.tell_broken(wire);
        }
        result
    }
}

/// The network of one shard.
pub(crate) struct Wired {
    kernel: Rc<RefCell<Kernel>>,
    shard: usize,
    pending: VecDeque<Completion>,
    is_listening: bool,
}

impl Wired {
    /// Of a shard.
    pub(crate) fn new(kernel: &Rc<RefCell<Kernel>>, shard: usize) -> Self {
        let kernel = Rc::clone(kernel);
        Self { kernel, shard, pending: VecDeque::new(), is_listening: true }
    }

    fn push(&self, op: Op) {
        self.kernel.borrow_mut().endpoints[self.shard].submissions.push(op);
    }
}

impl Net for Wired {
    /// Time goes on whenever somebody looks, and sometimes the thread had to wait for its core.
    fn now_nanos(&self) -> u64 {
        let kernel = &mut *self.kernel.borrow_mut();
        let step = if kernel.random.chance(1) { 3_000_000 } else { 2_000 };
        kernel.now += kernel.random.below(step) as u64;
        kernel.now
    }

    fn unix_seconds(&self) -> u64 {
        BEGINNING + self.kernel.borrow().now / 1_000_000_000
    }

    fn accept(&mut self) {
        if self.is_listening {
            self.push(Op::Accept);
        }
    }

    fn stop_listening(&mut self) {
        if std::mem::take(&mut self.is_listening) {
            self.push(Op::StopListening);
        }
    }

    fn is_listening(&self) -> bool {
        self.is_listening
    }

    /// Before each turn it is looked whether something came over a link (`World::sleeps`).
    fn watch_bell(&mut self) {}

    fn watch_readable(&mut self, fd: RawFd, row: u32, generation: u32) {
        self.push(Op::Watch(Kind::Readable, fd, (row, generation)));
    }

    fn watch_writable(&mut self, fd: RawFd, row: u32, generation: u32) {
        self.push(Op::Watch(Kind::Writable, fd, (row, generation)));
    }

    fn cancel(&mut self, kind: Kind, row: u32, generation: u32) {
        self.push(Op::Cancel(kind, (row, generation)));
    }

    fn tick_after(&mut self, nanos: u64) {
        self.push(Op::Tick(nanos));
    }

    fn enter(&mut self) -> io::Result<()> {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.submit(self.shard);
        kernel.accept_some(self.shard);
        let now = kernel.now;
        if kernel.endpoints[self.shard].tick.is_some_and(|due| due <= now) {
            kernel.endpoints[self.shard].tick = None;
            kernel.post(self.shard, Kind::Tick, (0, 0), (-libc::ETIME, false));
        }
        self.pending.append(&mut kernel.endpoints[self.shard].posted);
        Ok(())
    }

    fn sleep(&mut self) -> io::Result<()> {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.submit(self.shard);
        kernel.endpoints[self.shard].has_slept = true;
        Ok(())
    }

    fn poll_completion(&mut self) -> Option<Completion> {
        self.pending.pop_front()
    }

    fn has_completions(&self) -> bool {
        !self.pending.is_empty()
    }

    fn receive(&mut self, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        let kernel = &mut *self.kernel.borrow_mut();
        let wire = kernel.wire_of(fd).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        let wire = &mut kernel.wires[wire];
        let count = buffer.len().min(wire.arrived.len());
        for (place, byte) in buffer.iter_mut().zip(wire.arrived.drain(..count)) {
            *place = byte;
        }
        if count > 0 || buffer.is_empty() {
            Ok(count)
        } else if wire.is_reset && !std::mem::replace(&mut wire.is_reset_told, true) {
            Err(io::Error::from_raw_os_error(libc::ECONNRESET))
        } else if wire.is_reset || wire.has_end_come {
            Ok(0)
        } else {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        }
    }

    fn send(&mut self, fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().write(fd, bytes).map_err(io::Error::from_raw_os_error)
    }

    fn send_batch<'a>(
        &mut self,
        sends: impl Iterator<Item = (RawFd, &'a [u8])>,
        mut refused: impl FnMut(usize, i32),
    ) -> io::Result<()> {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.submit(self.shard);
        for (place, (fd, bytes)) in sends.enumerate() {
            match kernel.write(fd, bytes) {
                Ok(0) => refused(place, -libc::EAGAIN),
                Ok(count) if count < bytes.len() => refused(place, count as i32),
                Ok(_) => {}
                Err(error) => refused(place, -error),
            }
        }
        Ok(())
    }

    fn shutdown_write(&mut self, fd: RawFd) {
        let kernel = &mut *self.kernel.borrow_mut();
        if let Some(wire) = kernel.wire_of(fd) {
            kernel.wires[wire].has_ended = true;
        }
    }

    fn close(&mut self, fd: RawFd) {
        let kernel = &mut *self.kernel.borrow_mut();
        let wire = kernel.wire_of(fd).expect("what is closed is open");
        kernel.descriptors[fd as usize - FIRST_FD] = None;
        kernel.wires[wire].is_open = false;
        kernel.finish(wire);
    }
}
