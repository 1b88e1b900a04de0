//! Every file of the program is reached from `main.rs` or the `lib.rs` of its crate through `mod`
//! lines. A file that is not compiled is not tested either, and looks like code that is.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Finding, Source};

/// True for files that cargo begins with.
fn is_root(path: &str) -> bool {
    match path.split('/').collect::<Vec<_>>()[..] {
        ["src", name] => matches!(name, "lib.rs" | "main.rs"),
        ["crates", _, "src", name] => name == "lib.rs",
        _ => false,
    }
}

pub(crate) fn dead_files(sources: &[Source]) -> Vec<Finding> {
    let by_path: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let mut reached = BTreeSet::new();
    let roots = by_path.keys().filter(|path| is_root(path));
    let mut open: Vec<String> = roots.map(|root| (*root).to_owned()).collect();
    while let Some(path) = open.pop() {
        let Some(source) = by_path.get(path.as_str()) else { continue };
        if reached.insert(path) {
            declared_modules(&source.syntax().items, &children_folder(&source.path), &mut open);
        }
    }
    sources
        .iter()
        .filter(|source| !reached.contains(&source.path))
        .map(|source| source.finding(1, "no `mod` line leads here: declare it or delete it"))
        .collect()
}

/// The folder in which the modules that a file declares are looked for.
fn children_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').expect("every source lies in a folder");
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    }
}

/// Adds both files that each `mod` line could mean.
fn declared_modules(items: &[syn::Item], folder: &str, files: &mut Vec<String>) {
    for item in items {
        let syn::Item::Mod(module) = item else { continue };
        let below = format!("{folder}/{}", module.ident);
        if let Some((_, inner)) = &module.content {
            declared_modules(inner, &below, files);
        } else {
            files.push(format!("{below}.rs"));
            files.push(format!("{below}/mod.rs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_mod_line_is_found() {
        let sources = [
            Source::new("src/lib.rs", "pub mod ws;"),
            Source::new("src/main.rs", "mod cli;"),
            Source::new("src/cli.rs", ""),
            Source::new("src/ws/mod.rs", "mod mask; mod inline { mod deep; }"),
            Source::new("src/ws/mask.rs", "#[cfg(test)] mod tests;"),
            Source::new("src/ws/mask/tests.rs", ""),
            Source::new("src/ws/inline/deep.rs", ""),
            Source::new("src/ws/old.rs", "mod older;"),
            Source::new("src/ws/old/older.rs", ""),
            Source::new("crates/sys/src/lib.rs", "mod ring;"),
            Source::new("crates/sys/src/ring.rs", ""),
            Source::new("crates/sys/src/old.rs", ""),
            Source::new("crates/sys/src/old/lib.rs", ""),
        ];
        let found: Vec<_> = dead_files(&sources).into_iter().map(|dead| dead.path).collect();
        let dead = [
            "src/ws/old.rs",
            "src/ws/old/older.rs",
            "crates/sys/src/old.rs",
            "crates/sys/src/old/lib.rs",
        ];
        assert_eq!(found, dead);
    }
}
