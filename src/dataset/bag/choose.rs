//! Which topics of a bag are used.

use super::storage::Bag;
use super::survey::Survey;
use crate::dataset::info::UsedInput;
use crate::dataset::options::TopicNames;
use crate::error::{Error, Result};
use crate::messages::decoding::{ImageFormat, ImageTopic};
use crate::messages::tf::frame_name;

/// The topics that are used.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub image: ImageTopic,
    pub depth: Option<ImageTopic>,
    pub camera_info: Option<String>,
    pub odometry: Option<String>,
}

/// Words in names of topics that show other things than what the camera sees.
const OTHER_THINGS: [&str; 12] = [
    "infra",
    "thermal",
    "mask",
    "segment",
    "label",
    "debug",
    "result",
    "overlay",
    "detect",
    "preview",
    "confidence",
    "disparity",
];

/// Returns the topics to use: those named by options, else those that type and name speak for.
///
/// # Errors
/// [`Error::Usage`] where several are as good, or a named one is not there;
/// [`Error::Input`] where there are no images.
pub fn choose(bag: &Bag, survey: &Survey, names: &TopicNames) -> Result<Chosen> {
    let image = choose_image(bag, survey, names)?;
    let depth = choose_depth(bag, survey, names, &image)?;
    let camera_info = choose_camera_info(bag, survey, names, &image)?;
    let odometry = choose_odometry(bag, survey, names)?;
    Ok(Chosen { image, depth, camera_info, odometry })
}

impl Chosen {
    /// Returns what is used, with the reason.
    pub fn used(&self, names: &TopicNames) -> Vec<UsedInput> {
        let why = |option: &Option<String>, found: &'static str| {
            if option.is_some() { "named by an option" } else { found }
        };
        let mut used = vec![UsedInput::new(
            "colour",
            &self.image.name,
            why(&names.image, "the best match by type, encoding and name"),
        )];
        let mut add = |role, name: Option<&String>, why: &str| {
            used.extend(name.map(|name| UsedInput::new(role, name, why)));
        };
        let depth = self.depth.as_ref().map(|depth| &depth.name);
        add("depth", depth, why(&names.depth, "holds depth and belongs to the colour images"));
        let info = self.camera_info.as_ref();
        add("calibration", info, why(&names.camera_info, "belongs to the colour images"));
        let odometry = self.odometry.as_ref();
        add("odometry", odometry, why(&names.odom, "the only odometry"));
        used
    }
}

fn choose_image(bag: &Bag, survey: &Survey, names: &TopicNames) -> Result<ImageTopic> {
    if let Some(name) = &names.image {
        return named(bag, survey, "--image-topic", name);
    }
    let candidates = survey.images.iter().filter(|t| !t.is_depth && !t.name.contains("depth"));
    let ranked: Vec<(i32, &ImageTopic)> =
        candidates.map(|topic| (color_score(topic, survey), topic)).collect();
    match best(&ranked)[..] {
        [only] => Ok(only.clone()),
        [] => Err(no_images(bag)),
        ref several => Err(ambiguous(bag, "colour images", "--image-topic", several)),
    }
}

fn no_images(bag: &Bag) -> Error {
    let topics: Vec<String> =
        bag.topics.iter().map(|topic| format!("{} ({})", topic.name, topic.type_name)).collect();
    let problem = match topics.is_empty() {
        true => "the bag is empty".to_owned(),
        false => format!("the bag has no colour images, only {}", topics.join(", ")),
    };
    Error::input(
        &bag.path,
        problem,
        "record a sensor_msgs/Image or sensor_msgs/CompressedImage topic, or name it with \
         --image-topic",
    )
}

fn choose_depth(
    bag: &Bag,
    survey: &Survey,
    names: &TopicNames,
    image: &ImageTopic,
) -> Result<Option<ImageTopic>> {
    match names.depth.as_deref() {
        Some("none") => return Ok(None),
        Some(name) => return named(bag, survey, "--depth-topic", name).map(Some),
        None => {}
    }
    let candidates = survey.images.iter().filter(|topic| topic.is_depth);
    let ranked: Vec<(i32, &ImageTopic)> = candidates
        .filter(|topic| topic.name != image.name && !shows_other_things(&topic.name))
        .map(|topic| (depth_score(topic, image), topic))
        .collect();
    match best(&ranked)[..] {
        [] => Ok(None),
        [only] => check_registered(bag, only, image).map(Some),
        ref several => Err(ambiguous(bag, "depth images", "--depth-topic", several)),
    }
}

/// Depth that was measured in another frame than colour would give every point a wrong colour and
/// a wrong place, so it takes a word of the user.
fn check_registered(bag: &Bag, depth: &ImageTopic, image: &ImageTopic) -> Result<ImageTopic> {
    match (&depth.frame_id, &image.frame_id) {
        (Some(depth_frame), Some(image_frame))
            if frame_name(depth_frame) != frame_name(image_frame)
                && !says_registered(&depth.name) =>
        {
            Err(Error::Usage(format!(
                "{}: the depth of {} is in frame '{depth_frame}' and the images of {} in \
                 '{image_frame}', so it is not registered to them: record registered depth, or \
                 accept it with --depth-topic {}, or leave it out with --depth-topic none",
                bag.path.display(),
                depth.name,
                image.name,
                depth.name
            )))
        }
        _ => Ok(depth.clone()),
    }
}

