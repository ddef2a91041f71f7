//! Matching: against the lists of the reference implementation where the shared folder is there,
//! and against laws everywhere.

mod coarse_to_fine;
mod fixture;
mod reciprocal;
mod retrieval;
mod two_view;
