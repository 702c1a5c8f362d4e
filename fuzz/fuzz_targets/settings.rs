//! `fuzz/run 60 settings`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::settings(bytes));
