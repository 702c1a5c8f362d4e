//! The command line: what it offers, and which part of the program does it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use dispatch_model::{Limits, SLOTS_MAX};

use crate::demo::{self, Demo};
use crate::dev::{self, Local};
use crate::settings::{FILE_VARIABLE, as_help, file_in, find, parse_span, variable_of};
use crate::{DEMO_APP, DIRECT, EXEC, EXTENSION};
use crate::{config_init, demo_app, direct, doctor, health, open_files, report, serve};

/// Serves web requests with AWS Lambda functions that dial back: a request waits for the first free
/// slot of any instance, never for the cold start that it caused.
#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    arg_required_else_help = true,
    after_help = "Begin here, without an AWS account:
  lambda-dispatch dev                           router, emulated Lambda and a demo app
  lambda-dispatch dev -- node server.js         your app instead; it listens on $PORT

Then, for production:
  lambda-dispatch config init --function NAME   a settings file with every default
  lambda-dispatch config check --config lambda-dispatch.toml
  lambda-dispatch doctor --config lambda-dispatch.toml
  lambda-dispatch serve --config lambda-dispatch.toml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The same as `config check`
    Check(CheckArgs),
    /// Print a script that completes this program's command line
    Completions(CompletionsArgs),
    /// Write a settings file, or check one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Send the same burst the way Lambda dispatches and through the router, and compare
    Demo(DemoArgs),
    /// Run everything on this machine: router, emulated Lambda, and your app or a demo
    Dev(DevArgs),
    /// Would a router of these settings work: reach AWS, be allowed to invoke, suit its functions?
    Doctor(DoctorArgs),
    /// Is the router on this machine well? For health checks of containers without a shell
    Health(HealthArgs),
    /// What traffic would cost and how long it would wait: here, or with somebody else
    Report(report::ReportArgs),
    /// Run the router in production
    #[command(after_help = "Examples:
  lambda-dispatch serve --function my-function
  lambda-dispatch serve --config lambda-dispatch.toml --set pool.slots=20
  LAMBDA_DISPATCH_POOL_SLOTS=20 lambda-dispatch serve --function my-function

SIGTERM drains and ends, a second one ends at once; SIGHUP takes a changed file over; SIGUSR1
writes down what the router did last. `lambda-dispatch serve --help` lists every setting.")]
    Serve(Configured),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the settings, say what they mean, and start nothing
    Check(CheckArgs),
    /// Write a file with every setting and its default, all commented out
    Init(InitArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch config init --function my-function
  lambda-dispatch config init /etc/lambda-dispatch.toml
  lambda-dispatch config init -                 to standard output")]
pub(crate) struct InitArgs {
    /// Where to write it; `-` is standard output
    #[arg(default_value = "lambda-dispatch.toml", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The Lambda function: a name, name:qualifier, or an ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch completions bash > /etc/bash_completion.d/lambda-dispatch
  lambda-dispatch completions zsh > ~/.zfunc/_lambda-dispatch
  lambda-dispatch completions fish > ~/.config/fish/completions/lambda-dispatch.fish")]
struct CompletionsArgs {
    /// The shell that is to read it
    shell: Shell,
}

/// Settings come from a file, above it the environment (`LAMBDA_DISPATCH_*`), above it flags.
#[derive(Args, Clone, Debug)]
pub(crate) struct Configured {
    /// TOML file with settings
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The Lambda function: a name, name:qualifier, or an ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// One setting, such as `--set pool.slots=20`; may be repeated. `serve --help` lists them
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

impl Configured {
    /// The settings file, if there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| file_in(std::env::vars_os()))
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch config check --config lambda-dispatch.toml
  lambda-dispatch config check --function my-function --set pool.slots=20
  lambda-dispatch config check --config lambda-dispatch.toml --iam > policy.json

Ends with 0 if the settings can be used, else with 1 after naming every fault.")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Print every value and its origin as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the IAM policy that the router needs: to invoke the functions of these settings
    #[arg(long, conflicts_with = "json")]
    pub(crate) iam: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch doctor --config lambda-dispatch.toml
  lambda-dispatch doctor --function my-function:live --set callback.host=10.0.0.7
  lambda-dispatch doctor --config lambda-dispatch.toml --json

Nothing is started: functions are asked about, by Invoke with DryRun, GetFunctionConfiguration,
GetFunctionConcurrency and GetAccountSettings. What the caller may not ask is said, and no fault.

Ends with 0 if nothing breaks, with 1 if something does, with 2 if the settings cannot be used.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Longest wait for each answer of AWS
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_span)]
    pub(crate) timeout: Duration,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch health --live
  lambda-dispatch health --config /etc/lambda-dispatch.toml
  lambda-dispatch health --url http://127.0.0.1:5005/readyz

It asks listen.admin, by the router's own settings: give it the same file and environment. Which
function it is need not be said.
A draining router is alive and not ready; who restarts what is not well should ask with --live.

Ends with 0 if the router is ready (--live: alive), else with 1.")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// Ask /livez instead of /readyz
    #[arg(long)]
    pub(crate) live: bool,
    /// Longest wait for the answer
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = parse_span)]
    pub(crate) timeout: Duration,
    /// Ask this instead of what the settings say
    #[arg(long, value_name = "URL", conflicts_with = "live")]
    pub(crate) url: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch dev
  lambda-dispatch dev -- node server.js
  lambda-dispatch dev --cold-start 3s -- sh -c 'exec uvicorn main:app --port $PORT'

