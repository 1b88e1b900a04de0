//! The sources of a configuration and the order in which they win: file, environment, flags.
//!
//! Variables are named `TIDEGATE_SECTION__KEY`. Other variables with the prefix are left alone,
//! because a container platform sets some for a service of this name (`TIDEGATE_PORT`); only one
//! that would be an option but for its single underscore is a mistake.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::error::{Error, Origin};
use crate::config::group::{Reader, nearest};
use crate::config::node::{self, Node};
use crate::config::table::Config;

/// Longest configuration file: a hundred times what anybody writes, and read in no time.
const FILE_BYTES_MAX: u64 = 1 << 20;

const PREFIX: &str = "TIDEGATE_";

/// The variable that names the file; the command line reads it.
const FILE_VARIABLE: &str = "TIDEGATE_CONFIG";

/// Everything that can set an option.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if any.
    pub file: Option<PathBuf>,
    /// The environment, all of it.
    pub variables: Vec<(OsString, OsString)>,
    /// Options from the command line, in its order.
    pub settings: Vec<Setting>,
    /// Whether `--dev` was given.
    pub dev: bool,
}

/// One option from the command line.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The flag as it was written, for error messages.
    pub flag: String,
    /// The option, `section.key`.
    pub key: String,
    /// Its value, as in a file; strings need no quotes.
    pub value: String,
}

impl Sources {
    pub(super) fn read_into(&self, config: &mut Config, reader: &mut Reader) {
        if let Some(path) = &self.file {
            read_file(path, config, reader);
        }
        for (name, value) in &self.variables {
            read_variable((name, value), config, reader);
        }
        for setting in &self.settings {
            let origin = Origin::Flag(setting.flag.clone());
            read_text(&setting.key, &setting.value, origin, (config, reader));
        }
    }
}

fn read_file(path: &Path, config: &mut Config, reader: &mut Reader) {
    let unreadable = |reason| Error::Unreadable { path: path.to_owned(), reason };
    let bytes = match read_bounded(path) {
        Ok(bytes) if bytes.len() as u64 <= FILE_BYTES_MAX => bytes,
        Ok(_) => {
            let reason = format!("longer than {} MiB, no configuration is", FILE_BYTES_MAX >> 20);
            return reader.errors.push(unreadable(reason));
        }
        Err(error) => {
            let remedy = "check the path and who may read it";
            return reader.errors.push(unreadable(format!("{error}; {remedy}")));
        }
    };
    let path = Arc::new(path.to_owned());
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let reason = "not UTF-8 from here on".to_owned();
            return reader
                .errors
                .push(Error::Syntax { origin: Origin::File { path, line }, reason });
        }
    };
    match node::parse_file(text, &path) {
        Ok(sections) => {
            for (name, node) in &sections {
                config.read_section(name, node, reader);
            }
        }
        Err(errors) => reader.errors.extend(errors),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_variable((name, value): (&OsString, &OsString), config: &mut Config, reader: &mut Reader) {
    let Some(name) = name.to_str().filter(|name| *name != FILE_VARIABLE) else { return };
    let Some(rest) = name.strip_prefix(PREFIX) else { return };
    let origin = Origin::Variable(name.to_owned());
    let Some((section, key)) = rest.split_once("__") else {
        let flat = rest.to_lowercase();
        let same = Config::keys().into_iter().find(|key| key.replace('.', "_") == flat);
        if let Some(key) = same {
            let nearest = Some(format!("{PREFIX}{}", key.to_uppercase().replace('.', "__")));
            reader.errors.push(Error::UnknownKey { key: flat, origin, nearest });
        }
        return;
    };
    // TIDEGATE_NAMESPACES__CHAT__HISTORY_SIZE has a third level.
    let key = key.to_lowercase().replace("__", ".");
    let key = format!("{}.{key}", section.to_lowercase());
    match value.to_str() {
        Some(value) => read_text(&key, value, origin, (config, reader)),
        None => reader.errors.push(Error::BadValue {
            key,
            origin,
            found: "bytes that are not UTF-8".to_owned(),
            expected: "text".to_owned(),
        }),
    }
}

fn read_text(key: &str, value: &str, origin: Origin, (config, reader): (&mut Config, &mut Reader)) {
    let node = Node::from_text(value, origin);
    let known = key.split_once('.').is_some_and(|parts| config.read_option(parts, &node, reader));
    if !known {
        let keys = Config::keys();
        let nearest = nearest(key, keys.iter().map(String::as_str));
        let (key, origin) = (key.to_owned(), node.origin);
        reader.errors.push(Error::UnknownKey { key, origin, nearest });
    }
}
