//! The host: does it have the io_uring that the shards need, how many descriptors, which cores.
//!
//! The check asks the kernel instead of comparing versions, because distributions backport and
//! containers forbid. Each refusal is one sentence that ends in its remedy.

#![allow(unsafe_code, reason = "getrlimit, setrlimit and sched_getaffinity have no safe wrapper")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use io_uring::{IoUring, Probe, opcode};

use crate::memlock::patiently;

/// Why this host cannot run the edge.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel has no io_uring at all.
    #[error(
        "this kernel ({release}) has no io_uring: run Linux {NEEDED} or newer built with \
         CONFIG_IO_URING=y"
    )]
    Absent {
        /// The kernel release.
        release: String,
    },
    /// The administrator switched io_uring off.
    #[error(
        "io_uring is switched off on this host (kernel.io_uring_disabled = {value}): \
         run `sysctl kernel.io_uring_disabled=0`{}",
        group_remedy(*value)
    )]
    SwitchedOff {
        /// The setting: 1 for unprivileged processes outside a group, 2 for all.
        value: u8,
    },
    /// A system call filter forbids io_uring, as the default profiles of containers do.
    #[error(
        "a seccomp filter forbids io_uring: in a container allow io_uring_setup, io_uring_enter \
         and io_uring_register in the profile (docker run --security-opt seccomp=PROFILE.json, \
         or seccomp=unconfined for trying), under systemd in SystemCallFilter="
    )]
    Filtered,
    /// A security module forbids io_uring.
    #[error(
        "this process may not use io_uring (EPERM without a seccomp filter): let the security \
         module (SELinux, AppArmor) allow it"
    )]
    Forbidden,
    /// The kernel's io_uring is too old for one feature.
    #[error("this kernel ({release}) lacks {feature} of io_uring: run Linux {NEEDED} or newer")]
    TooOld {
        /// The kernel release.
        release: String,
        /// The feature and the version that brought it.
        feature: &'static str,
    },
    /// The ring cannot have its memory.
    #[error(
        "no memory for an io_uring ring: raise the limit of locked memory (LimitMEMLOCK= in the \
         unit, --ulimit memlock= in a container, ulimit -l in a shell)"
    )]
    Memory,
    /// No descriptor is left.
    #[error("no descriptor is left for an io_uring ring: raise the limit (ulimit -n)")]
    Descriptors,
    /// Anything else that the kernel says.
    #[error("io_uring cannot be set up: {0}")]
    Other(String),
}

/// The oldest kernel with every feature below.
const NEEDED: &str = "6.1";

fn group_remedy(value: u8) -> &'static str {
    if value == 1 { " or add this user's group to kernel.io_uring_group" } else { "" }
}

/// Checks that shards can run here. It costs two rings that live for some microseconds.
///
/// # Errors
/// The first thing that is missing, with its remedy.
pub fn check() -> Result<(), Error> {
    let ring = patiently(|| IoUring::new(4)).map_err(|error| refuse(&error))?;
    // Features without an opcode show by what came with the same release.
    let parameters = ring.params();
    require(parameters.is_feature_resource_tagging(), "multishot poll (5.13)")?;
    require(parameters.is_feature_skip_cqe_on_success(), "CQE_SKIP_SUCCESS (5.17)")?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| refuse(&error))?;
    let opcodes = [
        (opcode::PollAdd::CODE, "POLL_ADD (5.1)"),
        (opcode::Accept::CODE, "ACCEPT (5.5)"),
        (opcode::Send::CODE, "SEND (5.6)"),
        (opcode::Recv::CODE, "RECV (5.6)"),
        (opcode::Socket::CODE, "multishot accept (5.19)"),
    ];
    for (code, feature) in opcodes {
        require(probe.is_supported(code), feature)?;
    }
    drop(ring);
    check_build(IoUring::builder().setup_single_issuer(), "SINGLE_ISSUER (6.0)")?;
    let builder = &mut IoUring::builder();
    check_build(builder.setup_single_issuer().setup_defer_taskrun(), "DEFER_TASKRUN (6.1)")
}

/// Checks that the kernel knows the flags of a ring.
fn check_build(builder: &io_uring::Builder, feature: &'static str) -> Result<(), Error> {
    match patiently(|| builder.build(4)) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => require(false, feature),
        Err(error) => Err(refuse(&error)),
    }
}

fn require(present: bool, feature: &'static str) -> Result<(), Error> {
    if present { Ok(()) } else { Err(Error::TooOld { release: kernel_release(), feature }) }
}

/// The reason behind an error of io_uring_setup.
fn refuse(error: &io::Error) -> Error {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    explain(error, &disabled, &status)
}

