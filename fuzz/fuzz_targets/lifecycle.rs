//! `fuzz/run 60 lifecycle`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::lifecycle(bytes));
