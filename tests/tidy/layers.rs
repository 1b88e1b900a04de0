//! Imports go downwards only, so that each layer can be read without those above it.
//!
//! A file may name modules of lower layers and its own module. Modules of the same layer are
//! strangers to each other but for the pairs in `ALLOWED_PAIRS`, each with its reason. Both
//! `crate::` and `super::` paths count, wherever they stand, and `tidegate_ws::` is the module
//! `ws`, which is a crate below `crates`.

use crate::source::{Finding, NamePath, Source};

/// The layers from top to bottom. `lib.rs` declares all modules and belongs to none.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["edge"],
    &["api", "keys", "ingest", "load"],
    &["shard"],
    &["mesh", "hub"],
    &["settings"],
    &["protocol", "ws", "http", "wheel", "doctor", "log"],
    &["config"],
    &["token"],
    &["model"],
    &["metrics", "limits", "sys"],
];

/// Imports inside one layer: from, to, and why.
const ALLOWED_PAIRS: &[(&str, &str, &str)] = &[
    ("api", "keys", "the keeper of keys runs on the control plane's runtime"),
    ("hub", "mesh", "a hub's input and output are the messages of links"),
    ("protocol", "ws", "a publication is encoded as one frame, once, where it is decoded"),
];

/// The machines of the hub, each in a folder of its own with what it owns.
const MACHINES: &[&str] = &["home", "delivery"];

/// What machines may name of the hub beside themselves: what all of them work with.
const SHARED: &[&str] = &[
    "context",
    "named",
    "ranks",
    "rows",
    "Cause",
    "Effect",
    "Place",
    "Ranked",
    "Ranks",
    "SIZES",
    "Site",
    "size_rank",
];

/// Paths that lead out of the file's module sideways or upwards.
pub(crate) fn upward_imports(source: &Source) -> Vec<Finding> {
    let module = source.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some(layer) = layer_of(module) else {
        return vec![source.finding(1, format!("{module} has no layer: add it to LAYERS"))];
    };
    let depth = source.module_path().len();
    let mut findings = Vec::new();
    for path in source.name_paths() {
        let Some(target) = target_of(source, &path, depth).filter(|target| *target != module)
        else {
            continue;
        };
        let allowed = ALLOWED_PAIRS.iter().any(|(from, to, _)| (*from, *to) == (module, target));
        let what = match layer_of(target) {
            None => format!("crate::{target} is not a module of LAYERS: name the module it is in"),
            Some(lower) if lower > layer || allowed => continue,
            Some(_) => format!(
                "{module} may not use {target}, which is not below it: pass the value in, \
                 or move the type down"
            ),
        };
        findings.push(source.finding(path.line, what));
    }
    findings
}

