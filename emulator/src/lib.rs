//! A stand-in for AWS Lambda: its Invoke API on loopback, and execution environments that are real
//! processes on this machine.
//!
//! It exists so that a whole system can run, be shown and be tested without AWS and without Docker,
//! and still meet what makes Lambda hard: cold starts, one invoke per environment, throttling,
//! time-outs that kill, and the freeze between invokes (SIGSTOP and SIGCONT here).
//!
//! # How it is put together
//!
//! ```text
//!   AWS SDK ──▶ invoke_api ──┐                         ┌──▶ processes   spawn, freeze, thaw, kill
//!                            ├─ Call ─▶ owner(model) ──┤
//!   runtime ──▶ runtime_api ─┘                         └──▶ replies, events, bills
//! ```
//!
//! - [`model`] decides. It is free of I/O, and the simulator uses it too.
//! - The owner is the one task that holds a [`model::Model`]: it tells the model what happened and
//!   does what it orders.
//! - The APIs turn HTTP into calls to the owner, and its replies into HTTP. Each environment has a
//!   Runtime API and Extensions API of its own, on its own port.
//!
//! | file | what |
//! |---|---|
//! | `emulator`, `config`, `event` | what is started, with what, and what it says while it runs |
//! | [`model`] | what AWS Lambda decides |
//! | `owner`, `call` | the task that holds the model, and what others tell and ask it |
//! | `invoke_api`, `runtime_api` | what callers see, and what an environment sees |
//! | `http_server`, `random_id` | what both are made of |
//! | `processes`, `exec` | an environment's programs, and how each begins |
//!
//! # What is not as on AWS
//!
//! - All programs of an environment start together, on this machine's network and file system, with
//!   no limit on memory or CPU.
//! - Signals reach a program's process group: what leaves the group is neither frozen nor killed.
//! - An asynchronous invoke (`Event`) runs once: it is not queued when throttled, nor retried.
//! - There is one function, at version `$LATEST`. Responses are buffered, streaming ones included.
//! - Environments are not SnapStart's unless [`model::Config::restore`] says so: `restore/next` is
//!   refused, as on AWS for on-demand functions.
//!
//! # Example
//!
//! A program that ends at once is no runtime: as on AWS, its initialisation fails, and an invoke
//! would be told so.
//!
//! ```
//! use emulator::{Config, Emulator, Function, PrewarmError, Program};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let function = Function::new("demo", vec![Program::new("app", ["true"])]);
//! let emulator = Emulator::start(Config::default(), function).await?;
//! println!("AWS_ENDPOINT_URL_LAMBDA={}", emulator.endpoint());
//! assert!(emulator.environments().await.is_empty(), "nothing starts before it is needed");
//!
//! let ready = emulator.prewarm(1).await;
//! assert!(matches!(ready, Err(PrewarmError::InitFailed { .. })), "{ready:?}");
//! emulator.shutdown().await;
//! # std::io::Result::Ok(())
//! # })?;
//! # std::io::Result::Ok(())
//! ```

mod call;
mod config;
mod emulator;
mod event;
mod exec;
mod http_server;
mod invoke_api;
pub mod model;
mod owner;
mod processes;
mod random_id;
mod runtime_api;

pub use self::config::{Config, Function, Program};
pub use self::emulator::{Emulator, EnvironmentInfo, PrewarmError};
pub use self::event::{Event, Observer, ProcessEnd};
pub use self::exec::exec_with_parent;
