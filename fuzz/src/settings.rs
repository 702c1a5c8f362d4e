//! The router's settings under bytes.

use lambda_dispatch::settings::{Origin, Settings, SettingsError, explain, warnings};

/// Reads `bytes` as a settings file. Lines that begin with `$` are the environment's instead,
/// those that begin with `--` are flags.
///
/// # Panics
///
/// A fault has no place or no name, or what is in force means something else when it is said
/// again: a find.
pub fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut file = String::new();
    let mut environment = Vec::new();
    let mut flags = Vec::new();
    for line in text.lines() {
        if let Some((name, value)) = line.strip_prefix('$').and_then(|set| set.split_once('=')) {
            environment.push((name.to_owned(), value.to_owned()));
        } else if let Some(flag) = line.strip_prefix("--").and_then(|set| set.split_once('=')) {
            flags.push(flag);
        } else {
            file.push_str(line);
            file.push('\n');
        }
    }
    // What is open to the end is wrong on the empty line behind it.
    let lines = file.lines().count() + 1;
    match Settings::read(FILE, &file, environment.into_iter(), &flags) {
        Ok(settings) => mean_the_same_said_again(&settings),
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            for error in &errors.0 {
                has_a_place(error, lines);
            }
        }
    }
}

fn mean_the_same_said_again(settings: &Settings) {
    let explained = explain(settings);
    for warning in warnings(settings) {
        assert!(explained.contains(&warning), "{warning:?} is not explained");
    }
    if settings.pool("default").is_none() {
        // Its routes cannot be said with flags, and without any everything is for that pool.
        return;
    }
    let mut said = Vec::new();
    for value in settings.effective() {
        said.push((value.name.to_owned(), value.text.clone()));
    }
    for pool in settings.pools.iter().filter(|pool| pool.name != "default") {
        said.extend(pool.effective().iter().map(|value| {
            let key = value.name.strip_prefix("pool.").unwrap_or(value.name);
            (format!("pools.{}.{key}", pool.name), value.text.clone())
        }));
    }
    said.retain(|(_, text)| !text.is_empty());
    let flags: Vec<_> = said.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let again = Settings::read(FILE, "", std::iter::empty(), &flags);
    let again = again.unwrap_or_else(|why| panic!("{flags:?} were in force: {why}"));
    assert_eq!(again.pools.len(), settings.pools.len());
    for (again, pool) in again.pools.iter().zip(&settings.pools) {
        assert!(pool.differs_only_in_bounds(again), "{again:?} differs from {pool:?}");
        assert_eq!((again.config, again.price), (pool.config, pool.price));
    }
    assert_eq!((&again.listen, &again.callback), (&settings.listen, &settings.callback));
    assert_eq!((again.timeouts, again.limits), (settings.timeouts, settings.limits));
    assert_eq!(again.log, settings.log);
}

fn has_a_place(error: &SettingsError, lines: usize) {
    let message = error.to_string();
    let in_file = |line: usize| {
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {message}");
        assert!(message.contains(&format!("{FILE}:{line}")), "{message}");
    };
    match error {
        SettingsError::BadValue { name, origin, .. } => {
            assert!(message.contains(name), "{message}");
            place(origin, in_file);
        }
        SettingsError::UnknownName { place: origin, .. }
        | SettingsError::UnknownPool { place: origin, .. }
        | SettingsError::BadPoolName { place: origin, .. }
        | SettingsError::BadRoute { place: origin, .. } => place(origin, in_file),
        SettingsError::FileSyntax { line, .. } => in_file(*line),
        SettingsError::Conflict(what) => assert!(!what.is_empty(), "a conflict without words"),
        SettingsError::FileUnreadable { .. } => panic!("no file is read: {message}"),
        SettingsError::Missing { name, variable, .. } => {
            let variable = variable.as_deref().unwrap_or_default();
            assert!(message.contains(name) && message.contains(variable), "{message}");
        }
    }
}

fn place(origin: &Origin, in_file: impl Fn(usize)) {
    match origin {
        Origin::File { line, .. } => in_file(*line),
        Origin::Default => panic!("a default is wrong"),
        Origin::Environment(name) => assert!(!name.is_empty(), "a variable without a name"),
        Origin::Flag | Origin::Share(_) => {}
    }
}

const FILE: &str = "router.toml";
