//! What each check has to refuse: no check that cannot fail.

use super::{
    Check, arrows_against_the_table, cycles, modules_without_layer, names_out_of_their_room,
};

/// Files (name and text) that a check refuses, and what it says about them.
pub type Refused = (Check, &'static [(&'static str, &'static str)], &'static str);

pub const REFUSED: &[Refused] = &[
    (modules_without_layer, &[("attic/mod.rs", "")], "module attic has no layer"),
    (
        arrows_against_the_table,
        &[("geometry/a.rs", "use crate::frame::Frame;")],
        "geometry must not know frame",
    ),
    (
        arrows_against_the_table,
        &[("frame.rs", "use crate::tracking::X;")],
        "frame must not know tracking",
    ),
    (
        arrows_against_the_table,
        &[("tracking/a.rs", "fn f() { crate::map::fuse() }")],
        "tracking must not know map",
    ),
    (
        arrows_against_the_table,
        &[("map/mod.rs", "use crate::pipeline::Pipeline;")],
        "map must not know pipeline",
    ),
    (
        arrows_against_the_table,
        &[("pipeline.rs", "use crate::viz::plot;")],
        "pipeline must not know viz",
    ),
    (
        arrows_against_the_table,
        &[("viz/a.rs", "use crate::export::ply;")],
        "viz must not know export",
    ),
    (
        arrows_against_the_table,
        &[("simulator/a.rs", "use crate::evaluation::ate;")],
        "simulator must not know evaluation",
    ),
    (
        arrows_against_the_table,
        &[("map/a.rs", "use crate::{\n  error::{Error, Result},\n  window::W,\n};")],
        "map must not know window",
    ),
    (
        arrows_against_the_table,
        &[("map/a.rs", "use crate::{frame as f, window as w};")],
        "map must not know window",
    ),
    (
        arrows_against_the_table,
        &[("map/a/b.rs", "use super::super::super::window::W;")],
        "map must not know window",
    ),
    (
        arrows_against_the_table,
        &[("frame.rs", "use super::{stamp::S, viz};")],
        "frame must not know viz",
    ),
    (
        arrows_against_the_table,
        &[("frame.rs", "pub(in crate::viz) struct A;")],
        "frame must not know viz",
    ),
    (arrows_against_the_table, &[("frame.rs", "use crate::Root;")], "frame must not know Root"),
    (arrows_against_the_table, &[("frame.rs", "use crate::*;")], "frame must not know *"),
    (
        cycles,
        &[("frame.rs", "use crate::stamp::S;"), ("stamp.rs", "use crate::frame::F;")],
        "frame is in a cycle",
    ),
    (
        names_out_of_their_room,
        &[("viz/a.rs", "use candle_core::Tensor;")],
        "viz/a.rs names candle_core",
    ),
    (names_out_of_their_room, &[("map/a.rs", "use r2r::Node;")], "map/a.rs names r2r"),
    (names_out_of_their_room, &[("bin/recon/a.rs", "use rusqlite::Connection;")], "names rusqlite"),
    (
        names_out_of_their_room,
        &[("pipeline.rs", "use std::{fs, io};")],
        "pipeline.rs names std::fs",
    ),
    (
        names_out_of_their_room,
        &[("map/a.rs", "fn f() { std::thread::spawn(g); }")],
        "map/a.rs names std::thread",
    ),
    (
        names_out_of_their_room,
        &[("viz/a.rs", "use std::time::{Duration, Instant};")],
        "names std::time::Instant",
    ),
    (names_out_of_their_room, &[("map/a.rs", "use std::time::*;")], "names std::time::*"),
];
