//! Whether a command can be run at all, asked before anything is started.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::{Function, Program};

/// Looks `program` up as the system will.
///
/// # Errors
/// If it is not there or not executable; the message says what was looked for and where.
pub(crate) fn check_program(function: &Function, program: &Program) -> io::Result<()> {
    let Some(command) = program.argv.first() else {
        let message = format!("the command of program `{}` is empty", program.name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let shown = command.display();
    if command.as_encoded_bytes().contains(&b'/') {
        return match executable(Path::new(command)) {
            Some(true) => Ok(()),
            Some(false) => Err(not_executable(&format!("`{shown}` is not an executable file"))),
            None => Err(not_found(&format!("there is no file `{shown}` to run"))),
        };
    }
    let path = program.env.iter().chain(&function.env).find(|(name, _)| name == "PATH");
    let path = match path {
        Some((_, value)) => value.clone(),
        None => std::env::var_os("PATH").unwrap_or_default(),
    };
    let mut directories = std::env::split_paths(&path);
    if directories.any(|directory| executable(&directory.join(OsStr::new(command))) == Some(true)) {
        return Ok(());
    }
    Err(not_found(&format!("the command `{shown}` is not in PATH: install it, or give its path")))
}

/// `None` if there is no such file.
fn executable(path: &Path) -> Option<bool> {
    let metadata = path.metadata().ok()?;
    Some(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn not_found(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, message)
}

fn not_executable(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(argv: &[&str]) -> Result<(), String> {
        let program = Program::new("app", argv.iter().copied());
        let function = Function::new("demo", Vec::new());
        check_program(&function, &program).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_found_by_name_and_by_path() {
        assert_eq!(check(&["sh", "-c", "true"]), Ok(()));
        assert_eq!(check(&["/bin/sh"]), Ok(()));
    }

    #[test]
    fn missing_command_is_named_in_the_error() {
        let error = check(&["no-such-command-here"]).unwrap_err();
        assert!(error.starts_with("the command `no-such-command-here` is not in PATH"), "{error}");
        let error = check(&["/no/such/file"]).unwrap_err();
        assert_eq!(error, "there is no file `/no/such/file` to run");
    }

    #[test]
    fn file_that_cannot_be_executed_is_named_in_the_error() {
        assert_eq!(check(&["/etc/passwd"]).unwrap_err(), "`/etc/passwd` is not an executable file");
    }
}
