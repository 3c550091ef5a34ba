//! The domain's tests: each rule on its own (`rules`, `ending`, `workers`), and random lives of jobs against a naive
//! model (`machine`).

mod ending;
mod given;
mod machine;
mod model;
mod rules;
mod workers;
