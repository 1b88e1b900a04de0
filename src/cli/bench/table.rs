//! The figures of a run as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::load::{Delivery, Opening, Quantiles, Report, ServerCost};

/// Writes the table.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table::default();
    table.row("scenario", report.scenario);
    let (count, servers) = (report.processes, report.servers_started);
    let mut processes = String::new();
    if count > 1 {
        processes = format!(", over {count} processes");
    }
    if servers > 1 {
        processes += &format!(" and {servers} servers");
    }
    if report.processes_were_needed {
        processes += ", because of the limit of descriptors";
    }
    table.row("connections", &format!("{}{processes}", report.connections));
    opening(&mut table, &report.opening, report.scenario);
    if let Some(delivery) = &report.delivery {
        deliveries(&mut table, delivery);
    }
    if let Some(slow) = &report.slow {
        table.row(
            "slow clients",
            &format!(
                "{}, {} of them open still; {} messages found, {} missing in between",
                slow.connections, slow.still_open, slow.received, slow.gaps
            ),
        );
    }
    if report.closed_by_us > 0 {
        table.row("closed by us", &format!("{} with a whole handshake", report.closed_by_us));
    }
    reasons(&mut table, "closed by server", &report.closes);
    if let Some(server) = &report.server {
        server_cost(&mut table, server);
    }
    let is_flawless = report.problems.is_empty();
    table.row("verdict", if is_flawless { "flawless" } else { "NOT FLAWLESS" });
    table.0
}

fn opening(table: &mut Table, opening: &Opening, scenario: &str) {
    let what = match scenario {
        "storm" => "back",
        _ => "opened",
    };
    table.row(
        what,
        &format!(
            "{} in {:.3} s, {:.0} per second, {} failures",
            opening.opened, opening.seconds, opening.per_second, opening.failed
        ),
    );
    quantiles(table, "handshake", opening.handshake.as_ref());
    reasons(table, "failures", &opening.failures);
}

fn deliveries(table: &mut Table, delivery: &Delivery) {
    table.row("published", &delivery.published.to_string());
    table.row(
        "received",
        &format!(
            "{} of {}, {:.0} per second, each verified",
            delivery.received, delivery.expected, delivery.per_second
        ),
    );
    table.row(
        "wrong",
        &format!(
            "{} lost, {} duplicated, {} reordered, {} damaged",
            delivery.lost, delivery.duplicated, delivery.reordered, delivery.damaged
        ),
    );
    quantiles(table, "latency", delivery.latency.as_ref());
    quantiles(table, "last receiver", delivery.last_receiver.as_ref());
    if delivery.publisher_late_ns > 0 {
        table.row("publisher late", &format!("at most {}", time(delivery.publisher_late_ns)));
    }
}

fn server_cost(table: &mut Table, server: &ServerCost) {
    if let Some(bytes) = server.resident_per_connection_bytes {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (before, open) = (mib(server.resident_before_bytes), mib(server.resident_open_bytes));
        table.row(
            "server memory",
            &format!(
                "{bytes:.0} bytes per connection ({before:.1} MiB before, {open:.1} MiB open)"
            ),
        );
    }
    let (opening, run) = (server.cpu_opening_cores, server.cpu_run_cores);
    let mut cpu = format!("{opening:.2} cores while opening, {run:.3} cores in the run");
    if let Some(nanos) = server.cpu_per_delivery_ns {
        cpu += &format!(", {nanos:.0} ns per delivery");
    }
    table.row("server CPU", &cpu);
}

fn quantiles(table: &mut Table, name: &str, quantiles: Option<&Quantiles>) {
    let Some(of) = quantiles else { return };
    let text = format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(of.p50_ns),
        time(of.p90_ns),
        time(of.p99_ns),
        time(of.p999_ns),
        time(of.max_ns)
    );
    table.row(name, &text);
}

fn reasons(table: &mut Table, name: &str, reasons: &BTreeMap<String, u64>) {
    for (reason, count) in reasons {
        table.row(name, &format!("{count} × {reason}"));
    }
}

/// Lines of a name and a value.
#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, name: &str, value: &str) {
        writeln!(self.0, "{name:16}  {value}").expect("a string takes everything");
    }
}

/// A duration with three digits or so.
fn time(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{:.0} µs", nanos as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        assert_eq!(
            [999, 250_000, 1_500_000, 2_340_000_000].map(time),
            ["1 µs", "250 µs", "1.5 ms", "2.34 s"]
        );
    }
}
