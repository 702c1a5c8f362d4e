//! The extension as a program of its own, to be copied to `/opt/extensions/`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda_dispatch_extension::main_from_env()
}
