//! Replays what fuzzers have left behind, and random bytes, so that the decoder stays sound where
//! no fuzzer runs.

use std::fs;
use std::path::Path;

use dispatch_model::Prng;

#[test]
fn committed_corpus_holds_no_find() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora/dispatcher");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).unwrap() {
        fuzz::dispatcher(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

#[test]
fn random_bytes_hold_no_find() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let steps = usize::try_from(prng.below(400)).unwrap();
        let length = fuzz::HEAD + steps * fuzz::STEP;
        let words = std::iter::repeat_with(|| prng.next_u64().to_le_bytes());
        let bytes: Vec<u8> = words.flatten().take(length).collect();
        let played = std::panic::catch_unwind(|| fuzz::dispatcher(&bytes));
        assert!(played.is_ok(), "seed {seed} is a find: {bytes:?}");
    }
}
