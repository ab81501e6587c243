//! A library that shifts the clock of the program into which it is loaded (`LD_PRELOAD`). `build.rs` compiles it, and the
//! schedule `clock` uses it.
//!
//! The C library's functions that tell the time of day are replaced by functions that add an offset. Those that wait until
//! a time of day take the offset off again, so that no wait becomes longer or shorter. What does not ask the C library is
//! not reached: programs that are linked statically, and runtimes that ask the kernel themselves, such as Go's.
//!
//! The variable `E2E_CLOCK` names a file of two numbers in the machine's order: the offset in seconds, which may change at
//! any time, and how often a time was told that was shifted.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::mem::transmute;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering};

/// What the library shares with the one who sets the clock.
#[repr(C)]
struct Shared {
    offset: AtomicI64,
    told: AtomicU64,
}

/// C's `timespec`, and `timeval`.
#[repr(C)]
pub struct TimeSpec {
    seconds: i64,
    fraction: c_long,
}

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlvsym(handle: *mut c_void, name: *const c_char, version: *const c_char) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(file: c_int) -> c_int;
    fn mmap(at: *mut c_void, size: usize, protection: c_int, flags: c_int, file: c_int, from: i64) -> *mut c_void;
}

/// The next library that has a function, `RTLD_NEXT`.
const NEXT: *mut c_void = -1_isize as *mut c_void;
/// The version of the functions of condition variables whose memory is as programs of today have it. The first version is
/// another one on x86-64, and other processors do not have this one.
const OF_TODAY: &CStr = c"GLIBC_2.3.2";
const READ_AND_WRITE: c_int = 2;
const SHARED: c_int = 1;
const PROTECTION: c_int = 3;
/// `MAP_FAILED`.
const FAILED: *mut c_void = -1_isize as *mut c_void;
const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;
const TIME_UTC: c_int = 1;
/// A later time is one of day, and an earlier one is of a clock that counts from the start of the machine, which
/// conditions may have too.
const TIME_OF_DAY: i64 = 1_000_000_000;

static SHARED_FILE: AtomicPtr<Shared> = AtomicPtr::new(null_mut());

thread_local! {
    /// The offset of the last time that this thread was told. It computes until when it waits from that time.
    static OFFSET: Cell<i64> = const { Cell::new(0) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    // SAFETY: the names are texts of C, and the file is mapped for as long as the program runs. A file that cannot be
    // mapped leaves the clock as it is, which the one who sets it sees by the second number.
    unsafe {
        let path = getenv(c"E2E_CLOCK".as_ptr());
        if path.is_null() {
            return;
        }
        let file = open(path, READ_AND_WRITE);
        if file < 0 {
            return;
        }
        let mapped = mmap(null_mut(), size_of::<Shared>(), PROTECTION, SHARED, file, 0);
        close(file);
        if mapped != FAILED {
            SHARED_FILE.store(mapped.cast(), Ordering::Release);
        }
    }
}

/// The seconds to add to a time that is told now.
fn tell() -> i64 {
    // SAFETY: the pointer is null or that of the mapped file, which is never unmapped.
    let Some(shared) = (unsafe { SHARED_FILE.load(Ordering::Acquire).as_ref() }) else { return 0 };
    let offset = shared.offset.load(Ordering::Relaxed);
    if offset != 0 {
        shared.told.fetch_add(1, Ordering::Relaxed);
    }
    OFFSET.set(offset);
    offset
}

/// The function of this name that is replaced here. It is looked up once.
fn replaced(cache: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = cache.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: both names are texts of C.
    let found = unsafe {
        let of_today = dlvsym(NEXT, name.as_ptr(), OF_TODAY.as_ptr());
        if of_today.is_null() { dlsym(NEXT, name.as_ptr()) } else { of_today }
    };
    cache.store(found, Ordering::Relaxed);
    found
}

/// Calls the function of this name that is replaced here.
macro_rules! replaced {
    ($name:literal, fn($($type:ty),*) -> c_int, $($argument:expr),*) => {{
        static REPLACED: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
        let found = replaced(&REPLACED, $name);
        // SAFETY: the C library has this function with these arguments, which are those of the caller.
        unsafe { transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> c_int>(found)($($argument),*) }
    }};
}

/// The time of day, or that of another clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int {
    let result = replaced!(c"clock_gettime", fn(c_int, *mut TimeSpec) -> c_int, clock, time);
    if result == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
        // SAFETY: the C library has just written to it.
        unsafe { (*time).seconds += tell() };
    }
    result
}

/// The time of day; the fraction is in microseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut TimeSpec, zone: *mut c_void) -> c_int {
    let result = replaced!(c"gettimeofday", fn(*mut TimeSpec, *mut c_void) -> c_int, time, zone);
    if result == 0 && !time.is_null() {
        // SAFETY: the C library has just written to it.
        unsafe { (*time).seconds += tell() };
    }
    result
}

/// The time of day of C11.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn timespec_get(time: *mut TimeSpec, base: c_int) -> c_int {
    let result = replaced!(c"timespec_get", fn(*mut TimeSpec, c_int) -> c_int, time, base);
    if result == TIME_UTC {
        // SAFETY: the C library has just written to it.
        unsafe { (*time).seconds += tell() };
    }
    result
}

/// The seconds of the time of day.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(seconds: *mut i64) -> i64 {
    let mut now = TimeSpec { seconds: -1, fraction: 0 };
    // SAFETY: the time is written to a place of this function, and then to that of the caller, if there is one.
    unsafe {
        clock_gettime(REALTIME, &raw mut now);
        if let Some(seconds) = seconds.as_mut() {
            *seconds = now.seconds;
        }
    }
    now.seconds
}

/// A time until which this thread waits, as the machine's clock has it.
fn until(time: *const TimeSpec) -> TimeSpec {
    // SAFETY: the caller waits until this time, so it is one.
    let TimeSpec { seconds, fraction } = unsafe { time.read() };
    let offset = if seconds > TIME_OF_DAY { OFFSET.get() } else { 0 };
    TimeSpec { seconds: seconds - offset, fraction }
}

/// Functions of two things of which the second is a time, or of three of which the third is.
macro_rules! waits {
    ($($function:ident $name:literal ($($argument:ident),+);)+) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function($($argument: *mut c_void,)+ time: *const TimeSpec) -> c_int {
            if time.is_null() {
                return replaced!($name, fn($(waits!(@type $argument),)+ *const TimeSpec) -> c_int, $($argument,)+ null());
            }
            let time = until(time);
            replaced!($name, fn($(waits!(@type $argument),)+ *const TimeSpec) -> c_int, $($argument,)+ &raw const time)
        }
    )+};
    (@type $argument:ident) => { *mut c_void };
}

waits! {
    pthread_cond_timedwait c"pthread_cond_timedwait" (condition, mutex);
    cnd_timedwait c"cnd_timedwait" (condition, mutex);
    pthread_mutex_timedlock c"pthread_mutex_timedlock" (mutex);
    mtx_timedlock c"mtx_timedlock" (mutex);
    sem_timedwait c"sem_timedwait" (semaphore);
}

/// Waits until a time of this clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_cond_clockwait(
    condition: *mut c_void,
    mutex: *mut c_void,
    clock: c_int,
    time: *const TimeSpec,
) -> c_int {
    let time = until(time);
    replaced!(
        c"pthread_cond_clockwait",
        fn(*mut c_void, *mut c_void, c_int, *const TimeSpec) -> c_int,
        condition,
        mutex,
        clock,
        &raw const time
    )
}
