//! The node: its life, and what it does each time round.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use r2r::lifecycle_msgs::srv::ChangeState;
use r2r::{Context, Node, ServiceRequest};
use recon_node::config::Config;
use recon_node::inference::Models;
use recon_node::model;
use recon_node::ros::files;
use recon_node::ros::lifecycle::{Outcome, State};
use recon_node::ros::session::Session;
use recon_node::stamp::Stamp;

use crate::diagnostics::Diagnostics;
use crate::lifecycle::LifecycleServices;
use crate::map_thread::MapOutputs;
use crate::outputs::Outputs;
use crate::parameters::Parameters;
use crate::saving;
use crate::services::{Services, tell};
use crate::shared::{Command, Shared};
use crate::status;
use crate::subscriptions::{Subscription, subscribe};
use crate::watching::Watching;
use crate::worker::Worker;

/// Name of the node, and of its logger.
pub const NAME: &str = "recon_node";

/// How long the middleware is waited for.
const SPIN: Duration = Duration::from_millis(10);
/// How long the frame that is being mapped is waited for at the end, where nothing is to be saved.
const LAST_FRAME: Duration = Duration::from_millis(1500);
/// Seconds between two diagnostics.
const DIAGNOSTICS_SECS: f64 = 1.0;

/// The node and all that belongs to it.
pub struct ReconNode {
    parameters: Parameters,
    services: Services,
    lifecycle: LifecycleServices,
    diagnostics: Diagnostics,
    outputs: Outputs,
    maps: MapOutputs,
    subscriptions: Vec<Subscription>,
    shared: Arc<Shared>,
    worker: Option<Worker>,
    active_since_secs: f64,
    last_diagnostics_secs: f64,
    /// Why there is no model, where there should be one.
    failure: String,
    stop: Arc<AtomicBool>,
    // Publishers and services end before the node.
    node: Node,
}

impl ReconNode {
    /// Returns the node; with `autostart` it is at work already. `stop` ends what takes long.
    ///
    /// # Errors
    /// Where the middleware refuses, or a parameter is not accepted.
    pub fn start(stop: &Arc<AtomicBool>) -> anyhow::Result<Self> {
        let context = Context::create().context("ROS 2 cannot be initialised")?;
        let mut node = Node::create(context, NAME, "").context("the node cannot be created")?;
        let parameters = Parameters::new(&mut node)?;
        let autostart = parameters.settings().node.autostart;
        let shared = Arc::new(Shared::new(parameters.settings()));
        let mut started = Self {
            services: Services::new(&mut node)?,
            lifecycle: LifecycleServices::new(&mut node)?,
            diagnostics: Diagnostics::new(&mut node)?,
            outputs: Outputs::new(&mut node)?,
            maps: MapOutputs::new(&mut node)?,
            subscriptions: Vec::new(),
            shared,
            worker: None,
            active_since_secs: 0.0,
            last_diagnostics_secs: f64::NEG_INFINITY,
            failure: String::new(),
            stop: Arc::clone(stop),
            parameters,
            node,
        };
        if autostart {
            started.change_state(1, "configure");
            started.change_state(3, "activate");
        }
        Ok(started)
    }

    /// Returns whether the node was shut down.
    pub fn is_finalized(&self) -> bool {
        self.lifecycle.life.state() == State::Finalized
    }

    /// Takes what has come, and answers it.
    pub fn spin_once(&mut self) {
        self.node.spin_once(SPIN);
        let ros_now = self.ros_now();
        for subscription in &mut self.subscriptions {
            while let Some(data) = subscription.take() {
                self.shared.receive(subscription.input, data, ros_now);
            }
        }
        let map_frame = self.parameters.settings().node.map_frame.clone();
        self.services.serve(&self.shared, self.worker.is_some(), &map_frame);
        self.lifecycle.serve();
        while let Some(request) = self.lifecycle.take_change() {
            self.answer_change(request);
        }
        if self.parameters.serve(ros_now) {
            self.take_over_settings();
        }
        self.end_where_failed();
        self.diagnose(ros_now);
    }

    /// Ends the mapping, and saves what is to be saved. A model that is at work on a frame is
    /// waited for only where there is something to save.
    pub fn shut_down(mut self) {
        self.subscriptions.clear();
        let is_kept = files::is_kept(&self.parameters.settings().node);
        if let Some(worker) = self.worker.take() {
            self.shared.stop();
            if !worker.join((!is_kept).then_some(LAST_FRAME)) {
                r2r::log_warn!(NAME, "ended in the middle of a frame");
                // Its thread still runs, and must not meet a middleware that is gone.
                std::process::exit(0);
            }
        }
        r2r::log_info!(NAME, "ended");
    }

    fn ros_now(&self) -> Stamp {
        let clock = self.node.get_ros_clock();
        let now = clock.lock().unwrap_or_else(PoisonError::into_inner).get_now();
        now.map_or(Stamp::from_nanos(0), |now| Stamp::from_nanos(now.as_nanos() as i64))
    }

    fn answer_change(&mut self, request: ServiceRequest<ChangeState::Service>) {
        let wanted = request.message.transition.clone();
        let success = self.change_state(wanted.id, &wanted.label);
        tell(request.respond(ChangeState::Response { success }));
    }

