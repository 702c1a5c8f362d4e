//! `fuzz/run 60 wire_v1`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::wire_v1(bytes));
