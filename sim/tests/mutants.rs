//! Each mutant still names one place, so that the table of what was noticed means something.

use std::path::Path;

use sim::mutants::{self, Mutant};

/// The mutants of `sim/mutants.toml`.
fn mutants() -> Vec<Mutant> {
    mutants::parse(include_str!("../mutants.toml")).expect("the list of mutants is read")
}

#[test]
fn every_mutant_names_exactly_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mutants = mutants();
    assert!(mutants.len() >= 30, "{} mutants", mutants.len());
    for mutant in mutants {
        let text = std::fs::read_to_string(root.join(&mutant.file)).unwrap();
        let changed = mutant.apply(&text).unwrap();
        assert_ne!(changed, text, "{} changes nothing", mutant.name);
    }
}

/// A run takes hours, so the table may lack what is new; what it has should be found where it says.
#[test]
fn every_row_of_the_table_names_a_mutant_and_its_file() {
    let mutants = mutants();
    let rows = include_str!("../MUTANTS.md").lines().filter(|line| line.starts_with("| "));
    for row in rows.skip(1) {
        let found = |it: &Mutant| row.starts_with(&format!("| {} | {} |", it.name, it.file));
        assert!(mutants.iter().any(found), "no mutant of sim/mutants.toml is this one: {row}");
    }
}
