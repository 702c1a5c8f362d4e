//! The extension as a program of its own, to be copied to `/opt/extensions/`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request takes dozens of small pieces of memory; this allocator needs a third of the time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    lambda_dispatch_extension::main_from_env()
}
