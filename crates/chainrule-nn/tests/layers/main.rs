//! Laws of layers, over a table of all of them.

mod attention;
mod batch_norm;
mod laws;
mod norms;
mod recurrent;
mod surroundings;
mod table;
