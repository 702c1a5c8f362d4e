//! What is said to who comes from Lambda Web Adapter: which of its variables do nothing here, and
//! which have a value that it takes in silence.
//!
//! Those that do something are read beside ours, in [`settings`](crate::settings).

use crate::settings::boolean;

/// Its variables that change what an app sees or gets, and why they do nothing here.
const IGNORED: &[(&str, &str)] = &[
    ("AUTHORIZATION_SOURCE", "headers reach the app as the client sent them"),
    ("ERROR_STATUS_CODES", "an invoke serves many requests; the router's metrics have each status"),
    ("HOST", "the app is reached at 127.0.0.1"),
    ("INVOKE_MODE", "responses always stream"),
    ("LAMBDA_RUNTIME_API_PROXY", "AWS_LAMBDA_RUNTIME_API is followed as it is set"),
    ("PASS_THROUGH_PATH", "requests come from the router, other events do not"),
    ("READINESS_CHECK_MIN_UNHEALTHY_STATUS", "set AWS_LWA_READINESS_CHECK_HEALTHY_STATUS instead"),
    ("REMOVE_BASE_PATH", "paths reach the app as the client sent them"),
];

/// Its variables that are understood.
const UNDERSTOOD: &[&str] = &[
    "ASYNC_INIT",
    "ENABLE_COMPRESSION",
    "PORT",
    "READINESS_CHECK_HEALTHY_STATUS",
    "READINESS_CHECK_PATH",
    "READINESS_CHECK_PORT",
    "READINESS_CHECK_PROTOCOL",
    "SNAPSTART_AFTER_RESTORE_PATH",
    "SNAPSTART_BEFORE_CHECKPOINT_PATH",
];

/// Those of them to which any word but true is false.
const BOOLEANS: &[&str] = &["ASYNC_INIT", "ENABLE_COMPRESSION"];

const PREFIX: &str = "AWS_LWA_";

/// A line for each variable of Lambda Web Adapter that is set and does nothing here, or is neither
/// true nor false where it has to be, by name.
pub(crate) fn notices(variables: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut notices: Vec<String> = variables
        .filter_map(|(variable, value)| {
            let name = variable.strip_prefix(PREFIX)?;
            if UNDERSTOOD.contains(&name) {
                let value = value.trim();
                let is_fine = value.is_empty() || boolean(value).is_some();
                let is_odd = BOOLEANS.contains(&name) && !is_fine;
                return is_odd.then(|| {
                    format!("{variable} is `{value}`, must be true or false; it counts as false")
                });
            }
            let known = IGNORED.iter().find(|(ignored, _)| *ignored == name);
            let why = known.map_or("no such name is known", |(_, why)| why);
            Some(format!("{variable} does nothing here: {why}"))
        })
        .collect();
    notices.sort();
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(names: &[&str]) -> Vec<String> {
        notices(names.iter().map(|name| (format!("{PREFIX}{name}"), "1".to_owned())))
    }

    #[test]
    fn each_variable_that_does_nothing_gets_one_line_that_says_why() {
        let said = said(&["PORTT", "INVOKE_MODE", "PORT"]);
        assert_eq!(
            said,
            [
                "AWS_LWA_INVOKE_MODE does nothing here: responses always stream",
                "AWS_LWA_PORTT does nothing here: no such name is known",
            ]
        );
        let others = ["PORT", "PATH"].map(|name| (name.to_owned(), "1".to_owned()));
        assert!(notices(others.into_iter()).is_empty());
    }

    #[test]
    fn a_word_that_is_neither_true_nor_false_gets_a_line() {
        let said = |value: &str| {
            let variable = ("AWS_LWA_ENABLE_COMPRESSION".to_owned(), value.to_owned());
            notices(std::iter::once(variable))
        };
        assert_eq!(
            said("yes"),
            ["AWS_LWA_ENABLE_COMPRESSION is `yes`, must be true or false; it counts as false"]
        );
        for fine in ["", " ", "true", "False", "0"] {
            assert!(said(fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn what_is_said_to_be_understood_is_read() {
        // Whoever is read fails on a value that no setting takes, or says what it counts as.
        for name in UNDERSTOOD {
            let name = format!("{PREFIX}{name}");
            let read = crate::settings::Settings::read(|variable| match variable {
                "AWS_LAMBDA_RUNTIME_API" => Some("127.0.0.1:9001".to_owned()),
                variable => (variable == name).then(|| "no value at all".to_owned()),
            });
            let said = match read {
                Ok(_) => notices(std::iter::once((name.clone(), "no value at all".to_owned()))),
                Err(error) => vec![error.to_string()],
            };
            assert!(said.len() == 1 && said[0].starts_with(&name), "{name}: {said:?}");
        }
        for (name, _) in IGNORED {
            assert!(!UNDERSTOOD.contains(name), "{name}");
        }
    }
}
