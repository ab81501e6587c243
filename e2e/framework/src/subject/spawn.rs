//! Starts the process of a subject, and waits for its end.
//!
//! On Linux this does what [`Command::spawn`] does with a function that runs before `exec`, without `fork`: to copy the page
//! tables of a process in which dozens of stacks run, and then every page that it writes to, took a fifth of the time of a
//! sweep. Instead the child borrows the memory of this process until it has executed its program, as in `posix_spawn`,
//! which cannot make the kernel end the process together with its parent.

use std::io::{self, PipeReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A process that was started, which has to be waited for.
#[derive(Debug)]
pub(super) struct Root {
    pub pid: Pid,
    /// How it has ended, once it was waited for: then its number may be that of another process.
    status: Option<ExitStatus>,
}

/// What a process prints.
pub(super) struct Output {
    pub stdout: PipeReader,
    pub stderr: PipeReader,
}

impl Root {
    /// How it has ended, or `None` if it runs.
    pub(super) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.wait_with(Some(WaitPidFlag::WNOHANG))
    }

    /// Waits until it has ended.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        self.wait_with(None)
    }

    fn wait_with(&mut self, flags: Option<WaitPidFlag>) -> Option<ExitStatus> {
        while self.status.is_none() {
            self.status = match waitpid(self.pid, flags) {
                Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw((code & 0xff) << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
                Err(Errno::EINTR) => continue,
                // It runs.
                Ok(_) => return None,
                // Nobody else waits for it, so this does not happen; it is no success, whatever it is.
                Err(_) => Some(ExitStatus::from_raw(0xff00)),
            };
        }
        self.status
    }
}

/// Starts a process group of one process, which ends with the thread that calls this, has an empty signal mask, because the
/// harness blocks the signals that it waits for, and inherits no open file but its standard streams: the embedded Kafka
/// accepts connections that a child would otherwise inherit, and keep open after the broker has closed them.
///
/// Of `command` count the program, its arguments, its environment and its folder.
pub(super) fn spawn(command: &Command) -> io::Result<(Root, Output)> {
    let (stdout, out) = io::pipe()?;
    let (stderr, err) = io::pipe()?;
    let pid = imp::spawn(command, out, err)?;
    Ok((Root { pid, status: None }, Output { stdout, stderr }))
}

