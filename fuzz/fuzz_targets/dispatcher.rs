//! `fuzz/run 60 dispatcher`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dispatcher(bytes));
