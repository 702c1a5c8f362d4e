//! `lambda-dispatch`: see [`lambda_dispatch::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lambda_dispatch::cli::main()
}
