//! The figures of a run as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::{
    Delivery, KernelCost, Opening, Pings, Quantiles, Recovery, Report, ServerCost, SlowShare,
};
use tidegate_doctor::Finding;

/// Writes the table: the verdict first, and lines that fit a terminal of 80 columns. `has_slabs`
/// shows what each of the kernel's caches holds.
pub(super) fn render(report: &Report, has_slabs: bool) -> String {
    let mut table = Table::default();
    match report.problems.as_slice() {
        [] => table.row("verdict", "flawless"),
        problems => table.row("verdict", &format!("NOT FLAWLESS: {}", problems.join(", "))),
    }
    table.row("scenario", &format!("{}, {}", report.scenario, report.protocol));
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
    let (channels, each) = (report.channels, report.channels_each);
    if channels > 1 {
        table.row("channels", &format!("{channels}, {each} for each connection"));
    }
    opening(&mut table, &report.opening, report.scenario);
    if let Some(delivery) = &report.delivery {
        deliveries(&mut table, delivery);
    }
    if let Some(of) = &report.recovery {
        recovery(&mut table, of);
    }
    if let Some(of) = &report.slow {
        slow(&mut table, of);
    }
    if report.closed_by_us > 0 {
        table.row("closed by us", &format!("{} with a whole handshake", report.closed_by_us));
    }
    reasons(&mut table, "server closed", &report.closes);
    if let Some(of) = &report.pings {
        pings(&mut table, of);
    }
    if let Some(server) = &report.server {
        server_cost(&mut table, server);
    }
    if let Some(kernel) = &report.kernel {
        kernel_cost(&mut table, kernel);
        if has_slabs {
            slabs(&mut table, kernel);
        }
    }
    report.host.iter().for_each(|finding| host(&mut table, finding));
    table.0
}