The app listens on 127.0.0.1 at the port in $PORT, and answers GET /health with a status below 500.
Each instance is a process of its own, which inherits this environment and is stopped between
invokes, as on Lambda. Ctrl-C ends all of them.")]
struct DevArgs {
    /// Where clients come in
    #[arg(long, default_value = "127.0.0.1:5001", value_name = "ADDRESS", value_parser = address)]
    listen: SocketAddr,
    /// Probes and metrics; `off` for none
    #[arg(long, default_value = "127.0.0.1:5005", value_name = "ADDRESS", value_parser = admin)]
    admin: Admin,
    #[command(flatten)]
    pool: PoolArgs,
    /// Instances kept though idle, as far as --max-instances allows
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    min_instances: u32,
    /// Most instances
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = between(1, 1_000))]
    max_instances: u32,
    /// Added to the time that a new environment takes to start, at most 5m
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = cold_start)]
    cold_start: Duration,
    /// The function's time-out, 1s to 15m
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = function_timeout)]
    function_timeout: Duration,
    /// The variable in which your app is told its port
    #[arg(long, default_value = "PORT", value_name = "NAME", value_parser = variable_name)]
    app_port_env: String,
    /// File in which all is kept that the router's model is told and does, for a replay
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The command that starts your app, and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lambda-dispatch demo
  lambda-dispatch demo --requests 100 --cold-start 3s
  lambda-dispatch demo --json > demo.json")]
struct DemoArgs {
    /// Print JSON, and no progress
    #[arg(long)]
    json: bool,
    /// Requests, all sent at once
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = between(1, 1_000))]
    requests: u32,
    #[command(flatten)]
    pool: PoolArgs,
    /// How long the app takes for each, at most 30s
    #[arg(long, default_value = "50ms", value_name = "TIME", value_parser = within_demo)]
    service: Duration,
    /// Added to the time that a new environment takes to start, at most 5m
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = cold_start)]
    cold_start: Duration,
    /// Instances that are warm when the burst comes
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = between(0, 100))]
    warm: u32,
}

#[derive(Args, Debug)]
struct PoolArgs {
    /// Requests that one instance serves at once: its slots
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = between(1, SLOTS_MAX))]
    concurrency: u32,
    /// Memory of the function, in MB, for the bill
    #[arg(long, default_value_t = 1_024, value_name = "MB", value_parser = between(128, 10_240))]
    memory: u32,
}

