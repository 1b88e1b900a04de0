//! The defaults as a commented TOML file, printed from the table that the reader uses, so that
//! the two cannot disagree.

use crate::config::group::{Described, Rendered};
use crate::config::table::Config;

/// All options with documentation and defaults, ready to be edited. Options of two sections that
/// are the same are documented in the first.
#[must_use]
pub fn template() -> String {
    let mut out = String::from(INTRODUCTION);
    let sections = Config::default().describe();
    for (index, (section, about, options)) in sections.iter().enumerate() {
        out.push('\n');
        comment(&mut out, about, "# ");
        out.push_str(&format!("[{section}]\n"));
        let (tables, plain): (Vec<_>, Vec<_>) =
            options.iter().partition(|option| matches!(option.value, Rendered::Tables(_)));
        let is_documented = sections[..index].iter().any(|(.., earlier)| earlier == options);
        for option in plain {
            match &option.value {
                Rendered::Inline(value) if is_documented => {
                    out.push_str(&format!("{} = {value}\n", option.key));
                }
                _ if is_documented => out.push_str(&format!("# {} = \"\"\n", option.key)),
                _ => print_option(&mut out, option, ""),
            }
        }
        for option in tables {
            print_tables(&mut out, &format!("{section}.{}", option.key), option);
        }
    }
    out
}

const INTRODUCTION: &str = "\
# tidegate: all options with their defaults. An option that is left out has its default.
# This file is read first, then variables (TIDEGATE_SECTION__KEY=value), then flags
# (--set section.key=value); the last one wins. Sizes may be written as plain bytes too.
# Check an edited file with `tidegate check-config FILE`. It is read at the start; \"live\" is a
# change that running shards can take, \"restart\" one that they cannot.
";

fn print_option(out: &mut String, option: &Described, prefix: &str) {
    let comments = format!("{prefix}# ");
    comment(out, option.doc, &comments);
    let expected = &option.expected;
    let change = format!("Change: {}.", option.change.word());
    match &option.value {
        Rendered::Inline(value) => {
            let default = match option.is_required {
                true => "must be set".to_owned(),
                false => format!("default {value}"),
            };
            comment(out, &format!("Takes {expected}; {default}."), &comments);
            comment(out, &change, &comments);
            out.push_str(&format!("{prefix}{} = {value}\n", option.key));
        }
        _ => {
            comment(out, &format!("Takes {expected}; not set by default."), &comments);
            comment(out, &change, &comments);
            out.push_str(&format!("# {} = \"\"\n", option.key));
        }
    }
}

/// A list of tables: the first with all documentation, the others with what differs from it.
fn print_tables(out: &mut String, path: &str, list: &Described) {
    let Rendered::Tables(tables) = &list.value else { return };
    out.push('\n');
    comment(out, list.doc, "# ");
    for (index, table) in tables.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&format!("[[{path}]]\n"));
        for (option, first) in table.iter().zip(&tables[0]) {
            match &option.value {
                Rendered::AbsentTable(options) if index == 0 => {
                    comment(out, option.doc, "# ");
                    out.push_str(&format!("# [{path}.{}]\n", option.key));
                    for option in options {
                        print_option(out, option, "# ");
                    }
                }
                _ if index == 0 => print_option(out, option, ""),
                Rendered::Inline(value) if option.value != first.value => {
                    out.push_str(&format!("{} = {value}\n", option.key));
                }
                _ => {}
            }
        }
    }
}

/// Documentation lines as comments.
fn comment(out: &mut String, text: &str, prefix: &str) {
    for line in text.lines() {
        out.push_str(&format!("{prefix}{}\n", line.trim()));
    }
}
