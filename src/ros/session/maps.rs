//! The session's maps: taken up, left, come back to, and handed out to be saved.

use std::path::{Path, PathBuf};

use super::{Firmness, Session};
use crate::error::Result;
use crate::pipeline::MapSnapshot;
use crate::ros::files::{map_from_optical, with_suffix};

impl Session {
    /// Takes up a map that was saved in place of the one that is there; nobody knows where the robot
    /// is in it until a frame is recognised. Returns the number of its keyframes.
    ///
    /// # Errors
    /// As [`Pipeline::restore`](crate::pipeline::Pipeline::restore); the session is then as it was.
    pub fn load_map(&mut self, map: MapSnapshot) -> Result<usize> {
        self.pipeline.restore(map)?;
        let map_from_world = self.pipeline.map_from_world();
        self.tree.take_up_map(map_from_world.unwrap_or_else(map_from_optical));
        self.firmness = Firmness::default();
        self.forget_maps();
        let count = self.pipeline.map().len();
        self.report.begin_map(count);
        Ok(count)
    }

    pub(super) fn forget_maps(&mut self) {
        self.samples.clear();
        self.refinements.give_up();
        self.others.clear();
        self.map = 0;
    }

    /// Follows the pipeline to another of the session's maps: a new one, where the robot was lost for
    /// long, or one that it is back in. Our own odometry goes on.
    pub(super) fn change_map(&mut self, map: u32) {
        let left = std::mem::replace(&mut self.map, map);
        self.others.extend(self.tree.map_from_world().map(|&pose| (left, pose)));
        self.tree.change_map(self.others.remove(&map));
        self.firmness = Firmness::default();
        self.samples.clear();
        self.refinements.give_up();
    }

    /// Returns what there is to say where frames are placed in another of the session's maps than
    /// `left`.
    pub fn told_of_map(&self, left: u32) -> Option<String> {
        let (map, keyframes) = (self.map, self.pipeline.map().len());
        let aside = self.pipeline.maps_aside();
        let text = match keyframes {
            0 => format!(
                "lost for long: map {map} begins, and {aside} wait for their places to be seen"
            ),
            _ => {
                format!("back in map {map}, of {keyframes} keyframes by now; {aside} are set aside")
            }
        };
        (map != left).then_some(text)
    }

    /// Returns all maps of the session as they are to be saved, each with where it stands and with its
    /// file: `path` for the one that frames are placed in, which comes first, and for each other one
    /// the same with the map's number at the end of its name. None before there is a map.
    pub fn whole_maps(&mut self, path: &Path) -> Vec<(PathBuf, MapSnapshot)> {
        let mut maps = Vec::new();
        if let Some(map_from_world) = self.map_from_world() {
            let mut map = self.pipeline.snapshot();
            map.graph.map_from_world = Some(map_from_world);
            maps.push((path.to_owned(), map));
        }
        for (number, mut map) in self.pipeline.snapshots_aside() {
            map.graph.map_from_world = self.others.get(&number).copied();
            maps.push((with_suffix(path, &format!("_{number}")), map));
        }
        maps
    }

    /// Returns what is to be said where only the map that frames are placed in is saved, and not the
    /// session's others: nothing where there are none.
    pub fn told_of_others(&self) -> String {
        match self.pipeline.maps_aside() {
            0 => String::new(),
            others => format!(
                "; {others} other maps of this session, which nothing joins to it yet, are not in it \
                 (the format 'map' saves them too)"
            ),
        }
    }
}
