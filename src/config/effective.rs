//! The effective configuration: every option with the value that it has after all sources, and
//! where that value was written.
//!
//! What is printed is a configuration file again, so that it can be kept, compared and used. Only
//! secrets are left out: of those it says that they are set, and where.

use crate::config::error::Origin;
use crate::config::group::{Described, Group as _, Reader, Rendered};
use crate::config::table::Config;

/// Where the origin stands in a line, unless the value is longer.
const ORIGIN_COLUMN: usize = 44;

/// Everything that `reader` read into `config`.
pub(super) fn render(config: &Config, reader: &Reader) -> String {
    let mut page = Page { text: String::from(INTRODUCTION), reader };
    for (section, _, options) in config.describe() {
        if section == "namespaces" {
            for (name, rules) in &config.namespaces.0 {
                page.table(&format!("namespaces.{}", key(name)), &rules.describe(), |option| {
                    format!("namespaces.{name}.{option}")
                });
            }
            continue;
        }
        page.table(section, &options, |option| format!("{section}.{option}"));
        for option in &options {
            if let Rendered::Tables(tables) = &option.value {
                page.list(&format!("{section}.{}", option.key), tables);
            }
        }
    }
    page.text
}

const INTRODUCTION: &str = "\
# The effective configuration. Behind each value stands where it was written: nowhere (default), a
# line of the file, a variable or a flag. Secrets are not shown.
";

struct Page<'a> {
    text: String,
    reader: &'a Reader,
}

impl Page<'_> {
    fn table(&mut self, name: &str, options: &[Described], path: impl Fn(&str) -> String) {
        self.text.push_str(&format!("\n[{name}]\n"));
        for option in options {
            self.option(option, &path(option.key));
        }
    }

    fn list(&mut self, name: &str, tables: &[Vec<Described>]) {
        for (index, options) in tables.iter().enumerate() {
            self.text.push_str(&format!("\n[[{name}]]\n"));
            for option in options {
                let path = format!("{name}[{index}].{}", option.key);
                self.option(option, &path);
            }
            for option in options {
                if let Rendered::Table(options) = &option.value {
                    let place = format!("{name}[{index}].{}", option.key);
                    self.table(&format!("{name}.{}", option.key), options, |option| {
                        format!("{place}.{option}")
                    });
                }
            }
        }
    }

    fn option(&mut self, option: &Described, path: &str) {
        let origin = self.reader.origin_of(path);
        let line = match &option.value {
            Rendered::Inline(value) => format!("{} = {value}", option.key),
            Rendered::Absent if origin == Origin::Default => format!("# {} is not set", option.key),
            Rendered::Absent => format!("# {} is set and not shown", option.key),
            Rendered::Tables(tables) if tables.is_empty() => format!("{} = []", option.key),
            Rendered::AbsentTable(_) | Rendered::Table(_) | Rendered::Tables(_) => return,
        };
        self.text.push_str(&format!("{line:ORIGIN_COLUMN$} # {origin}\n"));
    }
}

/// A name as the key of a table: one with a dot needs quotes.
fn key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}
