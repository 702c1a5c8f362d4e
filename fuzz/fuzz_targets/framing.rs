//! `fuzz/run 60 framing`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::framing(bytes));
