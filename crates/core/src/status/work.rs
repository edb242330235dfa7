//! Open work.
