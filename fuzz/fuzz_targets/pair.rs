//! `fuzz/run 60 pair`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::pair(bytes));
