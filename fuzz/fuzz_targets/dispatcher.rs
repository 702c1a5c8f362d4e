//! `cargo +nightly fuzz run dispatcher --features libfuzzer corpora/dispatcher`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dispatcher(bytes));
