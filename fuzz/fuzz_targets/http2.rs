//! `fuzz/run 60 http2`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::http2(bytes));
