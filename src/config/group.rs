//! A group of options: the macro that makes a section of `table` into a struct, its defaults, its
//! reader and its documentation, and the reader's state.
//!
//! Invariant: an option exists in all four or in none, because one declaration makes them all.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::config::codec::Codec;
use crate::config::error::{Error, Origin};
use crate::config::node::{Node, Value};

/// State of reading: the mistakes so far and where each option was last set.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<Error>,
    pub(super) origins: HashMap<String, Origin>,
    path: String,
}

impl Reader {
    /// The key that is being read, with its section.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Runs `read` with `key` appended to the path.
    pub(super) fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 && !key.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(key);
        let result = read(self);
        self.path.truncate(length);
        result
    }

    /// Records that the value at the path is not what the option takes.
    pub(super) fn reject(&mut self, node: &Node, found: String, expected: String) {
        let (key, origin) = (self.path.clone(), node.origin.clone());
        self.errors.push(Error::BadValue { key, origin, found, expected });
    }

    /// Records what is wrong with a value that may stand in a file.
    pub(super) fn report(&mut self, node: &Node, flaw: Flaw, expected: String) {
        match flaw {
            Flaw::Found(found) => self.reject(node, found, expected),
            Flaw::Unreadable(path, reason) => {
                let (key, origin) = (self.path.clone(), node.origin.clone());
                self.errors.push(Error::UnreadableValue { key, origin, path, reason });
            }
        }
    }

    /// Records a key at the path that no option has.
    pub(super) fn unknown(&mut self, node: &Node, nearest: Option<String>) {
        let (key, origin) = (self.path.clone(), node.origin.clone());
        self.errors.push(Error::UnknownKey { key, origin, nearest });
    }

    /// True exactly when the value of the option, or one inside it, was rejected.
    pub(super) fn has_rejected(&self, option: &str) -> bool {
        self.errors.iter().any(|error| match error {
            Error::BadValue { key, .. } | Error::UnreadableValue { key, .. } => {
                key.starts_with(option)
            }
            _ => false,
        })
    }

    /// Where the option was set.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }
}

/// What is wrong with a value that may stand in a file.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It is this and not what the option takes.
    Found(String),
    /// The file cannot be read, and why.
    Unreadable(PathBuf, String),
}

/// A struct of options that `options!` made.
pub(super) trait Group: Default {
    /// The keys, in order.
    const KEYS: &'static [&'static str];
    /// The keys without which the group means nothing.
    const REQUIRED: &'static [&'static str];
    /// What the group is about.
    const ABOUT: &'static str;

    /// Reads one option; false exactly when the group has no such key.
    fn read_key(&mut self, key: &str, node: &Node, reader: &mut Reader) -> bool;

    /// Every option with its documentation and its present value.
    fn describe(&self) -> Vec<Described>;
}

/// One option in words.
#[derive(PartialEq)]
pub(super) struct Described {
    pub(super) key: &'static str,
    pub(super) doc: &'static str,
    pub(super) change: Change,
    /// True exactly when there is no default.
    pub(super) is_required: bool,
    /// Form, unit and limits.
    pub(super) expected: String,
    pub(super) value: Rendered,
}

/// When an option can change.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Change {
    /// While the edge runs: shards can be told anew, and whoever is connected stays.
    Live,
    /// With a restart.
    Restart,
}

