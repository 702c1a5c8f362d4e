//! Every scenario holds over the models; those that say nothing about single nanoseconds hold over
//! the real adapters as well, which `cargo sim real --scenario` checks where there is more time.

use sim::{Checks, Driver, scenario};

#[test]
fn every_scenario_holds() {
    for (name, _) in scenario::ALL {
        let plan = scenario::load(name).unwrap();
        assert!(plan.hold.is_some(), "{name} says nothing about what must hold");
        assert!(!plan.about.trim().is_empty(), "{name} tells no story");
        let (outcome, _) = Driver::Fast.run_file(&plan, Checks { model: false, ..Checks::ALL });
        let line = format!("cargo sim fast --scenario {name}");
        assert_eq!(outcome.broken, None, "{line}\n{}", outcome.report);
    }
}

#[test]
fn every_file_is_a_scenario_and_every_scenario_a_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let known: Vec<_> = scenario::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, known);
}

#[test]
fn plan_that_cannot_be_read_says_where_and_why() {
    for (text, says) in [
        ("[pool]\nslot = 3\n[[traffic]]\n", "unknown field `slot`"),
        ("[[traffic]]\nat = \"5\"\nrequests = 1\nservice = \"1s\"\n", "write a number and ns, us"),
        (
            "[pool]\nslots = 0\n[[traffic]]\nat = \"5s\"\nrequests = 1\nservice = \"1s\"\n",
            "slots is 0",
        ),
        ("[pool]\nslots = 3\n", "nothing would happen"),
        (
            "[lambda]\nramp = 0\n[[traffic]]\nat = \"5s\"\nrequests = 1\nservice = \"1s\"\n",
            "lambda.ramp",
        ),
        ("[[fault]]\nkind = \"rain\"\nat = \"1s\"\n", "unknown variant `rain`"),
        ("= 3", "line 1"),
    ] {
        let error = scenario::parse(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let error = scenario::load("no-such").unwrap_err();
    assert!(error.contains("threshold-idle-at"), "{error}");
}

#[test]
fn plan_that_was_written_down_is_the_plan() {
    for seed in 0..50 {
        let plan = Driver::Fast.plan(seed);
        assert_eq!(scenario::parse(&toml::to_string(&plan).unwrap()), Ok(plan), "seed {seed}");
    }
}
