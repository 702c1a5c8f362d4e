//! Each mutant still names one place, so that the table of what was noticed means something.

use std::path::Path;

use sim::mutants;

#[test]
fn every_mutant_names_exactly_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mutants = mutants::parse(include_str!("../mutants.toml")).unwrap();
    assert!(mutants.len() >= 30, "{} mutants", mutants.len());
    for mutant in mutants {
        let text = std::fs::read_to_string(root.join(&mutant.file)).unwrap();
        let changed = mutant.apply(&text).unwrap();
        assert_ne!(changed, text, "{} changes nothing", mutant.name);
    }
}
