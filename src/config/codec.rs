//! Codecs: how the text of an option becomes a value of its type and back.
//!
//! A codec is a marker type, so that two options of type `usize` can be a plain number and a size
//! with units. Every codec says in words what it takes; that text is both the error message and
//! the template's comment.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::group::{Reader, Rendered};
use crate::config::node::{Node, Value};
use crate::config::unit;

/// Reads and writes options of type `T`.
pub(super) trait Codec<T> {
    /// True when a rejected value must not be shown.
    const SECRET: bool = false;

    /// The value, or `None` when it is not what the option takes.
    fn parse(node: &Node) -> Option<T>;

    /// What the option takes, in words.
    fn expected() -> String;

    /// The value as TOML.
    fn render(value: &T) -> Rendered;

    /// Parses, and records the mistake when that fails.
    fn read(node: &Node, reader: &mut Reader) -> Option<T> {
        let value = Self::parse(node);
        if value.is_none() {
            reader.reject(node, node.describe(Self::SECRET), Self::expected());
        }
        value
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Codec<bool> for Flag {
    fn parse(node: &Node) -> Option<bool> {
        match node.value {
            Value::Boolean(flag) => Some(flag),
            _ => None,
        }
    }

    fn expected() -> String {
        "true or false".to_owned()
    }

    fn render(value: &bool) -> Rendered {
        Rendered::Inline(value.to_string())
    }
}

/// A plain number of any unsigned type.
pub(super) struct Number;

impl<T: TryFrom<i128> + ToString> Codec<T> for Number {
    fn parse(node: &Node) -> Option<T> {
        match node.value {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    fn expected() -> String {
        "a whole number".to_owned()
    }

    fn render(value: &T) -> Rendered {
        Rendered::Inline(value.to_string())
    }
}

/// A number of bytes, with or without a unit.
pub(super) struct Size;

impl Codec<usize> for Size {
    fn parse(node: &Node) -> Option<usize> {
        match &node.value {
            Value::Integer(bytes) => usize::try_from(*bytes).ok(),
            Value::Text(text) => usize::try_from(unit::parse_size(text)?).ok(),
            _ => None,
        }
    }

    fn expected() -> String {
        "a size in B, KiB, MiB or GiB such as \"64KiB\"".to_owned()
    }

    fn render(value: &usize) -> Rendered {
        Rendered::Inline(format!("\"{}\"", unit::render_size(*value as u64)))
    }
}

/// A duration with its unit.
pub(super) struct Time;

impl Codec<Duration> for Time {
    fn parse(node: &Node) -> Option<Duration> {
        match &node.value {
            Value::Text(text) => unit::parse_time(text),
            _ => None,
        }
    }

    fn expected() -> String {
        "a duration in ms, s, m, h or d such as \"25s\"".to_owned()
    }

    fn render(value: &Duration) -> Rendered {
        Rendered::Inline(format!("\"{}\"", unit::render_time(*value)))
    }
}

/// A duration in whole seconds. What lies between two is rounded up; less than one is none, which
/// limits that begin at one refuse.
pub(super) struct Seconds;

impl Codec<u32> for Seconds {
    fn parse(node: &Node) -> Option<u32> {
        let time = Time::parse(node)?;
        let seconds = match time.as_secs() {
            0 => 0,
            whole => whole + u64::from(time.subsec_nanos() > 0),
        };
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    fn expected() -> String {
        Time::expected()
    }

    fn render(value: &u32) -> Rendered {
        Time::render(&Duration::from_secs((*value).into()))
    }
}

/// An address to listen on.
pub(super) struct Address;

impl Codec<SocketAddr> for Address {
    fn parse(node: &Node) -> Option<SocketAddr> {
        match &node.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn expected() -> String {
        "an IP address and port such as \"127.0.0.1:8000\"".to_owned()
    }

    fn render(value: &SocketAddr) -> Rendered {
        Rendered::Inline(format!("\"{value}\""))
    }
}

/// A list of strings; in variables and flags also words with commas between them.
pub(super) struct Words;

impl Codec<Vec<String>> for Words {
    fn parse(node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::Array(nodes) => nodes
                .iter()
                .map(|node| match &node.value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ if node.is_from_text() => {
                Some(node.text()?.split(',').map(|word| word.trim().to_owned()).collect())
            }
            _ => None,
        }
    }

    fn expected() -> String {
        "a list of strings".to_owned()
    }

    fn render(value: &Vec<String>) -> Rendered {
        let words: Vec<_> = value.iter().map(|word| quote(word)).collect();
        Rendered::Inline(format!("[{}]", words.join(", ")))
    }
}

/// The close code of a drain.
pub(super) struct DrainCode;

impl Codec<u16> for DrainCode {
    fn parse(node: &Node) -> Option<u16> {
        Number::parse(node).filter(|code| matches!(code, 1001 | 1012))
    }

    fn expected() -> String {
        "1001 (going away) or 1012 (service restart)".to_owned()
    }

    fn render(value: &u16) -> Rendered {
        Rendered::Inline(value.to_string())
    }
}

/// An enum of `choices!`.
pub(super) struct OneOf;

/// An enum whose variants have names in the configuration.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every variant with its name.
    const ALL: &'static [(Self, &'static str)];
}

impl<T: Choice> Codec<T> for OneOf {
    fn parse(node: &Node) -> Option<T> {
        let Value::Text(text) = &node.value else { return None };
        T::ALL.iter().find(|(_, name)| name == text).map(|(value, _)| *value)
    }

    fn expected() -> String {
        let names: Vec<_> = T::ALL.iter().map(|(_, name)| format!("\"{name}\"")).collect();
        match names.split_last() {
            Some((last, [])) => format!("{last}, which is the only choice so far"),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }

    fn render(value: &T) -> Rendered {
        let name = T::ALL.iter().find(|(known, _)| known == value).map_or("", |(_, name)| name);
        Rendered::Inline(format!("\"{name}\""))
    }
}

/// An option that may be left out.
pub(super) struct Optional<C>(std::marker::PhantomData<C>);

impl<T, C: Codec<T>> Codec<Option<T>> for Optional<C> {
    const SECRET: bool = C::SECRET;

    fn parse(node: &Node) -> Option<Option<T>> {
        C::parse(node).map(Some)
    }

    fn expected() -> String {
        C::expected()
    }

    fn render(value: &Option<T>) -> Rendered {
        value.as_ref().map_or(Rendered::Absent, C::render)
    }

    fn read(node: &Node, reader: &mut Reader) -> Option<Option<T>> {
        C::read(node, reader).map(Some)
    }
}

/// A TOML basic string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Declares an enum whose variants have names in the configuration.
macro_rules! choices {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        $crate::config::codec::names! { $name { $($variant = $text,)+ } }
    };
}
pub(super) use choices;

/// Gives the variants of an enum, all of them, their names in the configuration.
macro_rules! names {
    ($name:ident { $($variant:ident = $text:literal,)+ }) => {
        impl $crate::config::codec::Choice for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $text)),+];
        }

        // A variant without a name does not compile.
        const _: fn($name) = |choice| match choice {
            $($name::$variant)|+ => {}
        };
    };
}
pub(super) use names;
