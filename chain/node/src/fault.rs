//! Ends the node with a reason where the kernel would end it without a word: a mapped file that has no page behind an address (SIGBUS).
//!
//! The database reads and writes its files through memory. A page for which the file system has no block, one behind the end of a file that
//! was cut, and one that the disk does not give are a signal and no error, and nothing can go on from it. What is left is to say so.
//!
//! Guarantees: however many threads the signal meets, the process writes one line of the usual shape, `error: CODE: ...`, to standard error, and
//! exits with a code of its own within [`MOST_SECONDS`] if nobody takes the line, without a signal and without a dump of its memory. A thread
//! that met it never goes on: what failed is neither repeated nor taken for done. The other threads go on until the exit, which is a moment
//! later; what they write is what they would have written before a crash in that moment. The operator, or whatever fills or cuts files,
//! controls when it happens. Does not: say which file it was, tell a full disk from a cut file, or keep what the database had not written to its
//! log.
//!
//! The handler is the only one for this signal, and calls none that was there: the one of Rust's standard library takes itself off at the first
//! fault, so that a second thread's would end the process before the line is written. That one tells a stack's end, which on Linux is another
//! signal (SIGSEGV), and it keeps that.

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// What the process exits with: no class of the command line's errors has it.
pub const EXIT_CODE: u8 = 13;

/// The whole of what is said.
const LINE: &[u8] = b"error: database_fault: a mapped file of the database could not be read or written (SIGBUS): its file system is full, \
    the file was cut, or the disk fails; nothing that is final is lost where room was missing: make room, start the node again, and it \
    replays the database's log; where a file was cut, put back a copy of the whole folder, or remove the folder (`phala-node purge-chain`) \
    and let the node get the chain from its peers again\n";

/// How long the line may take: standard error can be a pipe that is full and that nobody reads.
const MOST_SECONDS: libc::c_uint = 5;

/// Whether a thread is at the line already.
static SAID: AtomicBool = AtomicBool::new(false);

/// What is called when a signal comes.
type Handler = extern "C" fn(libc::c_int);

/// Has every SIGBUS of this process end it with [`LINE`] and [`EXIT_CODE`], for the rest of its life.
///
/// # Errors
/// When the system does not take the handler.
pub fn ends_with_a_reason() -> io::Result<()> {
    if handle(libc::SIGBUS, end) {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Puts a handler in the place of the one that is there. Whether the system takes it.
#[expect(unsafe_code, reason = "a signal's handler may do next to nothing, which no type says")]
fn handle(signal: libc::c_int, handler: Handler) -> bool {
    // SAFETY: zeros are a value of this structure: an empty mask, no flags, no restorer.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // Every thread of Rust's has a stack for signals.
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the action is initialised and outlives the call, and the former one is not asked for. Both handlers are async-signal-safe, do not
    // unwind, and take the one argument that is passed without `SA_SIGINFO`.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0 }
}

/// The first thread that comes here says the line and ends the process; the others wait for that.
#[expect(unsafe_code, reason = "what is safe in a signal's handler are calls of the C library")]
extern "C" fn end(_: libc::c_int) {
    if SAID.swap(true, Ordering::SeqCst) {
        loop {
            // SAFETY: async-signal-safe (POSIX), and touches no memory.
            unsafe { libc::pause() };
        }
    }
    let _timed = handle(libc::SIGALRM, give_up);
    // SAFETY: all three are async-signal-safe (POSIX); the pointer and the length are those of a constant. Nothing is allocated or locked.
    unsafe {
        let _former = libc::alarm(MOST_SECONDS);
        // On a full disk the line may be lost, as all of the node's lines may.
        let _ = libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
        libc::_exit(EXIT_CODE.into());
    }
}

/// The line took too long: the process ends without it.
#[expect(unsafe_code, reason = "what is safe in a signal's handler are calls of the C library")]
extern "C" fn give_up(_: libc::c_int) {
    // SAFETY: async-signal-safe (POSIX).
    unsafe { libc::_exit(EXIT_CODE.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};
    use std::{
        env,
        io::{Read, Write},
        os::unix::process::ExitStatusExt,
        process::{Child, Command, ExitStatus, Stdio},
        sync::Barrier,
        thread,
        time::{Duration, Instant},
    };

    /// Set in a process that is to end by the handler.
    const FAULTS: &str = "PHALA_NODE_TEST_FAULTS";

    /// This test once more, in a process of its own.
    fn again(test: &str) -> Child {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("fault::tests::{test}"), "--nocapture"])
            .env(FAULTS, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn ended(child: &mut Child) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("it does not end");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[expect(unsafe_code, reason = "no safe call raises a signal in its own thread")]
    fn fault() {
        // SAFETY: the signal is handled.
        let raised = unsafe { libc::raise(libc::SIGBUS) };
        panic!("a thread went on behind the fault: {raised}");
    }

    #[test]
    fn however_many_threads_fault_the_process_says_one_line_and_ends_by_no_signal() {
        if env::var_os(FAULTS).is_some() {
            ends_with_a_reason().unwrap();
            let threads = 16;
            let together = Barrier::new(threads);
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        together.wait();
                        fault();
                    });
                }
            });
            return;
        }
        for _ in 0..10 {
            let mut child = again("however_many_threads_fault_the_process_says_one_line_and_ends_by_no_signal");
            let status = ended(&mut child);
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert_eq!((status.signal(), status.code()), (None, Some(EXIT_CODE.into())), "{status}: {said}");
            assert_eq!(said.as_bytes(), LINE);
        }
    }

    #[test]
    fn a_full_pipe_that_nobody_reads_holds_its_end_up_for_seconds_only() {
        if env::var_os(FAULTS).is_some() {
            let mut pipe = io::stderr();
            let flags = fcntl_getfl(&pipe).unwrap();
            fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).unwrap();
            for size in [4_096, 1] {
                while pipe.write(&vec![b'.'; size]).is_ok_and(|taken| taken > 0) {}
            }
            fcntl_setfl(&pipe, flags).unwrap();
            ends_with_a_reason().unwrap();
            fault();
        }
        let start = Instant::now();
        let mut child = again("a_full_pipe_that_nobody_reads_holds_its_end_up_for_seconds_only");
        let status = ended(&mut child);
        assert_eq!((status.signal(), status.code()), (None, Some(EXIT_CODE.into())), "{status}");
        // The pipe was full, or it would have ended at once.
        assert!(start.elapsed() >= Duration::from_secs(u64::from(MOST_SECONDS)), "{:?}", start.elapsed());
    }

    #[test]
    fn what_is_said_is_one_line_of_the_usual_shape() {
        let line = std::str::from_utf8(LINE).unwrap();
        assert!(line.starts_with("error: database_fault: ") && line.ends_with('\n'), "{line}");
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains("  "), "{line}");
    }
}
