//! CPU time of processes and of their cores' ksoftirqd, in nanoseconds from `schedstat`.

use std::fs;
use std::io;

/// What was used when the bill was opened.
pub(crate) struct Bill {
    pids: Vec<u32>,
    softirq_pid: u32,
    used: Used,
}

/// CPU nanoseconds, by who used them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    /// The threads of shards.
    pub(crate) shards: u64,
    /// All other threads of the processes.
    pub(crate) others: u64,
    /// ksoftirqd of the core.
    pub(crate) softirq: u64,
}

impl Used {
    /// All of it.
    pub(crate) fn total(self) -> f64 {
        (self.shards + self.others + self.softirq) as f64
    }

    /// What serving clients takes: shards, and the kernel's work that they put off.
    pub(crate) fn serving(self) -> f64 {
        (self.shards + self.softirq) as f64
    }

    fn now(pids: &[u32], softirq_pid: u32) -> io::Result<Self> {
        let mut sum = Self { softirq: used_by_threads(softirq_pid)?.others, ..Self::default() };
        for &pid in pids {
            let used = used_by_threads(pid)?;
            sum.shards += used.shards;
            sum.others += used.others;
        }
        Ok(sum)
    }
}

impl Bill {
    /// Opens a bill for a process that runs on a core.
    pub(crate) fn open(pid: u32, core: usize) -> io::Result<Self> {
        Self::open_all(vec![pid], core)
    }

    /// Opens a bill for processes that share a core.
    pub(crate) fn open_all(pids: Vec<u32>, core: usize) -> io::Result<Self> {
        let softirq_pid = softirq_pid(core)?;
        Ok(Self { used: Used::now(&pids, softirq_pid)?, pids, softirq_pid })
    }

    /// How much was used since.
    pub(crate) fn close(self) -> io::Result<Used> {
        let now = Used::now(&self.pids, self.softirq_pid)?;
        Ok(Used {
            shards: now.shards - self.used.shards,
            others: now.others - self.used.others,
            softirq: now.softirq - self.used.softirq,
        })
    }
}

fn used_by_threads(pid: u32) -> io::Result<Used> {
    let mut used = Used::default();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        // A thread that has ended in between used next to nothing.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        let nanos = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        let nanos = nanos.ok_or_else(|| io::Error::other("schedstat has no run time"))?;
        let is_shard = fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "shard\n");
        *if is_shard { &mut used.shards } else { &mut used.others } += nanos;
    }
    Ok(used)
}

fn softirq_pid(core: usize) -> io::Result<u32> {
    let name = format!("ksoftirqd/{core}");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name) {
            return Ok(pid);
        }
    }
    Err(io::Error::other(format!("{name} is not visible in /proc")))
}
