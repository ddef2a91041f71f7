//! The program as its user meets it: what it leaves, what it prints, and what it says about bad
//! input.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod bad_bags;
mod bad_input;
mod configuration;
mod demo;
mod handing_on;
#[path = "../weights/server.rs"]
#[allow(dead_code, reason = "written for the tests of fetching, which use all of it")]
mod hub;
mod infer;
mod infer_family;
mod maps;
#[path = "../dataset_reading/support/messages.rs"]
#[allow(dead_code, reason = "written for the tests of reading, which use all of it")]
mod messages;
mod model;
mod replay;
mod sfm;
mod support;
mod watching;
mod weights;
