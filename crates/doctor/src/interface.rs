//! Network interfaces: are received packets spread over the cores, by queues (RSS) or by the
//! kernel (RPS)? One queue means one core for all of them, however many shards there are.

use crate::{Finding, Tree, Verdict, processor};

const CLASS: &str = "/sys/class/net";

/// Most interfaces that are reported: a host of containers has thousands of virtual ones.
const INTERFACES_MAX: usize = 16;

/// One finding for each interface with hardware behind it.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let names = tree.list(CLASS);
    // Bridges, tunnels and loopback have no device of their own.
    let is_hardware = |name: &&String| tree.exists(&format!("{CLASS}/{name}/device"));
    let is_up = |name: &&String| {
        tree.read(&format!("{CLASS}/{name}/operstate")).is_none_or(|state| state != "down")
    };
    let hardware = names.iter().filter(is_hardware).filter(is_up).take(INTERFACES_MAX);
    hardware.map(|name| queues(tree, name)).collect()
}

fn queues(tree: &Tree, name: &str) -> Finding {
    let folder = format!("{CLASS}/{name}/queues");
    let all = tree.list(&folder);
    let receive: Vec<&String> = all.iter().filter(|queue| queue.starts_with("rx-")).collect();
    let cores = processor::online(tree);
    let needed = match cores {
        Some(cores) => format!("a receive queue for each of {cores} cores, or RPS"),
        None => "a receive queue for each core, or RPS".to_owned(),
    };
    let finding = Finding::new("NIC queues", needed)
        .of(name)
        .breaks("a few cores take all interrupts and packets, and shards on them fall behind")
        .remedy(format!(
            "ethtool -L {name} combined {}, where it has so many, or tuning/nic.sh --apply {name}",
            cores.unwrap_or(1)
        ));
    if receive.is_empty() {
        return finding;
    }
    let is_steered = |queue: &&&String| {
        let mask = tree.read(&format!("{folder}/{queue}/rps_cpus")).unwrap_or_default();
        mask.chars().any(|digit| matches!(digit, '1'..='9' | 'a'..='f'))
    };
    let steered = receive.iter().filter(is_steered).count();
    let value = format!(
        "{} receive, {} send, RPS on {steered}",
        receive.len(),
        all.iter().filter(|queue| queue.starts_with("tx-")).count()
    );
    let verdict = match cores {
        None => Verdict::Unknown,
        Some(cores) if receive.len() as u64 >= cores || steered == receive.len() => Verdict::Ok,
        Some(_) => Verdict::Warn,
    };
    finding.is(value, verdict)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn host(queues: usize, mask: &str) -> Fixture {
        let host = Fixture::new();
        host.file("/sys/devices/system/cpu/online", "0-3\n");
        host.file("/sys/class/net/lo/queues/rx-0/rps_cpus", "0");
        host.file("/sys/class/net/eth0/device/vendor", "x");
        for queue in 0..queues {
            host.file(&format!("/sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), mask);
            host.file(&format!("/sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "0");
        }
        host
    }

    #[test]
    fn queues_or_steering_must_cover_the_cores() {
        for (queues, mask, verdict) in [
            (4, "0", Verdict::Ok),
            (1, "0", Verdict::Warn),
            (1, "00000000,0000000f", Verdict::Ok),
            (2, "00000000,00000000", Verdict::Warn),
            (0, "", Verdict::Unknown),
        ] {
            let found = check(&host(queues, mask).tree());
            assert_eq!(found.len(), 1, "loopback is no hardware");
            assert_eq!(found[0].verdict, verdict, "{queues} {mask}");
            assert_eq!(found[0].subject.as_deref(), Some("eth0"));
        }
    }

    #[test]
    fn interfaces_that_are_down_or_absent_are_left_out() {
        let down = host(1, "0");
        down.file("/sys/class/net/eth0/operstate", "down\n");
        assert!(check(&down.tree()).is_empty());
        assert!(check(&Fixture::new().tree()).is_empty());
        let unclear = host(1, "0");
        unclear.file("/sys/devices/system/cpu/online", "some");
        assert_eq!(check(&unclear.tree())[0].verdict, Verdict::Unknown);
    }
}