fn choose_camera_info(
    bag: &Bag,
    survey: &Survey,
    names: &TopicNames,
    image: &ImageTopic,
) -> Result<Option<String>> {
    if let Some(name) = &names.camera_info {
        return known(bag, "--camera-info-topic", name, "sensor_msgs/CameraInfo");
    }
    let sibling = camera_info_beside(&image.name);
    if survey.infos.contains_key(&sibling) {
        return Ok(Some(sibling));
    }
    let same_frame: Vec<&String> = survey
        .infos
        .iter()
        .filter(|(name, info)| {
            !name.contains("depth") && Some(&info.header.frame_id) == image.frame_id.as_ref()
        })
        .map(|(name, _)| name)
        .collect();
    Ok(match same_frame[..] {
        [only] => Some(only.clone()),
        _ => None,
    })
}

fn choose_odometry(bag: &Bag, survey: &Survey, names: &TopicNames) -> Result<Option<String>> {
    match names.odom.as_deref() {
        Some("none") => return Ok(None),
        Some(name) => return known(bag, "--odom-topic", name, "nav_msgs/Odometry"),
        None => {}
    }
    match &survey.odometry[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => Err(Error::Usage(format!(
            "{}: several topics hold odometry ({}): choose one with --odom-topic, or none",
            bag.path.display(),
            several.join(", ")
        ))),
    }
}

/// Returns the image topic of this name.
fn named(bag: &Bag, survey: &Survey, option: &str, name: &str) -> Result<ImageTopic> {
    let found = survey.images.iter().find(|topic| topic.name == name);
    found.cloned().ok_or_else(|| {
        let there: Vec<&str> = survey.images.iter().map(|topic| topic.name.as_str()).collect();
        not_there(bag, option, name, &there)
    })
}

/// Returns the name if there is such a topic of this type.
fn known(bag: &Bag, option: &str, name: &str, type_name: &str) -> Result<Option<String>> {
    if bag.topic(name).is_some_and(|topic| topic.type_name == type_name) {
        return Ok(Some(name.to_owned()));
    }
    let of_type = bag.topics.iter().filter(|topic| topic.type_name == type_name);
    let there: Vec<&str> = of_type.map(|topic| topic.name.as_str()).collect();
    Err(not_there(bag, option, name, &there))
}

fn not_there(bag: &Bag, option: &str, name: &str, there: &[&str]) -> Error {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let path = bag.path.display();
    Error::Usage(format!(
        "{path}: {option} {name} is not in the bag; of its kind there is: {there}"
    ))
}

fn ambiguous(bag: &Bag, what: &str, option: &str, topics: &[&ImageTopic]) -> Error {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let (path, names) = (bag.path.display(), names.join(", "));
    Error::Usage(format!(
        "{path}: several topics may be the {what} ({names}): choose with {option}"
    ))
}

/// Returns those with the highest score.
fn best<'a>(ranked: &[(i32, &'a ImageTopic)]) -> Vec<&'a ImageTopic> {
    let highest = ranked.iter().map(|(score, _)| *score).max();
    ranked.iter().filter(|(score, _)| Some(*score) == highest).map(|(_, topic)| *topic).collect()
}

fn color_score(topic: &ImageTopic, survey: &Survey) -> i32 {
    let name = topic.name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    8 * i32::from(has(&["color", "colour", "rgb"]))
        + 4 * i32::from(survey.infos.contains_key(&camera_info_beside(&topic.name)))
        + 2 * i32::from(has(&["image_raw"]))
        + i32::from(has(&["image"]))
        - i32::from(topic.format != ImageFormat::Raw)
        - 20 * i32::from(shows_other_things(&name) || has(&["/ir/"]))
}

fn depth_score(topic: &ImageTopic, image: &ImageTopic) -> i32 {
    let name = topic.name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let same_frame = topic.frame_id.is_some() && topic.frame_id == image.frame_id;
    16 * i32::from(says_registered(&name))
        + 16 * i32::from(same_frame)
        + 4 * shared_segments(&topic.name, &image.name)
        + 2 * i32::from(has(&["image_raw", "image_rect"]))
        - i32::from(topic.format != ImageFormat::Raw)
}

fn shows_other_things(name: &str) -> bool {
    OTHER_THINGS.iter().any(|word| name.to_lowercase().contains(word))
}

fn says_registered(name: &str) -> bool {
    ["aligned", "registered", "depth_to_color", "depth_to_rgb"].iter().any(|w| name.contains(w))
}

fn shared_segments(a: &str, b: &str) -> i32 {
    a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b).count() as i32
}

/// Returns the name of the calibration that image_transport puts beside a topic.
fn camera_info_beside(image_topic: &str) -> String {
    let base = image_topic
        .strip_suffix("/compressed")
        .or_else(|| image_topic.strip_suffix("/compressedDepth"))
        .unwrap_or(image_topic);
    let parent = base.rsplit_once('/').map_or("", |(parent, _)| parent);
    format!("{parent}/camera_info")
}
