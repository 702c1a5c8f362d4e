//! The processes of all environments: started, frozen, thawed, told to end, killed, waited for.
//!
//! Each program leads a process group of its own, so that a signal reaches what it starts in turn.

mod groups;
mod lines;
mod ports;
mod search;
mod spawner;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::call::{Call, Calls};
use crate::config::{Config, Program};
use crate::event::{Event, Observer, ProcessEnd};
use crate::exec::PARENT_ENV;
use crate::model::EnvironmentId;

use self::groups::{Group, Groups};
use self::spawner::Spawner;

pub(crate) use self::lines::LogTail;
pub(crate) use self::ports::Ports;
pub(crate) use self::search::check_program;

/// Starts processes and keeps track of them. Copies share the track; once [`Processes::end`] was
/// called on any of them, all processes are killed and no more are started.
#[derive(Clone)]
pub(crate) struct Processes {
    calls: Calls,
    groups: Groups,
    observer: Observer,
    spawner: Spawner,
    wrapper: Vec<OsString>,
}

impl std::fmt::Debug for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processes").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Processes {
    pub(crate) fn new(config: &Config, calls: Calls) -> io::Result<Self> {
        Ok(Self {
            calls,
            groups: Groups::default(),
            observer: config.observer.clone(),
            spawner: Spawner::start()?,
            wrapper: config.wrapper.clone().unwrap_or_default(),
        })
    }

    /// Starts `program` with `variables`. Its lines go to the observer and to `log`; its end is
    /// told to the owner.
    pub(crate) async fn run(
        &self,
        environment: EnvironmentId,
        program: &Program,
        variables: &[(OsString, OsString)],
        log: &LogTail,
    ) -> io::Result<()> {
        let mut argv = self.wrapper.iter().chain(&program.argv);
        let first = argv.next().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(first);
        command
            .args(argv)
            .env(PARENT_ENV, std::process::id().to_string())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .envs(program.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if self.wrapper.is_empty() {
            command.env_remove(PARENT_ENV);
        }
        let child = self.spawner.spawn(command).await?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(pid) = pid else { return Err(io::Error::other("the process has no id")) };
        let file = program.argv.first().and_then(|path| Path::new(path).file_name());
        let file = file.unwrap_or_default().to_string_lossy().into_owned();
        let name = program.name.clone();
        self.groups.insert(environment, Group { leader: pid, name, file });
        tokio::spawn(self.clone().watch(
            environment,
            program.name.clone(),
            child,
            pid,
            log.clone(),
        ));
        Ok(())
    }

    /// Sends `signal` to everything that runs in `environment`.
    pub(crate) fn signal(&self, environment: EnvironmentId, signal: Signal) {
        self.groups.signal(environment, signal);
    }

    /// Asks everything in `environment` to end, but for the extensions of these names: AWS tells
    /// those by an event alone.
    pub(crate) fn terminate(&self, environment: EnvironmentId, extensions: &[String]) {
        self.groups.terminate(environment, extensions);
    }

    /// The leaders of the process groups of `environment`.
    pub(crate) fn pids(&self, environment: EnvironmentId) -> Vec<u32> {
        self.groups.pids(environment)
    }

    /// Kills everything, at once and for good.
    pub(crate) fn end(&self) {
        self.groups.end();
    }

    /// Passes on what a process prints, until it has ended and said all.
    async fn watch(
        self,
        environment: EnvironmentId,
        program: String,
        mut child: Child,
        pid: Pid,
        log: LogTail,
    ) {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let name = program.clone();
        let pass_on = |line: String| {
            log.push(&line);
            (self.observer)(&Event::Line { environment, program: name.clone(), line });
        };
        let printing = async {
            tokio::join!(lines::read(stdout, &pass_on), lines::read(stderr, &pass_on));
        };
        tokio::pin!(printing);
        let mut open = true;
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status,
                () = &mut printing, if open => open = false,
            }
        };
        self.groups.remove(environment, pid);
        // Its last words are in the pipe. Whoever left the group may hold the pipe open for ever.
        if open && timeout(LAST_WORDS, &mut printing).await.is_err() {
            tracing::debug!("{environment} {program}: its output is still open after its end");
        }
        match status {
            Ok(status) => {
                let end = ProcessEnd::new(status);
                let call = Call::ProcessEnded { environment, program, end };
                if self.calls.send(call).await.is_err() {
                    tracing::debug!("a process ended after the emulator");
                }
            }
            Err(error) => tracing::error!("{environment} {program}: cannot wait for it: {error}"),
        }
    }
}

/// How long the output of a process that has ended is still read.
const LAST_WORDS: Duration = Duration::from_millis(500);