impl Change {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// When an option can change, as it stands in front of its key.
macro_rules! change {
    (live) => {
        $crate::config::group::Change::Live
    };
    (restart) => {
        $crate::config::group::Change::Restart
    };
}
pub(super) use change;

/// The present value of an option as TOML.
#[derive(PartialEq)]
pub(super) enum Rendered {
    /// Fits behind the equals sign.
    Inline(String),
    /// Not set, and there is no default.
    Absent,
    /// A table that is not set, by what it would contain.
    AbsentTable(Vec<Described>),
    /// A table.
    Table(Vec<Described>),
    /// A list of tables.
    Tables(Vec<Vec<Described>>),
}

impl<T: Group> GroupReader for T {}

/// Reading of whole tables, the same for every group.
pub(super) trait GroupReader: Group {
    /// Reads all entries of a table; what is unknown or wrong goes to the reader.
    fn read_table(&mut self, node: &Node, reader: &mut Reader) {
        let Value::Table(entries) = &node.value else {
            // A mistyped table may hold secrets, so only its kind is shown.
            return reader.reject(node, node.describe(true), "a table of options".to_owned());
        };
        for (key, node) in entries {
            reader.within(key, |reader| {
                if !self.read_key(key, node, reader) {
                    let nearest = nearest(key, Self::KEYS.iter().copied());
                    let parent = reader.path().strip_suffix(key.as_str()).unwrap_or_default();
                    let nearest = nearest.map(|name| format!("{parent}{name}"));
                    reader.unknown(node, nearest);
                }
            });
        }
        for option in self.describe().iter().filter(|option| option.is_required) {
            if !entries.iter().any(|(key, _)| key == option.key) {
                reader.errors.push(Error::Missing {
                    key: format!("{}.{}", reader.path(), option.key),
                    origin: node.origin.clone(),
                    remedy: format!("write {} = {}", option.key, option.expected),
                });
            }
        }
    }
}

/// Checks the limits of an option that was just read.
pub(super) fn check_limits<C: Codec<T>, T: PartialOrd>(
    value: &T,
    limits: &std::ops::RangeInclusive<T>,
    (node, reader): (&Node, &mut Reader),
) -> bool {
    let inside = limits.contains(value);
    if !inside {
        reader.reject(node, node.describe(C::SECRET), expected::<C, T>(Some(limits)));
    }
    inside
}

/// The form of an option and its limits in words.
pub(super) fn expected<C: Codec<T>, T>(limits: Option<&std::ops::RangeInclusive<T>>) -> String {
    let form = C::expected();
    let Some(limits) = limits else { return form };
    match (C::render(limits.start()), C::render(limits.end())) {
        (Rendered::Inline(start), Rendered::Inline(end)) => format!("{form}, {start} to {end}"),
        _ => form,
    }
}

/// The known name most like `name`, if any is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    // The comparison is quadratic, so only lengths that can be a slip of a finger are compared.
    if name.len() > 80 {
        return None;
    }
    let name = name.to_lowercase();
    let score = |known: &str| {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let same_last = if last(known) == last(&name) { 0.85 } else { 0.0 };
        strsim::normalized_damerau_levenshtein(&name, known).max(same_last)
    };
    known
        .map(|known| (score(known), known))
        .filter(|(score, _)| *score >= 0.55)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}

/// Declares a group of options, each once.
macro_rules! options {
    ($(#[doc = $about:literal])+ $name:ident $(requires [$($required:ident),+])? {
        $($(#[doc = $doc:literal])+
        $change:ident $key:ident: $type:ty as $codec:ty = $default:expr $(, $limits:expr)?;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        $crate::config::group::group! {
            $(#[doc = $about])+
            $name $(requires [$($required),+])? {
                $($(#[doc = $doc])+ $change $key: $type as $codec $(, $limits)?;)+
            }
        }
    };
}
pub(super) use options;

/// Makes a group of a struct, of which each field is an option.
macro_rules! group {
    ($(#[doc = $about:literal])+ $name:ident $(requires [$($required:ident),+])? {
        $($(#[doc = $doc:literal])+
        $change:ident $key:ident: $type:ty as $codec:ty $(, $limits:expr)?;)+
    }) => {
        impl $crate::config::group::Group for $name {
            const KEYS: &'static [&'static str] = &[$(stringify!($key)),+];
            const REQUIRED: &'static [&'static str] = &[$($(stringify!($required)),+)?];
            const ABOUT: &'static str = concat!($($about, "\n"),+);

            fn read_key(
                &mut self,
                key: &str,
                node: &$crate::config::node::Node,
                reader: &mut $crate::config::group::Reader,
            ) -> bool {
                use $crate::config::codec::Codec;
                match key {
                    $(stringify!($key) => {
                        reader.origins.insert(reader.path().to_owned(), node.origin.clone());
                        let Some(value) = <$codec as Codec<$type>>::read(node, reader) else {
                            return true;
                        };
                        $(if !$crate::config::group::check_limits::<$codec, $type>(
                            &value, &$limits, (node, reader),
                        ) {
                            return true;
                        })?
                        self.$key = value;
                    })+
                    _ => return false,
                }
                true
            }

            fn describe(&self) -> Vec<$crate::config::group::Described> {
                use $crate::config::codec::Codec;
                // A field that is no option does not compile.
                let Self { $($key),+ } = self;
                vec![$({
                    #[allow(unused_mut, unused_assignments, reason = "not every option has limits")]
                    let mut limits: Option<std::ops::RangeInclusive<$type>> = None;
                    $(limits = Some($limits);)?
                    $crate::config::group::Described {
                        key: stringify!($key),
                        is_required: Self::REQUIRED.contains(&stringify!($key)),
                        doc: concat!($($doc, "\n"),+),
                        change: $crate::config::group::change!($change),
                        expected: $crate::config::group::expected::<$codec, $type>(limits.as_ref()),
                        value: <$codec as Codec<$type>>::render($key),
                    }
                }),+]
            }
        }
    };
}
pub(super) use group;
