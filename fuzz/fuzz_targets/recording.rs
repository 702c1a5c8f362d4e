//! `fuzz/run 60 recording`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::recording(bytes));
