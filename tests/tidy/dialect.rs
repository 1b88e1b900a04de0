//! One dialect of paths and one shape of modules, so that nothing has to be read twice.

use std::collections::BTreeSet;

use crate::source::{Finding, Source, in_file};

/// Files that tests compile once more below another root, where `crate::` leads elsewhere.
const WITH_TWO_ROOTS: &[&str] = &["src/mesh/doze.rs"];

/// Paths that begin at `super` or `self` outside the tests of a module: `crate::` says the same
/// wherever a reader is, and stays right when the file moves.
pub(crate) fn relative_paths(source: &Source) -> Vec<Finding> {
    if source.is_unit_test() || WITH_TWO_ROOTS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let paths = source.name_paths().into_iter().filter(|path| path.inline_depth == 0);
    let relative = paths.filter(|path| matches!(path.names[0].as_str(), "super" | "self"));
    let finding = |line| source.finding(line, "begin the path with `crate::`");
    relative.map(|path| finding(path.line)).collect()
}

/// A module with files of its own stands in its folder, as `mod.rs`.
pub(crate) fn modules_beside_their_folder(sources: &[Source]) -> Vec<Finding> {
    let folders: BTreeSet<&str> =
        sources.iter().filter_map(|source| Some(source.path.rsplit_once('/')?.0)).collect();
    let beside = sources.iter().filter_map(|source| {
        let folder = source.path.strip_suffix(".rs")?;
        folders
            .contains(folder)
            .then(|| in_file(&source.path, 1, format!("move it to {folder}/mod.rs")))
    });
    beside.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        relative_paths(&Source::new(path, text)).len()
    }

    #[test]
    fn relative_paths_are_found_outside_tests() {
        assert_eq!(count("src/hub/log.rs", "use super::rows::Rows;"), 1);
        assert_eq!(count("src/hub/mod.rs", "pub use self::rows::Rows;"), 1);
        assert_eq!(count("src/hub/log.rs", "fn f() { super::rows::g() }"), 1);
        assert_eq!(count("crates/ws/src/mask.rs", "use super::Opcode;"), 1);
        assert_eq!(
            count("src/hub/log.rs", "mod tests { use super::*; use super::rows::Rows; }"),
            0
        );
        assert_eq!(count("src/hub/log/tests.rs", "use super::*; use super::rows::Rows;"), 0);
        assert_eq!(count("src/hub/log.rs", "pub(super) use crate::hub::rows::{self, Rows};"), 0);
    }

    #[test]
    fn a_module_beside_its_folder_is_found() {
        let source = |path| Source::new(path, "");
        let beside = [source("src/hub/log.rs"), source("src/hub/log/tests.rs")];
        assert_eq!(modules_beside_their_folder(&beside).len(), 1);
        let inside = [source("src/hub/log/mod.rs"), source("src/hub/log/tests.rs")];
        assert_eq!(modules_beside_their_folder(&inside).len(), 0);
    }
}
