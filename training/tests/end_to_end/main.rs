//! The real binary and the library of this package, from end to end.

mod errors;
mod forecasting;
mod fuzz;
mod keras_golden;
mod lab;
mod libtorch;
mod python;
mod resume;
mod runs;
