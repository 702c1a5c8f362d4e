//! A Lambda service on this machine for one function of your own: any program that speaks the
//! Runtime API.
//!
//! ```text
//! cargo run -p emulator --example serve -- ./bootstrap
//! export AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:41234
//! aws lambda invoke --function-name demo /dev/stdout
//! ```

use std::ffi::OsString;
use std::io::{self, Write};
use std::sync::Arc;

use emulator::{Config, Emulator, Event, Function, Program};

fn main() -> io::Result<()> {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // How the emulator starts the function: through this same program, so that the function ends
    // with it, even at a Ctrl-C.
    if args.first().is_some_and(|first| first == WRAPPED) {
        return Err(emulator::exec_with_parent(&args.split_off(1)));
    }
    if args.is_empty() {
        return Err(io::Error::other("usage: serve COMMAND [ARGUMENT]..."));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(args))
}

async fn serve(command: Vec<OsString>) -> io::Result<()> {
    let config = Config {
        observer: Arc::new(print),
        wrapper: Some(vec![std::env::current_exe()?.into(), WRAPPED.into()]),
        ..Config::default()
    };
    let function = Function::new("demo", vec![Program::new("function", command)]);
    let emulator = Emulator::start(config, function).await?;
    writeln!(io::stdout(), "{}", emulator.endpoint())?;
    std::future::pending().await
}

fn print(event: &Event) {
    // Nobody may be reading any more.
    drop(writeln!(io::stderr(), "{event}"));
}

const WRAPPED: &str = "--wrapped";
