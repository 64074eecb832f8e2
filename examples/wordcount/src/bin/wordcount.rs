//! The executable `wordcount`: serves the three functions to a worker.
fn main() {}
