//! Laws of all methods, over a table of methods and one model of all kinds of layers. A new method is a row in `table.rs`.

mod files;
mod gradients;
mod life;
mod model;
mod refusals;
mod table;
mod training;
