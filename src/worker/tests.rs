//! Whole workers on the bus inside the process, with a jobmaster played by hand.

mod bus;
mod documents;
mod jobmaster;
mod speed;
mod whole;
