//! Plans that once broke something, made small: they hold over the models, and over the real
//! adapters where those can play them.

use std::path::Path;

use sim::{Checks, Driver, scenario};

#[test]
fn what_once_broke_something_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.to_string_lossy().into_owned();
        let plan = scenario::load(&name).unwrap();
        for driver in [Driver::Fast, Driver::Real] {
            if !plan.kinds().all(|kind| driver.plays(kind)) {
                continue;
            }
            let (outcome, _) = driver.run_file(&plan, Checks::ALL);
            assert_eq!(outcome.broken, None, "cargo sim {driver} --scenario {name}");
        }
    }
}
