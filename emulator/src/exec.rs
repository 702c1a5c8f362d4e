//! The last step of the wrapper command: become the program, and die with the emulator.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The variable in which the emulator tells the wrapper who its parent is.
pub(crate) const PARENT_ENV: &str = "LAMBDA_DISPATCH_EMULATOR_PID";

/// Replaces this process by the command `argv`, which the kernel will kill when the emulator that
/// started it ends, however that ends. Returns only if that failed.
///
/// Meant for a hidden command of the emulator's user, given as [`Config::wrapper`](crate::Config):
/// a process can ask for this only before it becomes the program. It does not reach processes that
/// the program starts in turn.
#[must_use]
pub fn exec_with_parent(argv: &[OsString]) -> io::Error {
    let Some((program, args)) = argv.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command was given to run");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The emulator may have ended before the request above: then nobody is left to send the signal.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if let Ok(expected) = std::env::var(PARENT_ENV)
        && parent.as_deref() != Some(&expected)
    {
        return io::Error::other("the emulator that started this command has ended");
    }
    let error = Command::new(program).args(args).env_remove(PARENT_ENV).exec();
    io::Error::new(error.kind(), format!("cannot run `{}`: {error}", program.display()))
}
