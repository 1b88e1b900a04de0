//! The tour of the hot path: six comments that lead a reader from a received message to the sends.
//!
//! Each stop must exist once, in the module that the design gives it. `//!` text may mention the
//! stops freely, as the map in `lib.rs` does.

use crate::source::{Finding, Source};

/// The module of each stop, in order.
const STOPS: &[&str] = &["ingest", "protocol", "mesh", "hub", "hub", "shard"];

pub(crate) fn broken_stops(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, module) in STOPS.iter().enumerate() {
        let mark = format!("HOT PATH {}/{}", index + 1, STOPS.len());
        let places: Vec<(&Source, usize)> =
            sources.iter().flat_map(|source| places_of(source, &mark)).collect();
        if places.is_empty() {
            findings.push(Finding {
                path: format!("src/{module}"),
                line: 1,
                what: format!("mark the place with a comment `// {mark}: …`"),
            });
        }
        for (source, line) in places.iter().skip(1) {
            let (first, first_line) = (&places[0].0.path, places[0].1);
            let what = format!("`{mark}` is at {first}:{first_line} already: keep one");
            findings.push(source.finding(*line, what));
        }
        for (source, line) in places.iter().filter(|(source, _)| source.module() != *module) {
            findings.push(source.finding(*line, format!("`{mark}` belongs in `{module}`")));
        }
    }
    findings
}

fn places_of<'sources>(source: &'sources Source, mark: &str) -> Vec<(&'sources Source, usize)> {
    let marked = source
        .comments()
        .into_iter()
        .filter(|comment| comment.text.contains(mark) && !comment.text.starts_with("//!"));
    marked.map(|comment| (source, comment.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tour(moved: &str, extra: &str) -> Vec<Source> {
        vec![
            Source::new("src/ingest/mod.rs", "// HOT PATH 1/6: receive"),
            Source::new("src/mesh/mod.rs", "// HOT PATH 3/6: route"),
            Source::new("src/protocol/mod.rs", "/// HOT PATH 2/6: decode\nfn f() {}"),
            Source::new("src/hub/mod.rs", "// HOT PATH 4/6: publish\n// HOT PATH 5/6: broadcast"),
            Source::new(moved, "// HOT PATH 6/6: flush"),
            Source::new("src/lib.rs", extra),
        ]
    }

    #[test]
    fn a_whole_tour_is_clean() {
        let found = broken_stops(&tour("src/shard/flush.rs", "//! HOT PATH 1/6 to HOT PATH 6/6"));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn missing_moved_and_doubled_stops_are_found() {
        assert_eq!(broken_stops(&[]).len(), 6);
        assert_eq!(broken_stops(&tour("src/mesh/mod.rs", "")).len(), 1);
        // Doubled, and in a module where it does not belong.
        assert_eq!(broken_stops(&tour("src/shard/flush.rs", "// HOT PATH 4/6")).len(), 2);
    }
}
