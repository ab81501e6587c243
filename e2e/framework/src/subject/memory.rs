//! Lets a process that runs have no more memory than it has.

use super::tree::Member;

/// Lets every further request of the process for memory of its own fail. False if this system cannot do that, or the
/// process has ended.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "no safe function limits another process")]
pub(super) fn keep(process: Member) -> bool {
    use nix::libc;

    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let Some(size) = data_size(&status) else { return false };
    let limit = libc::rlimit { rlim_cur: size, rlim_max: size };
    // SAFETY: the pointer is that of a value that lives until the call returns, and the call writes nothing.
    unsafe { libc::prlimit(process.pid.as_raw(), libc::RLIMIT_DATA, &raw const limit, std::ptr::null_mut()) == 0 }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keep(_: Member) -> bool {
    false
}

/// What counts against the limit, in bytes: the private memory that the process may write to, without its stack.
#[cfg(target_os = "linux")]
fn data_size(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmData:"))?.trim().strip_suffix(" kB")?;
    Some(kibibytes.parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::data_size;

    #[test]
    fn the_kernel_tells_the_size_in_kibibytes() {
        assert_eq!(data_size("VmPeak:\t   9000 kB\nVmData:\t    1436 kB\nVmStk:\t 132 kB\n"), Some(1436 * 1024));
        assert_eq!(data_size("VmPeak:\t   9000 kB\n"), None);
    }
}
