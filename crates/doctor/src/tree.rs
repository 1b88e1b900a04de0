//! The only reader of `/proc` and `/sys`: a folder that stands for the root of the host.
//!
//! Tests and copies of another host have their own root. Whatever stands in a file is taken as
//! hostile: reads are bounded, numbers must be whole, control characters never reach a terminal,
//! and anything else is `None`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;

/// Far above what these files hold; `/proc/net/softnet_stat` grows by 170 bytes for each core.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most entries of a folder that are looked at, such as network interfaces or queues.
const ENTRIES_MAX: usize = 4096;

/// A host's files below some root.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// This host.
    #[must_use]
    pub fn host() -> Self {
        Self::at("/")
    }

    /// A host whose `/proc` and `/sys` lie below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of a file without the space around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let path = self.path(path);
        // Opening a pipe would wait for its writer.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let is_plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
        text.chars().all(is_plain).then(|| text.trim().to_owned())
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// A sysctl of one number.
    pub(super) fn sysctl(&self, key: &str) -> Option<u64> {
        self.number(&sysctl_path(key))
    }

    /// A sysctl of exactly `N` numbers.
    pub(super) fn sysctls<const N: usize>(&self, key: &str) -> Option<[u64; N]> {
        let text = self.read(&sysctl_path(key))?;
        let numbers: Option<Vec<u64>> =
            text.split_whitespace().map(|word| word.parse().ok()).collect();
        numbers?.try_into().ok()
    }

    /// What stands behind `name:` in a file of such lines.
    pub(super) fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.read(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().to_owned())
    }

    /// The names in a folder, in order; none if it cannot be read.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.chars().any(char::is_control))
            .collect();
        names.sort();
        names
    }

    /// Whether there is anything at the path.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;

    #[test]
    fn numbers_are_whole_or_nothing() {
        let host = Fixture::new();
        for (text, number) in [
            ("4096\n", Some(4096)),
            ("  7 ", Some(7)),
            ("", None),
            ("-1", None),
            ("12 13", None),
            ("0x10", None),
            ("99999999999999999999", None),
            ("4096\u{1b}[31m", None),
        ] {
            host.sysctl("net.core.somaxconn", text);
            assert_eq!(host.tree().sysctl("net.core.somaxconn"), number, "{text:?}");
        }
        host.sysctl("net.ipv4.tcp_mem", "1\t2\t3\n");
        assert_eq!(host.tree().sysctls("net.ipv4.tcp_mem"), Some([1, 2, 3]));
        assert_eq!(host.tree().sysctls::<2>("net.ipv4.tcp_mem"), None);
        host.sysctl("net.ipv4.tcp_mem", "1 x 3");
        assert_eq!(host.tree().sysctls::<3>("net.ipv4.tcp_mem"), None);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let host = Fixture::new();
        host.file("/proc/a/b", "x");
        host.bytes("/proc/c", &[0xff, 0xfe]);
        host.bytes("/proc/d", &vec![b'7'; 3 << 20]);
        let tree = host.tree();
        assert_eq!(tree.read("/proc/a"), None, "a folder");
        assert_eq!(tree.read("/proc/none"), None);
        assert_eq!(tree.read("/proc/c"), None, "not UTF-8");
        assert_eq!(tree.number("/proc/d"), None, "too long a number");
        assert!(tree.list("/proc/a/b").is_empty());
        assert_eq!(tree.list("/proc"), ["a", "c", "d"]);
        assert!(tree.exists("/proc/a") && !tree.exists("/proc/z"));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let host = Fixture::new();
        host.file("/proc/meminfo", "MemAvailableX: 1 kB\nMemAvailable:  2 kB\n");
        assert_eq!(host.tree().field("/proc/meminfo", "MemAvailable").as_deref(), Some("2 kB"));
        assert_eq!(host.tree().field("/proc/meminfo", "MemFree"), None);
    }
}
