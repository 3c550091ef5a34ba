//! The publisher's tests.
