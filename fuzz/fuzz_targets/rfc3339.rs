//! `fuzz/run 60 rfc3339`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::rfc3339(bytes));