#[cfg(target_os = "linux")]
mod imp {
    use std::collections::BTreeMap;
    use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_void};
    use std::fs::File;
    use std::io::{self, PipeWriter};
    use std::os::fd::{AsRawFd, RawFd};
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use nix::libc;
    use nix::sys::signal::SigSet;
    use nix::unistd::Pid;

    /// The size of the stack on which the child calls a dozen functions of the kernel.
    const STACK: usize = 64 * 1024;

    /// All that the child needs, made before it exists: it must not allocate.
    struct Prepared {
        program: CString,
        arguments: Vec<*const c_char>,
        environment: Vec<*const c_char>,
        folder: CString,
        /// What become its standard streams.
        streams: [RawFd; 3],
        /// The number of the error because of which it has not executed its program, or 0.
        error: c_int,
    }

    pub(super) fn spawn(command: &Command, out: PipeWriter, err: PipeWriter) -> io::Result<Pid> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::other);
        let arguments = [command.get_program()].into_iter().chain(command.get_args());
        let arguments = arguments.map(text).collect::<io::Result<Vec<_>>>()?;
        let variables = environment(command);
        let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        let assignment = |(name, value): (&OsString, &OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(io::Error::other)
        };
        let environment = variables.iter().map(assignment).collect::<io::Result<Vec<_>>>()?;
        let null = File::open("/dev/null")?;
        let pointers = |texts: &[CString]| -> Vec<*const c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let mut prepared = Prepared {
            program: text(find(command.get_program(), &path)?.as_os_str())?,
            arguments: pointers(&arguments),
            environment: pointers(&environment),
            folder: text(command.get_current_dir().unwrap_or(Path::new(".")).as_os_str())?,
            streams: [null.as_raw_fd(), out.as_raw_fd(), err.as_raw_fd()],
            error: 0,
        };
        // No handler of this process may run in the child, with which it shares its memory.
        let mask = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let pid = borrow(&mut prepared);
        mask.thread_set_mask()?;
        // The child has its own, and who reads what it prints waits until nobody has any.
        drop((out, err));
        let pid = pid?;
        if prepared.error == 0 {
            return Ok(pid);
        }
        let _ = nix::sys::wait::waitpid(pid, None);
        Err(io::Error::from_raw_os_error(prepared.error))
    }

    /// The variables of this process, with the changes of the command.
    fn environment(command: &Command) -> BTreeMap<OsString, OsString> {
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => variables.insert(name.to_owned(), value.to_owned()),
                None => variables.remove(name),
            };
        }
        variables
    }

    /// The file of a program. One without a slash is looked for in the folders of `path`.
    fn find(program: &OsStr, path: &OsStr) -> io::Result<PathBuf> {
        if program.as_bytes().contains(&b'/') {
            return Ok(program.into());
        }
        let folders = path.as_bytes().split(|byte| *byte == b':');
        let mut files = folders.map(|folder| Path::new(&OsString::from_vec(folder.to_vec())).join(program));
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("it is in no folder of PATH ({})", path.display()));
        files.find(|file| file.is_file()).ok_or_else(missing)
    }

    /// Runs [`child`] in a new process. Returns when it has executed its program or ended.
    #[allow(unsafe_code, reason = "no safe function starts a process that borrows memory")]
    fn borrow(prepared: &mut Prepared) -> io::Result<Pid> {
        let mut stack = vec![0_u128; STACK / size_of::<u128>()];
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is aligned, and it and `prepared` outlive the child's use of them, because CLONE_VFORK stops this
        // thread until the child has executed its program or ended.
        let pid = unsafe { libc::clone(child, top, flags, std::ptr::from_mut(prepared).cast()) };
        drop(stack);
        if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
    }

    /// What the child does. It shares the memory of its parent, so it makes only calls to the kernel.
    #[allow(unsafe_code, reason = "these are calls to the kernel in a process that must not allocate")]
    extern "C" fn child(prepared: *mut c_void) -> c_int {
        // SAFETY: the pointer is that of `borrow`, whose thread waits. The calls take numbers, and pointers to what it holds.
        unsafe {
            let prepared = &mut *prepared.cast::<Prepared>();
            if prepare(prepared) {
                libc::execve(prepared.program.as_ptr(), prepared.arguments.as_ptr(), prepared.environment.as_ptr());
            }
            prepared.error = *libc::__errno_location();
            libc::_exit(127)
        }
    }

    /// Gives the child what it keeps when it executes its program. False if that failed.
    #[allow(unsafe_code, reason = "see `child`")]
    unsafe fn prepare(prepared: &Prepared) -> bool {
        // SAFETY: see `child`. The sets of signals are filled before they are read.
        unsafe {
            // A handler would run in the memory of the parent. `exec` keeps what is ignored, so what Rust's runtime ignores is
            // reset, too.
            for signal in 1..libc::SIGRTMAX() {
                let mut action: libc::sigaction = std::mem::zeroed();
                let is_known = libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0;
                if is_known && (action.sa_sigaction != libc::SIG_IGN || signal == libc::SIGPIPE) {
                    libc::signal(signal, libc::SIG_DFL);
                }
            }
            // Kernels before 5.11 do not know this call, and then the files stay open.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            let is_set = libc::setpgid(0, 0) == 0
                && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                && (0..).zip(prepared.streams).all(|(number, stream)| libc::dup2(stream, number) == number)
                && libc::chdir(prepared.folder.as_ptr()) == 0;
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            is_set && libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) == 0
        }
    }
}

/// This system is not told to end a process together with its parent.
#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io::{self, PipeWriter};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use nix::sys::signal::SigSet;
    use nix::unistd::Pid;

    #[allow(unsafe_code, reason = "nothing else can give a child an empty signal mask")]
    pub(super) fn spawn(command: &Command, out: PipeWriter, err: PipeWriter) -> io::Result<Pid> {
        let mut started = Command::new(command.get_program());
        started.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            started.current_dir(folder);
        }
        started.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        // SAFETY: the closure only makes a system call that is safe after a fork.
        unsafe { started.pre_exec(|| Ok(SigSet::all().thread_unblock()?)) };
        Ok(Pid::from_raw(started.spawn()?.id().cast_signed()))
    }
}
