//! `lambda-dispatch`: see [`lambda_dispatch::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request takes dozens of small pieces of memory; this allocator needs a third of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    lambda_dispatch::cli::main()
}
