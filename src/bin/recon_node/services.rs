//! The services that a person or a behaviour tree calls.

use std::path::PathBuf;

use r2r::geometry_msgs::msg::PoseWithCovarianceStamped;
use r2r::nav_msgs::srv::GetMap;
use r2r::recon_node::srv::{LoadMap, SaveMap, SaveTrajectory, SetMode};
use r2r::std_srvs::srv::Trigger;
use r2r::{Node, QosProfile, ServiceRequest};
use recon_node::ros::files::{MAP_FORMATS, SavedFile, TRAJECTORY_FORMATS, format_of};
use recon_node::ros::mode::Mode;

use crate::convert;
use crate::mailbox::{Mailbox, Requests, service};
use crate::map_thread::PlanReply;
use crate::node::NAME;
use crate::shared::{Command, Reply, Shared};

/// All services, and the topic of poses that are given.
pub struct Services {
    reset: Requests<Trigger::Service>,
    pause: Requests<Trigger::Service>,
    resume: Requests<Trigger::Service>,
    keyframe: Requests<Trigger::Service>,
    refine: Requests<Trigger::Service>,
    load_map: Requests<LoadMap::Service>,
    mode: Requests<SetMode::Service>,
    plan: Requests<GetMap::Service>,
    save_map: Requests<SaveMap::Service>,
    save_trajectory: Requests<SaveTrajectory::Service>,
    initial_pose: Mailbox<PoseWithCovarianceStamped>,
}

impl Services {
    /// Returns the services.
    pub fn new(node: &mut Node) -> r2r::Result<Self> {
        Ok(Self {
            reset: service(node, "~/reset")?,
            pause: service(node, "~/pause")?,
            resume: service(node, "~/resume")?,
            keyframe: service(node, "~/trigger_keyframe")?,
            refine: service(node, "~/refine")?,
            load_map: service(node, "~/load_map")?,
            mode: service(node, "~/set_mode")?,
            plan: service(node, "~/get_map")?,
            save_map: service(node, "~/save_map")?,
            save_trajectory: service(node, "~/save_trajectory")?,
            initial_pose: Mailbox::new(node.subscribe("initialpose", QosProfile::default())?),
        })
    }

    /// Answers what has come; `is_configured` says whether there is a mapping thread to ask.
    pub fn serve(&mut self, shared: &Shared, is_configured: bool, map_frame: &str) {
        while let Some(request) = self.pause.take() {
            set_paused(shared, true);
            tell(request.respond(triggered(Ok("frames are left out now".to_owned()))));
        }
        while let Some(request) = self.resume.take() {
            set_paused(shared, false);
            tell(request.respond(triggered(Ok("frames are mapped again".to_owned()))));
        }
        while let Some(request) = self.reset.take() {
            ask(shared, is_configured, request, Command::Reset);
        }
        while let Some(request) = self.keyframe.take() {
            ask(shared, is_configured, request, Command::Keyframe);
        }
        while let Some(request) = self.refine.take() {
            ask(shared, is_configured, request, Command::Refine);
        }
        while let Some(request) = self.plan.take() {
            // The type has no room for a reason: a plan without cells is none.
            let reply: PlanReply = Box::new(move |plan| {
                tell(request.respond(GetMap::Response { map: plan.unwrap_or_default() }));
            });
            match is_configured {
                true => shared.command(Command::Plan(reply)),
                false => reply(Err(NOT_CONFIGURED.to_owned())),
            }
        }
        self.save(shared, is_configured);
        self.load(shared, is_configured);
        while let Some(message) = self.initial_pose.take() {
            take_pose(shared, &message, map_frame);
        }
    }

    fn load(&mut self, shared: &Shared, is_configured: bool) {
        while let Some(request) = self.load_map.take() {
            let LoadMap::Request { path, recover } = request.message.clone();
            let reply = move |outcome| tell(request.respond(map_loaded(outcome)));
            match (is_configured, path.is_empty()) {
                (false, _) => reply(Err(NOT_CONFIGURED.to_owned())),
                (_, true) => reply(Err(NO_PATH.to_owned())),
                (true, false) => {
                    let (path, reply) = (PathBuf::from(path), Box::new(reply));
                    shared.command(Command::LoadMap { path, recover, reply });
                }
            }
        }
        while let Some(request) = self.mode.take() {
            let mode = Mode::from_name(&request.message.mode);
            let reply = move |outcome: Result<String, String>| {
                let success = outcome.is_ok();
                let (Ok(message) | Err(message)) = outcome;
                tell(request.respond(SetMode::Response { success, message }));
            };
            match mode {
                _ if !is_configured => reply(Err(NOT_CONFIGURED.to_owned())),
                Ok(mode) => shared.command(Command::SetMode(mode, Box::new(reply))),
                Err(reason) => reply(Err(reason)),
            }
        }
    }