fn explain(error: &io::Error, disabled: &str, status: &str) -> Error {
    let is_filtered = status
        .lines()
        .filter_map(|line| line.strip_prefix("Seccomp:"))
        .any(|mode| mode.trim() == "2");
    match error.raw_os_error() {
        // Some profiles answer ENOSYS so that programs fall back; an old kernel has no filter.
        Some(libc::ENOSYS) if is_filtered => Error::Filtered,
        Some(libc::ENOSYS) => Error::Absent { release: kernel_release() },
        Some(libc::EPERM | libc::EACCES) => match disabled.trim().parse() {
            Ok(value @ 1..) => Error::SwitchedOff { value },
            _ if is_filtered => Error::Filtered,
            _ => Error::Forbidden,
        },
        Some(libc::ENOMEM) => Error::Memory,
        Some(libc::EMFILE | libc::ENFILE) => Error::Descriptors,
        _ => Error::Other(error.to_string()),
    }
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

/// Asks the kernel for small pages. Huge ones would back the slack behind every table that grows
/// (measured: 12 MiB for the first thousand connections), which is memory that nobody uses.
///
/// # Errors
/// What the system said; the process then only takes more memory.
pub fn use_small_pages() -> io::Result<()> {
    // SAFETY: this request takes integers and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on the kernel ends this process when the thread that started it ends. It survives
/// `exec`.
///
/// # Errors
/// What the system said.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: this request takes integers and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process may make files in a folder.
///
/// # Errors
/// What the system says of it.
pub fn may_write(folder: &Path) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let (mode, flags) = (libc::W_OK | libc::X_OK, libc::AT_EACCESS);
    // SAFETY: the path is a C string that the call reads.
    let result = unsafe { libc::faccessat(libc::AT_FDCWD, folder.as_ptr(), mode, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The number of descriptors that this process may have open now.
#[must_use]
pub fn descriptor_limit() -> u64 {
    limits().map_or(1024, |limits| limits.rlim_cur)
}

/// Raises the soft limit of descriptors to the hard one and returns it.
///
/// # Errors
/// What the system says when it refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limits = limits()?;
    limits.rlim_cur = limits.rlim_max;
    // SAFETY: the pointer is to a live, initialised struct that the call only reads.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) };
    if result == 0 { Ok(limits.rlim_cur) } else { Err(io::Error::last_os_error()) }
}

fn limits() -> io::Result<libc::rlimit> {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live struct that the call fills.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    if result == 0 { Ok(limits) } else { Err(io::Error::last_os_error()) }
}

/// The name of the host; empty if the kernel does not tell.
pub fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The cores that this process may run on, in ascending order; at least one.
#[must_use]
pub fn allowed_cpus() -> Vec<usize> {
    const WORD_BITS: usize = u64::BITS as usize;
    // The kernel refuses a mask shorter than its own, so the mask grows until it fits.
    for words in [16, 128, 1024] {
        let mut mask = vec![0u64; words];
        let bytes = words * size_of::<u64>();
        // SAFETY: the mask is `bytes` long, lives through the call, and 0 means this thread; the
        // call writes at most `bytes` bytes, and any bit pattern is a valid u64.
        let result = unsafe { libc::sched_getaffinity(0, bytes, mask.as_mut_ptr().cast()) };
        if result == 0 {
            let is_set = |cpu: &usize| mask[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1 == 1;
            return (0..words * WORD_BITS).filter(is_set).collect();
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: i32, disabled: &str, status: &str) -> Error {
        explain(&io::Error::from_raw_os_error(code), disabled, status)
    }

    #[test]
    fn every_refusal_of_the_kernel_has_its_reason() {
        let filtered = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let plain = "Name:\tx\nSeccomp:\t0\n";
        assert!(matches!(explained(libc::ENOSYS, "", plain), Error::Absent { .. }));
        assert_eq!(explained(libc::ENOSYS, "", filtered), Error::Filtered);
        assert_eq!(explained(libc::EPERM, "2\n", filtered), Error::SwitchedOff { value: 2 });
        assert_eq!(explained(libc::EPERM, "0\n", filtered), Error::Filtered);
        assert_eq!(explained(libc::EPERM, "0\n", plain), Error::Forbidden);
        assert_eq!(explained(libc::ENOMEM, "", plain), Error::Memory);
        assert_eq!(explained(libc::EMFILE, "", plain), Error::Descriptors);
        assert!(matches!(explained(libc::EIO, "", plain), Error::Other(_)));
    }

    #[test]
    fn refusals_end_in_a_remedy() {
        let off = Error::SwitchedOff { value: 1 }.to_string();
        assert!(off.contains("sysctl kernel.io_uring_disabled=0"), "{off}");
        assert!(off.contains("io_uring_group"), "{off}");
        assert!(Error::Filtered.to_string().contains("--security-opt seccomp="));
    }

    #[test]
    fn descriptors_are_raised_to_the_hard_limit() {
        let raised = raise_descriptor_limit().unwrap();
        assert_eq!(raised, descriptor_limit());
    }

    #[test]
    fn a_process_may_run_somewhere() {
        let cpus = allowed_cpus();
        assert!(!cpus.is_empty());
        assert!(cpus.is_sorted());
    }

    #[test]
    fn the_check_does_not_panic() {
        // Whether this host passes is the host's business; that the answer is a sentence is ours.
        if let Err(error) = check() {
            assert!(!error.to_string().is_empty());
        }
    }
}
