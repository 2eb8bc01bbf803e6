//! PTX, read and run on the processor with every access checked.
#![forbid(unsafe_code)]
