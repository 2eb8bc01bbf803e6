//! Published models for chainrule, and readers of published weights.
#![forbid(unsafe_code)]

pub mod read;
