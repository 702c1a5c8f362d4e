//! `fuzz/run 60 importers`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::importers(bytes));
