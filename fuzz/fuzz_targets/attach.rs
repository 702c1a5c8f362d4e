//! `fuzz/run 60 attach`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::attach(bytes));
