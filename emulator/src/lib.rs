//! A stand-in for AWS Lambda.
pub mod model;
