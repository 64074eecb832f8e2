//! FaaSFlow's store: what every process of a worker links.

pub mod binding;
pub mod descriptor;
