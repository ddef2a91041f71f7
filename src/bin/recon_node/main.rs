//! `recon_node`: the mapping as a ROS 2 node. This program carries messages between the middleware
//! and `recon_node::ros`, which decides; see the README for topics, services and parameters.

mod convert;
mod diagnostics;
mod lifecycle;
mod mailbox;
mod map_thread;
mod markers;
mod node;
mod outputs;
mod parameters;
mod saving;
mod services;
mod shared;
mod status;
mod subscriptions;
mod watching;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            r2r::log_fatal!(node::NAME, "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .context("cannot listen for Ctrl-C")?;
    let mut node = node::ReconNode::start(&stop)?;
    while !stop.load(Ordering::Relaxed) && !node.is_finalized() {
        node.spin_once();
    }
    node.shut_down();
    Ok(())
}
