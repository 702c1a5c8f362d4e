//! `fuzz/run 60 networks`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::networks(bytes));
