//! Kernel memory of sockets: the slab caches that grow with them.
//!
//! `/proc/slabinfo` has every cache, but root alone may read it; `/proc/meminfo` has the sums for
//! everybody. Both are of the whole host. What sockets hold in their buffers is not part of it.

use std::collections::BTreeMap;
use std::fs;

/// Bytes of a page, in which slabs are measured.
const PAGE_BYTES: u64 = 4096;

/// One cache of objects of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cache {
    /// Memory of its slabs, free places included.
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) object_bytes: u64,
}

/// All caches at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Slabs {
    /// All slabs.
    pub(super) bytes: u64,
    /// By name; empty if they may not be read.
    pub(super) caches: BTreeMap<String, Cache>,
}

impl Slabs {
    /// As they are now; what cannot be read is nothing.
    pub(super) fn now() -> Self {
        let sums = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let caches = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
        Self { bytes: slab_bytes(&sums).unwrap_or(0), caches: parse(&caches) }
    }
}

fn slab_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Lines of version 2: name, objects in use, objects, size, objects and pages of a slab, tunables,
/// and behind `slabdata` slabs in use and slabs.
fn parse(text: &str) -> BTreeMap<String, Cache> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(String, Cache)> {
    let (objects, slabs) = line.split_once(": slabdata")?;
    let mut words = objects.split_whitespace();
    let name = words.next()?;
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let &[objects, _, object_bytes, _, pages] = &numbers[..] else { return None };
    let slabs: u64 = slabs.split_whitespace().nth(1)?.parse().ok()?;
    let bytes = slabs.saturating_mul(pages).saturating_mul(PAGE_BYTES);
    Some((name.to_owned(), Cache { bytes, objects, object_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_read_with_their_free_places() {
        let text = "slabinfo - version: 2.1\n\
            # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
            : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs>\n\
            TCP   79  130   2368   13    8 : tunables    0    0    0 : slabdata     10     10   0\n\
            odd   1 2 x 4 5 : tunables 0 0 0 : slabdata 1 1 0\n\
            short 1 2 3\n";
        let cache = Cache { bytes: 10 * 8 * 4096, objects: 79, object_bytes: 2368 };
        assert_eq!(parse(text), BTreeMap::from([("TCP".to_owned(), cache)]));
        assert_eq!(slab_bytes("MemFree: 1 kB\nSlab:  20 kB\n"), Some(20 * 1024));
        assert_eq!(slab_bytes("Slab: much"), None);
    }
}