    fn save(&mut self, shared: &Shared, is_configured: bool) {
        while let Some(request) = self.save_map.take() {
            let SaveMap::Request { path, format } = request.message.clone();
            match file(&path, &format, &MAP_FORMATS, is_configured) {
                Err(reason) => tell(request.respond(map_saved(Err(reason)))),
                Ok((path, format)) => shared.command(Command::SaveMap {
                    path,
                    format,
                    reply: Box::new(move |outcome| tell(request.respond(map_saved(outcome)))),
                }),
            }
        }
        while let Some(request) = self.save_trajectory.take() {
            let SaveTrajectory::Request { path, format } = request.message.clone();
            match file(&path, &format, &TRAJECTORY_FORMATS, is_configured) {
                Err(reason) => tell(request.respond(trajectory_saved(Err(reason)))),
                Ok((path, _)) => shared.command(Command::SaveTrajectory(
                    path,
                    Box::new(move |outcome| tell(request.respond(trajectory_saved(outcome)))),
                )),
            }
        }
    }
}

fn set_paused(shared: &Shared, paused: bool) {
    let mut inner = shared.lock();
    inner.paused = paused;
    inner.inputs.discard();
}

fn ask(
    shared: &Shared,
    is_configured: bool,
    request: ServiceRequest<Trigger::Service>,
    command: impl FnOnce(Reply) -> Command,
) {
    if is_configured {
        let reply: Reply = Box::new(move |outcome| tell(request.respond(triggered(outcome))));
        shared.command(command(reply));
    } else {
        tell(request.respond(triggered(Err(NOT_CONFIGURED.to_owned()))));
    }
}

const NO_PATH: &str = "give the file in 'path'";
const NOT_CONFIGURED: &str = "the node is not configured: there is no map";

/// Checks what a file is asked for with, and chooses its format.
fn file(
    path: &str,
    format: &str,
    known: &[&'static str],
    is_configured: bool,
) -> Result<(PathBuf, &'static str), String> {
    if !is_configured {
        return Err(NOT_CONFIGURED.to_owned());
    }
    if path.is_empty() {
        return Err(NO_PATH.to_owned());
    }
    let path = PathBuf::from(path);
    let format = format_of(&path, format, known)?;
    Ok((path, format))
}

fn triggered(outcome: Result<String, String>) -> Trigger::Response {
    let success = outcome.is_ok();
    let (Ok(message) | Err(message)) = outcome;
    Trigger::Response { success, message }
}

fn map_saved(outcome: Result<SavedFile, String>) -> SaveMap::Response {
    match outcome {
        Ok(saved) => SaveMap::Response {
            success: true,
            message: saved.told("points or keyframes"),
            path: saved.path.display().to_string(),
            points: saved.count,
        },
        Err(message) => SaveMap::Response { message, ..Default::default() },
    }
}

fn map_loaded(outcome: Result<(u32, String), String>) -> LoadMap::Response {
    match outcome {
        Ok((keyframes, message)) => LoadMap::Response { success: true, message, keyframes },
        Err(message) => LoadMap::Response { message, ..Default::default() },
    }
}

fn trajectory_saved(outcome: Result<SavedFile, String>) -> SaveTrajectory::Response {
    match outcome {
        Ok(saved) => SaveTrajectory::Response {
            success: true,
            message: saved.told("poses"),
            path: saved.path.display().to_string(),
            poses: saved.count,
        },
        Err(message) => SaveTrajectory::Response { message, ..Default::default() },
    }
}

fn take_pose(shared: &Shared, message: &PoseWithCovarianceStamped, map_frame: &str) {
    let frame = message.header.frame_id.trim_start_matches('/');
    if frame != map_frame {
        r2r::log_warn!(NAME, "initialpose is left out: it is in '{frame}', not in '{map_frame}'");
        return;
    }
    match convert::se3(&message.pose.pose) {
        Some(pose) => shared.command(Command::InitialPose(pose)),
        None => r2r::log_warn!(NAME, "initialpose is left out: its quaternion is no rotation"),
    }
}

/// A caller that has gone away is not waited for.
pub fn tell(outcome: r2r::Result<()>) {
    if let Err(error) = outcome {
        r2r::log_warn!(NAME, "an answer could not be sent: {error}");
    }
}
