//! The table: which module is in which layer, and what belongs to one room only.

/// Layers from the ground up: mathematics, data and sockets, stages, composition, edges.
pub const LAYERS: [&[&str]; 5] = [
    &["geometry"],
    &[
        "block_system",
        "cloud",
        "constraint",
        "decode",
        "dense_residual",
        "error",
        "features",
        "frame",
        "inference",
        "keyframe",
        "messages",
        "patches",
        "pointmap",
        "pyramid",
        "raster",
        "reference",
        "sensor",
        "source",
        "stamp",
        "trajectory",
    ],
    &["alignment", "evaluation", "map", "matching", "pose_graph", "tracking", "window"],
    &["config", "observer", "pipeline", "recognition", "relocalization", "runtime"],
    &["dataset", "export", "model", "ros", "simulator", "store", "viz"],
];

/// Modules that may know less than their layer: the highest layer that they may know.
pub const NARROWER: [(&str, usize); 1] = [("simulator", 1)];

/// What may be named in some rooms only: how its path begins, and the files it may be named in
/// (relative to `src`, by how their names begin). Programs are in `bin/`.
pub const ROOMS: [(&[&str], &[&str]); 13] = [
    (&["candle_core"], &["model", "bin/gpu_check"]),
    (&["candle_nn"], &["model"]),
    (&["r2r"], &["ros", "bin/recon_node"]),
    (&["rerun"], &["viz"]),
    (&["rusqlite"], &["dataset", "store"]),
    (&["mcap"], &["dataset"]),
    (&["crossbeam"], &["runtime"]),
    (&["std", "thread"], &["runtime", "bin/"]),
    (
        &["std", "fs"],
        &[
            "config", "runtime", "observer", "dataset", "export", "model", "store", "viz", "ros",
            "bin/",
        ],
    ),
    (&["std", "net"], &["runtime", "ros", "viz", "bin/"]),
    (&["std", "time", "Instant"], &["runtime", "bin/"]),
    (&["std", "time", "SystemTime"], &["runtime", "bin/"]),
    (&["std", "time", "*"], &[]),
];

/// No file is this long.
pub const FILE_LIMIT_LINES: usize = 400;
/// No function is longer.
pub const FUNCTION_LIMIT_LINES: usize = 60;
/// Half of the functions are no longer.
pub const FUNCTION_MEDIAN_LINES: usize = 10;