fn opening(table: &mut Table, opening: &Opening, scenario: &str) {
    let what = match scenario {
        "storm" | "recover" => "back",
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
    quantiles(table, "unicast alone", delivery.unicast_quiet.as_ref());
    quantiles(table, "unicast beside", delivery.unicast_busy.as_ref());
    if delivery.publisher_late_ns > 0 {
        table.row("publisher late", &format!("at most {}", time(delivery.publisher_late_ns)));
    }
}

fn recovery(table: &mut Table, recovery: &Recovery) {
    let Recovery { subscriptions, recovered, through_recovery, live, skipped, .. } = recovery;
    let percent = recovery.share * 100.0;
    table
        .row("recovered", &format!("{recovered} of {subscriptions} subscriptions, {percent:.2} %"));
    let text = format!("{through_recovery} through recovery, {live} live, {skipped} skipped");
    table.row("", &text);
    if let (Some(cores), Some(nanos)) = (recovery.cpu_cores, recovery.cpu_per_connection_ns) {
        let each = time(nanos as u64);
        table.row("", &format!("server CPU {cores:.2} cores until all are back, {each} for each"));
    }
}

fn slow(table: &mut Table, slow: &SlowShare) {
    let SlowShare { connections, still_open, received, gaps, resubscribed, recovered } = slow;
    let text = format!(
        "{connections}, {still_open} of them open still; {received} messages found, {gaps} missing \
         in between"
    );
    table.row("slow clients", &text);
    if *resubscribed > 0 {
        table.row(
            "",
            &format!("{resubscribed} times subscribed again, {recovered} times recovered"),
        );
    }
}

fn pings(table: &mut Table, pings: &Pings) {
    let Pings { count, min, median, p99, max, .. } = pings;
    let text = format!("{count}; in 100 ms min {min}, median {median}, p99 {p99}, max {max}");
    table.row("pings", &text);
}

fn server_cost(table: &mut Table, server: &ServerCost) {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let stations = format!(
        "{} MiB before, {} open, {} after the load, {} closed",
        mib(server.resident_before_bytes),
        mib(server.resident_open_bytes),
        mib(server.resident_after_bytes),
        mib(server.resident_closed_bytes)
    );
    let each = server.resident_per_connection_bytes;
    let each_after = server.resident_after_per_connection_bytes;
    if let (Some(open), Some(after)) = (each, each_after) {
        let text = format!("{open:.0} bytes per connection, {after:.0} after the load");
        table.row("server memory", &text);
        let processes = server.processes;
        let base = mib(server.resident_before_bytes / processes.max(1) as u64);
        table.row("", &format!("{stations}; {processes} × {base} MiB is the base"));
    }
    let (opening, run) = (server.cpu_opening_cores, server.cpu_run_cores);
    let mut text = format!("{opening:.2} cores while opening, {run:.3} cores in the run");
    if let Some(nanos) = server.cpu_per_delivery_ns {
        text += &format!(", {nanos:.0} ns per delivery");
    } else if let Some(nanos) = server.cpu_per_connection_second_ns {
        text += &format!(", {nanos:.0} ns per connection and second");
    }
    table.row("server CPU", &text);
}

fn kernel_cost(table: &mut Table, kernel: &KernelCost) {
    let text = format!(
        "{:.0} bytes per socket, {} for each connection here; {:.0} left after closing",
        kernel.per_socket_bytes, kernel.sockets_per_connection, kernel.left_per_socket_bytes
    );
    table.row("kernel memory", &text);
}

fn slabs(table: &mut Table, kernel: &KernelCost) {
    let caches: Vec<String> = kernel
        .caches
        .iter()
        .map(|cache| format!("{} {:.0}", cache.name, cache.per_socket_bytes))
        .collect();
    match kernel.pending_per_socket_bytes {
        Some(pending) => {
            table.row("slabs", &format!("bytes per socket: {}", caches.join(", ")));
            table.row("pending", &format!("{pending:.0} bytes per socket of io_uring's requests"));
        }
        None => table.row("slabs", "/proc/slabinfo cannot be read; root may"),
    }
}

fn quantiles(table: &mut Table, name: &str, quantiles: Option<&Quantiles>) {
    let Some(of) = quantiles else { return };
    let text = format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
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

/// What the host lacks for a run of this size.
fn host(table: &mut Table, finding: &Finding) {
    let Finding { setting, value, needed, .. } = finding;
    table.row("host", &format!("{setting} is {value}; {needed}"));
}

/// Lines of a name and a value.
#[derive(Default)]
struct Table(String);

/// Columns of a name, and of the value behind it.
const NAME_COLUMNS: usize = 14;
const VALUE_COLUMNS: usize = 80 - NAME_COLUMNS - 1;

impl Table {
    fn row(&mut self, name: &str, value: &str) {
        let mut line = format!("{name:NAME_COLUMNS$}");
        let mut columns = 0;
        for word in value.split(' ').filter(|word| !word.is_empty()) {
            let length = word.chars().count();
            if columns > 0 && columns + 1 + length > VALUE_COLUMNS {
                writeln!(self.0, "{line}").expect("a string takes everything");
                line = " ".repeat(NAME_COLUMNS);
                columns = 0;
            }
            line.push(' ');
            line.push_str(word);
            columns += length + usize::from(columns > 0);
        }
        writeln!(self.0, "{line}").expect("a string takes everything");
    }
}

/// A duration with three digits or so.
fn time(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{:.0} µs", nanos as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{:.0} ms", nanos as f64 / 1e6),
        _ => format!("{:.2} s", nanos as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_go_on_below_themselves() {
        let mut table = Table::default();
        table.row("latency", &"p99.9 123.4 ms, ".repeat(8));
        let lines: Vec<&str> = table.0.lines().collect();
        assert!(
            lines.len() == 2 && lines.iter().all(|line| line.chars().count() <= 80),
            "{lines:?}"
        );
        assert!(lines[0].starts_with("latency        p99.9"), "{lines:?}");
        assert!(lines[1].starts_with("               p99.9"), "{lines:?}");
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        assert_eq!(
            [999, 250_000, 1_500_000, 123_400_000, 2_340_000_000].map(time),
            ["1 µs", "250 µs", "1.5 ms", "123 ms", "2.34 s"]
        );
    }
}
