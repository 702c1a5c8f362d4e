//! `fuzz/run 60 payload`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::payload(bytes));
