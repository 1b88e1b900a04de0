//! The files that `--write` makes: kernel settings for sysctl.d, and limits for the service.
//!
//! Each opens with a line by which a later run knows its own work. A file without that line is
//! somebody else's and stays, unless the operator insists. A file is replaced as a whole, and a
//! link is replaced and not followed.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::finding::grouped;
use crate::{Plan, Tree, setting};

/// The first line of every file that the doctor writes.
const MARK: &str = "# Written by `tidegate doctor --write`";

const SYSCTL_FILE: &str = "99-tidegate.conf";
const LIMITS_FILE: &str = "tidegate.service.d/limits.conf";

/// Locked memory of the service: the rings of as many shards as there can be, and some more.
const LOCKED_MEMORY: &str = "64M";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file is somebody else's.
    #[error("{path} was not written by the doctor: move it away, or say --force to replace it")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write {path}: {source}")]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes both files below a folder and returns their paths. Either none or both are replaced,
/// unless the system refuses midway.
///
/// # Errors
/// A file that is not the doctor's while `force` is off, or what the system says.
pub fn write_files(
    folder: &Path,
    (plan, tree): (&Plan, &Tree),
    force: bool,
) -> Result<Vec<PathBuf>, WriteError> {
    let files = [
        (folder.join(SYSCTL_FILE), sysctl_text(plan, tree)),
        (folder.join(LIMITS_FILE), limits_text(plan)),
    ];
    for (path, _) in &files {
        if !force && !is_ours(path).map_err(|source| refused(path, source))? {
            return Err(WriteError::Foreign { path: path.clone() });
        }
    }
    for (path, text) in &files {
        replace(path, text).map_err(|source| refused(path, source))?;
    }
    Ok(files.map(|(path, _)| path).to_vec())
}

fn refused(path: &Path, source: io::Error) -> WriteError {
    WriteError::Refused { path: path.to_owned(), source }
}

/// Whether a file may be replaced: there is none, or it opens with the mark.
fn is_ours(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => return Ok(false),
        Ok(_) => {}
    }
    let mut start = Vec::new();
    fs::File::open(path)?.take(MARK.len() as u64).read_to_end(&mut start)?;
    Ok(start == MARK.as_bytes())
}

/// Puts a whole file in the place of what was there.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error that matters is the one above.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn opening(plan: &Plan, place: &str) -> String {
    let connections = grouped(plan.connections);
    format!(
        "{MARK} for {connections} connections.\n# {place}\n# tuning/README.md explains each line \
         and how to undo it.\n"
    )
}

/// The file for `/etc/sysctl.d`.
fn sysctl_text(plan: &Plan, tree: &Tree) -> String {
    let place = "Copy it to /etc/sysctl.d/ and run: sysctl --system";
    let mut text = opening(plan, place);
    text.push_str(
        "# It raises what this host has. On another host some lines may lower a value: compare,\n\
         # or let the doctor write its file there.\n",
    );
    for sysctl in setting::sysctls(plan, tree) {
        let about = sysctl.about.replace('\n', "\n# ");
        // With a dash, a key that the kernel does not have is no error.
        let dash = if sysctl.may_be_absent { "-" } else { "" };
        let _ = write!(text, "\n# {about}\n{dash}{} = {}\n", sysctl.key, sysctl.value);
    }
    text
}

/// The drop-in for the unit `tidegate.service`.
fn limits_text(plan: &Plan) -> String {
    let place =
        "Copy it to /etc/systemd/system/tidegate.service.d/ and run: systemctl daemon-reload";
    let mut text = opening(plan, place);
    let _ = write!(
        text,
        "\n[Service]\n\
         # Descriptors of connections, two of each backend, 512 others; fs.nr_open must be as \
         high.\n\
         LimitNOFILE={}\n\n\
         # Threads, and the kernel's helpers of io_uring: 16 for each shard and 64 others.\n\
         TasksMax={}\n\n\
         # Rings of io_uring, which newer kernels count: 192 KiB for each shard.\n\
         LimitMEMLOCK={LOCKED_MEMORY}\n",
        setting::descriptors(plan),
        // The file may move to a host with more cores, and a limit on tasks costs nothing.
        setting::tasks(&Plan { shards: tidegate_limits::SHARDS_MAX as u64, ..plan.clone() }),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, million};
    use super::*;

    fn write(host: &Fixture, force: bool) -> Result<Vec<PathBuf>, WriteError> {
        write_files(&host.root().join("out"), (&million(), &host.tree()), force)
    }

    #[test]
    fn both_files_are_written_and_written_again() {
        let host = Fixture::new();
        for _ in 0..2 {
            let paths = write(&host, false).unwrap();
            assert_eq!(paths.len(), 2);
            for path in paths {
                assert!(fs::read_to_string(path).unwrap().starts_with(MARK));
            }
        }
        let left: Vec<_> = host.tree().list("/out");
        assert_eq!(left, ["99-tidegate.conf", "tidegate.service.d"], "nothing temporary stays");
    }

    #[test]
    fn a_foreign_file_stays_unless_forced() {
        let host = Fixture::new();
        host.file("/out/tidegate.service.d/limits.conf", "[Service]\n");
        assert!(matches!(write(&host, false), Err(WriteError::Foreign { .. })));
        assert!(!host.tree().exists("/out/99-tidegate.conf"), "nothing was written at all");
        assert_eq!(host.tree().read("/out/tidegate.service.d/limits.conf").unwrap(), "[Service]");
        write(&host, true).unwrap();
        assert!(
            host.tree().read("/out/tidegate.service.d/limits.conf").unwrap().contains("NOFILE")
        );
    }

    #[test]
    fn links_are_replaced_and_not_followed() {
        let host = Fixture::new();
        host.file("/precious", MARK);
        fs::create_dir_all(host.root().join("out")).unwrap();
        let link = host.root().join("out/99-tidegate.conf");
        std::os::unix::fs::symlink(host.root().join("precious"), &link).unwrap();
        assert!(matches!(write(&host, false), Err(WriteError::Foreign { .. })));
        write(&host, true).unwrap();
        assert_eq!(host.tree().read("/precious").unwrap(), MARK);
        assert!(!fs::symlink_metadata(link).unwrap().is_symlink());
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let host = Fixture::new();
        host.file("/out", "a file where the folder should be");
        let error = write(&host, false).unwrap_err().to_string();
        assert!(error.starts_with("cannot write "), "{error}");
    }
}