/// The command line as it is parsed, with what is said of settings in the help of commands.
#[must_use]
pub fn command() -> clap::Command {
    let function = find("pool.function").map(variable_of).unwrap_or_default();
    let with_variable = |arg: clap::Arg, variable: &str| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [env: {variable}]"))
    };
    let configured = |command: clap::Command| {
        command
            .mut_arg("config", |arg| with_variable(arg, FILE_VARIABLE))
            .mut_arg("function", |arg| with_variable(arg, &function))
    };
    Cli::command()
        .mut_subcommand("check", configured)
        .mut_subcommand("config", |config| config.mut_subcommand("check", configured))
        .mut_subcommand("doctor", configured)
        .mut_subcommand("health", configured)
        .mut_subcommand("serve", |serve| {
            let examples = serve.get_after_help().map(ToString::to_string).unwrap_or_default();
            configured(serve).after_long_help(format!("{examples}\n\n{}", as_help()))
        })
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = as_another(&arguments) {
        return code;
    }
    let parsed = Cli::from_arg_matches(&command().get_matches());
    match perform(parsed.unwrap_or_else(|error| error.exit()).command) {
        Ok(code) => code,
        Err(error) => {
            crate::say(&format!("lambda-dispatch: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(asked: Command) -> anyhow::Result<ExitCode> {
    match asked {
        Command::Check(args) | Command::Config(ConfigCommand::Check(args)) => serve::check(&args)?,
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut command(), NAME, &mut script);
            let script = String::from_utf8_lossy(&script);
            // For bash clap_complete writes our name's hyphen in two ways, so that no command's
            // own options are found.
            crate::print(&script.replace("lambda__subcmd__dispatch", "lambda__dispatch"))?;
        }
        Command::Config(ConfigCommand::Init(args)) => config_init::run(&args)?,
        Command::Demo(args) => run(demo::run(args.into()))?,
        Command::Dev(mut args) => {
            let (Admin(admin), record) = (args.admin, args.record.take());
            run(dev::run(args.into(), admin, record))?;
        }
        Command::Doctor(args) => return run(doctor::run(args)),
        Command::Health(args) => return run(health::run(args)),
        Command::Report(args) => run(report::run(args))?,
        Command::Serve(configured) => serve::run(&configured)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// This program is also the programs that `dev` and `demo` need beside itself, so that one binary
/// is enough. They are not for users, and so not in the help.
fn as_another(arguments: &[OsString]) -> Option<ExitCode> {
    let rest = arguments.get(2..).unwrap_or_default();
    let failed = match arguments.get(1)?.to_str()? {
        EXTENSION => return Some(lambda_dispatch_extension::main_from_env()),
        EXEC => emulator::exec_with_parent(open_files::give_back(rest)).to_string(),
        DEMO_APP => match run(demo_app::run()) {
            Ok(()) => return Some(ExitCode::SUCCESS),
            Err(error) => format!("{error:#}"),
        },
        DIRECT => match run(direct::run()) {
            Ok(()) => return Some(ExitCode::SUCCESS),
            Err(error) => format!("{error:#}"),
        },
        _ => return None,
    };
    crate::say(&failed);
    Some(ExitCode::FAILURE)
}

/// Runs `work` on a runtime of its own. All that is run so shares this machine with the processes
/// that it starts, so two threads are plenty.
fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(work)
}

impl From<DevArgs> for Local {
    fn from(args: DevArgs) -> Self {
        Self {
            listen: args.listen,
            limits: Limits {
                instances_max: args.max_instances,
                instances_min: args.min_instances.min(args.max_instances),
                ..dev::limits(args.cold_start, args.pool.concurrency)
            },
            cold_start: args.cold_start,
            function_timeout: args.function_timeout,
            memory_mb: args.pool.memory,
            port_env: args.app_port_env,
            command: args.command,
        }
    }
}

impl From<DemoArgs> for Demo {
    fn from(args: DemoArgs) -> Self {
        Self {
            json: args.json,
            requests: args.requests,
            slots: args.pool.concurrency,
            service: args.service,
            cold_start: args.cold_start,
            warm: args.warm,
            memory_mb: args.pool.memory,
        }
    }
}

fn between(least: u32, most: u32) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(least)..=i64::from(most))
}

/// Where the admin port is, if anywhere.
#[derive(Clone, Copy, Debug)]
struct Admin(Option<SocketAddr>);

fn admin(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin(None));
    }
    address(text).map(|it| Admin(Some(it))).map_err(|why| format!("{why}, or off"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no address; write IP:PORT, such as 127.0.0.1:5001 or [::1]:5001")
    })
}

fn cold_start(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    if span > COLD_START_MOST {
        return Err(format!(
            "{text} is more than 5m; an instance that starts later takes its invoke for a replay"
        ));
    }
    Ok(span)
}

fn within_demo(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    if span > DEMO_MOST {
        return Err(format!("{text} is more than 30s; the demo's function has a minute in all"));
    }
    Ok(span)
}

fn function_timeout(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    if span > LAMBDA_MOST {
        return Err(format!("{text} is more than 15m, which is the most that Lambda allows"));
    }
    if span < Duration::from_secs(1) {
        return Err(format!("{text} is less than 1s, which is the least that Lambda allows"));
    }
    Ok(span)
}

fn variable_name(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && !text.contains(['=', '\0']);
    is_name.then(|| text.to_owned()).ok_or_else(|| "a variable's name, such as PORT".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("`{text}` is not KEY=VALUE, such as pool.slots=20"))
}

const NAME: &str = "lambda-dispatch";

/// The longest time-out of a function.
const LAMBDA_MOST: Duration = Duration::from_secs(15 * 60);
/// An instance takes an invoke that is six minutes old for a replay.
const COLD_START_MOST: Duration = Duration::from_secs(5 * 60);
/// Half of the time-out that the demo gives its function.
const DEMO_MOST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn an_app_that_starts_slowly_is_waited_for_that_much_longer() {
        let limits = |cold_start: &str| {
            let Ok(Cli { command: Command::Dev(args) }) =
                Cli::try_parse_from([NAME, "dev", "--cold-start", cold_start])
            else {
                panic!("--cold-start {cold_start} is not taken");
            };
            Local::from(args).limits
        };
        let usual = limits("0s");
        assert_eq!(usual.cold_start, None);
        let slow = limits("5m");
        let more = Duration::from_secs(5 * 60);
        assert_eq!(slow.cold_start, Some(more));
        assert_eq!(slow.start_timeout, usual.start_timeout + more);
        assert_eq!(slow.queue_timeout, usual.queue_timeout + more);
    }
}
