//! `tidegate doctor`: is this host fit for a planned number of connections?
//!
//! Each check reads a few files of `/proc` and `/sys` through a [`Tree`], compares what they say
//! with a [`Plan`], and answers with a [`Finding`]: what is, what is needed, what breaks without
//! it, and the command that sets it. Nothing here changes the host; [`write_files`] writes files
//! into a folder that the operator names. A file that is missing or garbled makes a finding
//! unknown and never an error, because kernels and containers hide different things.
//!
//! Not here: whether io_uring works, which only the kernel can say (`sys::host::check`); and the
//! reasons at length, which are in `tuning/README.md`.

mod cgroup;
mod descriptor;
mod file;
mod finding;
#[cfg(test)]
mod fixture;
mod interface;
mod kernel;
mod load;
mod memory;
mod network;
mod plan;
mod processor;
mod report;
mod setting;
mod traffic;
mod tree;

pub use file::{WriteError, write_files};
pub use finding::{Finding, Verdict};
pub use load::{Sockets, examine_load};
pub use plan::{Plan, Wanted};
pub use processor::quota;
pub use report::Report;
pub use setting::SETTINGS;
pub use tree::Tree;

use tidegate_sys::host;
use tidegate_sys::memlock::Rings;

/// Checks a host against a plan. `rings` is what the kernel said about io_uring, if it was asked.
#[must_use]
pub fn examine(tree: &Tree, plan: &Plan, rings: Option<Result<Rings, host::Error>>) -> Report {
    let counted = rings.as_ref().and_then(|rings| rings.as_ref().ok().copied());
    let mut findings = kernel::check(tree, rings.map(|rings| rings.map(drop)));
    findings.extend(descriptor::check(tree, plan, counted));
    findings.extend(memory::check(tree, plan));
    findings.extend(network::check(tree, plan));
    findings.extend(traffic::check(tree, plan));
    findings.extend(interface::check(tree));
    findings.extend(processor::check(tree, plan));
    Report { connections: plan.connections, shards: plan.shards, findings }
}

/// So many connections everybody expects to have room for.
const CONNECTIONS_FEW: u64 = 4096;

/// The cheap part, for every start of the edge: what an operator asked for and the host cuts.
#[must_use]
pub fn examine_start(tree: &Tree, wanted: &Wanted) -> Vec<Finding> {
    let plan = Plan::new(wanted, tree);
    let mut findings = vec![network::somaxconn(tree, &plan), processor::limit(tree, &plan)];
    if wanted.connections.is_some() {
        findings.push(descriptor::hard_limit(tree, &plan));
        findings.push(network::conntrack(tree, &plan));
    } else {
        // The descriptor limit is the plan, unless it is one that nobody can have chosen.
        findings.push(descriptor::hard_limit(tree, &Plan { connections: CONNECTIONS_FEW, ..plan }));
    }
    findings.retain(|finding| matches!(finding.verdict, Verdict::Warn | Verdict::Fail));
    findings
}

#[cfg(test)]
mod tests;
