//! `config init`: a settings file to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};

use crate::cli::InitArgs;
use crate::settings::{FunctionName, as_file};

/// Writes it, and says what to do next.
///
/// # Errors
///
/// The function's name is none, or the file is there already or cannot be written. What was there
/// stays.
pub(crate) fn run(args: &InitArgs) -> anyhow::Result<()> {
    if let Some(name) = &args.function {
        let fault = |why| anyhow!("--function is {name:?}, which is no function: {why}");
        FunctionName::parse(name).map_err(fault)?;
    }
    let text = as_file(args.function.as_deref());
    if args.file == Path::new("-") {
        return crate::print(&text);
    }
    let file = args.file.display();
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut open = match options.open(&args.file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{file} is there already and was left as it is; --force writes over it")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {file}")),
    };
    open.write_all(text.as_bytes()).with_context(|| format!("cannot write {file}"))?;
    crate::print(&format!(
        "{file} has every setting with its default. Next: lambda-dispatch config check --config {file}\n"
    ))
}
