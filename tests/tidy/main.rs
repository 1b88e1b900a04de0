//! Style as a test: each rule of the house that a machine can check, with file, line and remedy.
//!
//! One module per kind of rule. A check is a function from sources to findings, so that it can be
//! tried on a small sample too: every module ends with samples that must be found and samples that
//! must not. The thresholds are errors, not aims. Rules that rustc and clippy can check are in
//! `Cargo.toml` and not here.

mod book;
mod code;
mod comments;
mod dialect;
mod documents;
mod layers;
mod reach;
mod size;
mod source;
mod tables;
mod tour;

use source::{Finding, Source, assert_clean, sources};

/// Runs a check of single files over some folders of the repository.
fn check_each(folders: &[&str], check: impl Fn(&Source) -> Vec<Finding>) {
    assert_clean(sources(folders).iter().flat_map(check).collect());
}

/// What the program is made of.
const PROGRAM: &[&str] = &["src", "crates"];

const ALL: &[&str] = &["src", "crates", "tests", "benches"];

#[test]
fn imports_go_downwards() {
    check_each(PROGRAM, layers::upward_imports);
    check_each(PROGRAM, layers::machine_imports);
}

#[test]
fn paths_begin_at_the_root() {
    check_each(PROGRAM, dialect::relative_paths);
}

#[test]
fn modules_stand_in_their_folders() {
    assert_clean(dialect::modules_beside_their_folder(&sources(PROGRAM)));
}

#[test]
fn files_are_short() {
    check_each(PROGRAM, size::long_file);
}

#[test]
fn functions_are_short() {
    check_each(ALL, size::long_functions);
}

#[test]
fn lines_are_short() {
    check_each(ALL, size::long_lines);
}

#[test]
fn every_file_opens_with_what_it_is() {
    check_each(ALL, comments::missing_opening);
}

#[test]
fn nothing_is_left_to_do() {
    check_each(ALL, comments::left_to_do);
    check_each(ALL, code::unfinished_macros);
}

#[test]
fn no_code_is_commented_out() {
    check_each(ALL, comments::commented_out_code);
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    check_each(PROGRAM, code::stray_unsafe);
}

#[test]
fn only_the_command_line_prints() {
    check_each(PROGRAM, code::stray_prints);
}

#[test]
fn the_leaves_do_no_io() {
    check_each(PROGRAM, code::io_in_leaves);
}

#[test]
fn files_have_telling_names() {
    check_each(ALL, code::vague_name);
}

#[test]
fn the_hot_path_can_be_walked() {
    assert_clean(tour::broken_stops(&sources(PROGRAM)));
}

#[test]
fn every_file_is_compiled() {
    assert_clean(reach::dead_files(&sources(PROGRAM)));
}

#[test]
fn the_reference_lists_every_option() {
    tables::assert_options();
    tables::assert_named_options();
}

#[test]
fn the_reference_lists_every_command_and_flag() {
    tables::assert_commands();
}

#[test]
fn the_reference_lists_every_metric() {
    tables::assert_metrics();
    documents::assert_metrics_documented();
}

#[test]
fn the_reference_lists_every_error_code() {
    documents::assert_error_codes_documented();
}

#[test]
fn the_documents_show_the_snippets_that_are_tested() {
    documents::assert_snippets_shown();
}

#[test]
fn readme_is_short() {
    book::assert_readme_short();
}

#[test]
fn every_page_is_in_the_index() {
    book::assert_index_complete();
}

#[test]
fn every_link_leads_somewhere() {
    book::assert_links_resolve();
}

#[test]
fn the_map_has_every_module() {
    documents::assert_map_complete();
}

#[test]
fn changelog_has_sections() {
    documents::assert_changelog();
}

#[test]
fn every_dependency_has_a_reason() {
    documents::assert_dependency_reasons();
}
