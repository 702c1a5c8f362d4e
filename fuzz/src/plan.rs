//! Plans of simulations and of reports, read from bytes.

use sim::scenario::parse;

/// Reads `bytes` as a plan.
///
/// # Panics
///
/// What is accepted is another plan once it was written down: a find.
pub fn plan(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // A report's plan is not written down again; it may only not be read badly.
    if let Err(error) = reports::Plan::parse(text) {
        assert!(!error.is_empty(), "{text} is refused without a word");
    }
    match parse(text) {
        Ok(plan) => {
            let written = toml::to_string(&plan).expect("a plan can be written");
            assert_eq!(parse(&written), Ok(plan), "{text} is {written}");
        }
        Err(error) => assert!(!error.is_empty(), "{text} is refused without a word"),
    }
}