/// Paths from a machine of the hub to the hub or to another machine. Tests may use all of it.
pub(crate) fn machine_imports(source: &Source) -> Vec<Finding> {
    let place = source.module_path();
    let (Some(&"hub"), Some(machine)) = (place.first(), place.get(1)) else { return Vec::new() };
    if !MACHINES.contains(machine) || source.is_unit_test() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for path in source.name_paths().iter().filter(|path| path.inline_depth == 0) {
        let supers = path.names.iter().take_while(|name| *name == "super").count();
        let is_of_hub = path.names[0] == "crate" && path.names.get(1).is_some_and(|it| it == "hub");
        let target = if is_of_hub {
            path.names.get(2)
        } else if supers > 0 && supers == place.len() - 1 {
            path.names.get(supers)
        } else {
            continue;
        };
        let is_allowed = |name: &String| name == machine || SHARED.contains(&name.as_str());
        // `pub(in crate::hub)` leads nowhere.
        if let Some(name) = target.filter(|&name| !is_allowed(name)) {
            let what = format!("{machine} may not use {name}: return what is to be done");
            findings.push(source.finding(path.line, what));
        }
    }
    findings
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The module that a path leads to, if it goes through the root or into another crate of ours.
fn target_of<'path>(source: &Source, path: &'path NamePath, depth: usize) -> Option<&'path str> {
    if let Some(module) = path.names[0].strip_prefix("tidegate_") {
        return Some(module);
    }
    let supers = path.names.iter().take_while(|name| *name == "super").count();
    let root_length = match path.names[0].as_str() {
        "crate" if source.is_in_crate() => return None,
        "crate" | "tidegate" => 1,
        "super" if supers == depth + path.inline_depth => supers,
        _ => return None,
    };
    path.names.get(root_length).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        upward_imports(&Source::new(path, text)).len()
    }

    #[test]
    fn upward_and_sideways_imports_are_found() {
        assert_eq!(count("src/http/uri.rs", "use crate::hub::Hub;"), 1);
        assert_eq!(count("src/http/uri.rs", "use crate::{limits::A, shard::B, wheel::C};"), 2);
        assert_eq!(count("src/http/uri.rs", "use super::super::hub::Hub;"), 1);
        assert_eq!(count("src/http/mod.rs", "mod tests { use super::super::hub::Hub; }"), 1);
        assert_eq!(count("src/http/uri.rs", "fn f() { x!(crate::hub::f()) }"), 1);
        assert_eq!(count("src/api/mod.rs", "use crate::ingest::Router;"), 1);
        assert_eq!(count("src/mesh/mod.rs", "use crate::hub::Hub;"), 1);
        assert_eq!(count("src/model/push.rs", "use crate::protocol::encode;"), 1);
        assert_eq!(count("src/model/lack.rs", "use crate::config::Config;"), 1);
        assert_eq!(count("src/http/uri.rs", "use crate::Frame;"), 1);
        assert_eq!(count("src/surprise.rs", ""), 1);
        assert_eq!(count("crates/surprise/src/lib.rs", ""), 1);
        assert_eq!(count("crates/ws/src/frame.rs", "use tidegate_doctor::Plan;"), 1);
        assert_eq!(count("crates/doctor/src/lib.rs", "use tidegate_load::{Plan, run};"), 2);
        assert_eq!(count("crates/sys/src/lib.rs", "use tidegate::config::Config;"), 1);
        assert_eq!(count("src/http/uri.rs", "use tidegate_ws::Opcode;"), 1);
    }

    #[test]
    fn downward_and_allowed_imports_are_not() {
        assert_eq!(count("src/hub/mod.rs", "use crate::{hub::log, mesh, ws::Opcode};"), 0);
        assert_eq!(count("src/http/uri.rs", "use super::Opcode; use super::mask::unmask;"), 0);
        assert_eq!(count("src/http/uri.rs", "pub(crate) fn f() {} // crate::hub"), 0);
        assert_eq!(count("src/protocol/push.rs", "use crate::ws::Opcode;"), 0);
        assert_eq!(count("crates/ws/src/frame.rs", "use crate::Error;"), 0);
        assert_eq!(count("crates/load/src/plan.rs", "use tidegate_doctor::{Plan, Tree};"), 0);
        assert_eq!(count("src/main.rs", "use tidegate::{shard, config::Config};"), 0);
    }

    #[test]
    fn machines_of_the_hub_are_strangers() {
        let count = |path: &str, text: &str| machine_imports(&Source::new(path, text)).len();
        assert_eq!(count("src/hub/home/roll.rs", "use crate::hub::{Hub, log::Log, rows::Id};"), 2);
        assert_eq!(count("src/hub/home/roll.rs", "use super::super::channel::Channel;"), 1);
        assert_eq!(count("src/hub/home/mod.rs", "use super::channel::Channel;"), 1);
        assert_eq!(count("src/hub/home/roll.rs", "use super::Record; use crate::hub::home::X;"), 0);
        assert_eq!(count("src/hub/home/roll.rs", "mod tests { use crate::hub::Hub; }"), 0);
        assert_eq!(count("src/hub/publish.rs", "use crate::hub::home::Record;"), 0);
    }

    #[test]
    fn every_allowed_pair_is_in_one_layer() {
        for (from, to, reason) in ALLOWED_PAIRS {
            assert_eq!(layer_of(from), layer_of(to), "{from} to {to} needs no exception");
            assert!(!reason.is_empty());
        }
    }
}
