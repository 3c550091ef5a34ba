//! The machine by hand: given, when, then.

mod credits;
mod given;
mod life;
mod properties;
mod reports;
mod standing;
mod work;
