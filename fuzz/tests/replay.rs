//! Replays what fuzzers have left behind, and plays some chance, so that every target stays sound
//! where no fuzzer runs.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use dispatch_model::Prng;
use fuzz::{TARGETS, Target};

#[test]
fn committed_corpora_hold_no_find() {
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            let played = catch_unwind(|| (target.play)(&bytes));
            assert!(played.is_ok(), "{} is a find", path.display());
        }
    }
}

#[test]
fn chance_holds_no_find() {
    for target in TARGETS {
        let corpus = corpus(target);
        for seed in 0..RANDOM_RUNS {
            let mut prng = Prng::new(seed);
            let bytes = match prng.below(2) {
                0 => noise(&mut prng),
                _ => changed(&mut prng, &corpus),
            };
            let played = catch_unwind(|| (target.play)(&bytes));
            assert!(played.is_ok(), "{}: seed {seed} is a find: {bytes:?}", target.name);
        }
    }
}

#[test]
fn every_target_has_what_a_fuzzer_needs() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let binaries = manifest.matches("[[bin]]").count();
    let gated = usize::from(!cfg!(feature = "settings"));
    assert_eq!(binaries, TARGETS.len() + gated, "a [[bin]] for each line of TARGETS");
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert!(names.is_sorted(), "TARGETS are not in the order of the alphabet: {names:?}");
    for name in names {
        let file = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("path = \"{file}\"")), "no [[bin]] for {file}");
        let text = fs::read_to_string(root().join(&file)).unwrap_or_else(|_| panic!("no {file}"));
        assert!(text.contains(&format!("fuzz::{name}(bytes)")), "{file} plays something else");
    }
}

#[test]
fn corpora_stay_small() {
    let mut files = 0;
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            files += 1;
            assert!(bytes.len() <= BYTES_MAX, "{} has {} bytes", path.display(), bytes.len());
        }
    }
    assert!(files <= FILES_MAX, "{files} files; the fuzzer's -merge=1 leaves what is needed");
}

/// The committed corpus of a target.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("corpora").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("no {}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.sort();
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("readable"));
    paths.into_iter().map(read).collect()
}

fn noise(prng: &mut Prng) -> Vec<u8> {
    let length = below(prng, 800);
    let words = std::iter::repeat_with(|| prng.next_u64().to_le_bytes());
    words.flatten().take(length).collect()
}

/// One of the corpus with some of its bytes replaced.
fn changed(prng: &mut Prng, corpus: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = corpus[below(prng, corpus.len())].1.clone();
    if !bytes.is_empty() {
        for _ in 0..=below(prng, 8) {
            let place = below(prng, bytes.len());
            bytes[place] = prng.next_u64().to_le_bytes()[0];
        }
    }
    bytes
}

fn below(prng: &mut Prng, end: usize) -> usize {
    usize::try_from(prng.below(end as u64)).expect("below a usize")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Few: a fuzzer does better, and these have to be quick.
const RANDOM_RUNS: u64 = 60;
/// So that a replay stays quick, and a clone small.
const FILES_MAX: usize = 250;
const BYTES_MAX: usize = 4_096;
