//! The router of lambda-dispatch, as a library: its binary is three lines.
//!
//! Decisions are made in [`dispatch_model`], requests are carried by [`io_tokio`]; what is here
//! tells them what the operator wants and tells the operator what they did.
//!
//! | module | what |
//! |---|---|
//! | [`cli`], `config_init` | the command line, and a settings file to begin with |
//! | `serve`, `health` | the router in production, and whether it is well |
//! | [`dev`], [`demo`], [`demo_app`], [`direct`] | everything on one machine |
//! | [`settings`], [`callback`] | what the operator wants, and where we are |
//! | [`aws`] | Lambda's API |
//! | [`doctor`] | whether it would work |
//! | [`admin`], [`metrics`], [`emf`], [`traces`] | what can be seen from outside |
//! | [`access_log`], [`logging`], `line_writer`, `writer_thread` | what is written down |
//! | `decisions`, `problems`, `explain` | why there are as many instances as there are |
//! | `dashboard`, `cost` | the same for people, as it happens, and what it costs |
//! | `fetch` | one HTTP request to somebody next door |
//! | `open_files` | how many of them, and connections, there may be |
//! | `recorder` | what is kept to be replayed |
//! | `report` | what other settings, or others, would make of traffic |
//! | `documented` | for tests: lists in the book that are made from lists here |

pub mod access_log;
pub mod admin;
pub mod aws;
pub mod callback;
pub mod cli;
mod config_init;
mod cost;
mod dashboard;
mod decisions;
pub mod demo;
pub mod demo_app;
pub mod dev;
pub mod direct;
pub mod doctor;
#[cfg(test)]
mod documented;
pub mod emf;
mod explain;
mod fetch;
mod health;
mod line_writer;
pub mod logging;
pub mod metrics;
mod open_files;
mod problems;
mod recorder;
mod report;
mod serve;
pub mod settings;
pub mod traces;
mod writer_thread;

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Context;

/// Prints to standard output. If nobody reads it any more, that is no reason to fail.
fn print(text: &str) -> anyhow::Result<()> {
    let mut to = std::io::stdout();
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether what is written to `stream` may have colours: somebody sees it, and has not said no
/// (<https://no-color.org>).
fn shows_colours(stream: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !refused
}

/// Says one line to the person at the terminal.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Hidden commands, by which this program becomes one of those that `dev` and `demo` need beside
/// it: the demo's web app,
const DEMO_APP: &str = "__demo-app";
/// a runtime for one request per invoke,
const DIRECT: &str = "__direct";
/// any command, tied to the life of its parent,
const EXEC: &str = "__exec";
/// and the extension.
const EXTENSION: &str = "__extension";