    /// Goes through a transition; `false` where that may not be, or did not work.
    fn change_state(&mut self, id: u8, label: &str) -> bool {
        let Some(begun) = self.lifecycle.begin(id, label) else { return false };
        let outcome = match begun.goal {
            State::Configuring => self.configure(),
            State::Activating => self.activate(),
            State::Deactivating => {
                self.deactivate();
                Ok(())
            }
            _ => {
                self.deactivate();
                self.stop_worker();
                Ok(())
            }
        };
        match outcome {
            Ok(()) => self.lifecycle.finish(Outcome::Success),
            Err(error) => {
                r2r::log_error!(NAME, "{} failed: {error:#}", begun.label);
                self.failure = format!("{} failed: {error:#}", begun.label);
                self.deactivate();
                self.stop_worker();
                self.lifecycle.finish(Outcome::Error);
                self.lifecycle.finish(Outcome::Success);
                return false;
            }
        }
        true
    }

    fn configure(&mut self) -> anyhow::Result<()> {
        let mut settings = self.parameters.settings().clone();
        files::check(&settings.node)?;
        let model::Resolved { config, warning } =
            model::resolve(&settings.pipeline, settings.node.subscribe_depth)?;
        warning.iter().for_each(|warning| r2r::log_warn!(NAME, "{warning}"));
        settings.pipeline = config;
        let model = self.load_model(settings.pipeline.clone())?;
        let mut session = Session::new(settings.clone(), model);
        let map = Path::new(&settings.node.load_map);
        if !settings.node.load_map.is_empty() {
            saving::load_map(&mut session, map, false).map_err(anyhow::Error::msg)?;
        }
        let watching = Watching::begin(&settings.node)?;
        self.failure.clear();
        self.shared = Arc::new(Shared::new(&settings));
        let (outputs, maps) = (self.outputs.clone(), self.maps.clone());
        let worker = Worker::start(&self.shared, &settings, session, outputs, maps, watching);
        self.worker = Some(worker);
        Ok(())
    }

    /// Loads the model on a thread of its own: that may take minutes, in which the node can be
    /// asked for its state, and stopped.
    fn load_model(&mut self, config: Config) -> anyhow::Result<Models> {
        let (name, begun) = (config.model.name.clone(), Instant::now());
        let (sender, receiver) = sync_channel(1);
        std::thread::spawn(move || {
            // Nobody waits any more where the node was stopped.
            let _ = sender.send(model::open(&config));
        });
        loop {
            match receiver.recv_timeout(SPIN) {
                Ok(model) => {
                    let secs = begun.elapsed().as_secs_f64();
                    r2r::log_info!(NAME, "the model {name} took {secs:.1} s to load");
                    return Ok(model?);
                }
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the model has panicked"),
                Err(RecvTimeoutError::Timeout) if self.stop.load(Ordering::Relaxed) => {
                    anyhow::bail!("stopped while the model {name} was being loaded")
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.node.spin_once(Duration::ZERO);
                    self.lifecycle.serve();
                }
            }
        }
    }

    fn activate(&mut self) -> anyhow::Result<()> {
        self.subscriptions = subscribe(&mut self.node, &self.parameters.settings().node)?;
        self.shared.lock().active = true;
        self.active_since_secs = self.shared.now_secs();
        Ok(())
    }

    fn deactivate(&mut self) {
        self.subscriptions.clear();
        let mut inner = self.shared.lock();
        inner.active = false;
        inner.figures.waiting_for.clear();
        inner.inputs.discard();
    }

    fn stop_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.shared.stop();
            worker.join(None);
        }
    }

    fn take_over_settings(&mut self) {
        let settings = self.parameters.settings();
        self.shared.lock().inputs.reconfigure(&settings.node);
        if self.worker.is_some() {
            self.shared.command(Command::Settings(Box::new(settings.clone())));
        }
    }

    /// What the mapping cannot go on from takes the node to its first state.
    fn end_where_failed(&mut self) {
        let failure = self.shared.lock().figures.failure.take();
        let Some(reason) = failure else { return };
        r2r::log_error!(NAME, "the mapping has ended: {reason}");
        self.failure = format!("the mapping has ended: {reason}");
        self.deactivate();
        self.stop_worker();
        if self.lifecycle.begin(4, "deactivate").is_some() {
            self.lifecycle.finish(Outcome::Error);
            self.lifecycle.finish(Outcome::Success);
        }
    }

    fn diagnose(&mut self, ros_now: Stamp) {
        let now_secs = self.shared.now_secs();
        if (now_secs - self.last_diagnostics_secs).abs() < DIAGNOSTICS_SECS {
            return;
        }
        self.last_diagnostics_secs = now_secs;
        let (last_frame_secs, is_looking) = {
            let inner = self.shared.lock();
            (inner.figures.last_frame_secs, inner.active && !inner.paused)
        };
        let since = last_frame_secs.unwrap_or(0.0).max(self.active_since_secs);
        let patience = self.parameters.settings().node.diagnosis_after;
        if is_looking && now_secs - since > patience {
            self.diagnostics.look(&self.node, &self.subscriptions, &self.shared);
        }
        self.diagnostics.publish(&self.shared, ros_now);
        if self.worker.is_none() {
            let map_frame = &self.parameters.settings().node.map_frame;
            self.outputs.status(&status::unconfigured(&self.failure, map_frame));
        }
    }
}
