//! Everything but keyframes as rows: text for what is one of a kind, numbers for the rest.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::Matrix6;
use serde::{Deserialize, Serialize};

use super::bytes::{self, Exact};
use super::checksum;
use crate::config::Config;
use crate::constraint::Constraint;
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;
use crate::pipeline::{FrameRecord, GeoReference, GraphSnapshot, LearnedSnapshot};
use crate::pose_graph::StoredConstraint;
use crate::stamp::Stamp;

/// Tables of numbers, with the names of their keys and of their value.
pub const TABLES: [Table; 4] = [
    Table { name: "pose", keys: &["keyframe"], value: "world_from_keyframe" },
    Table { name: "relation", keys: &["target", "source"], value: "value" },
    Table { name: "covisible", keys: &["a", "b"], value: "value" },
    Table { name: "frame", keys: &["session", "number"], value: "value" },
];

/// A table of numbers.
pub struct Table {
    pub name: &'static str,
    pub keys: &'static [&'static str],
    pub value: &'static str,
}

/// Rows of a table: values by one or two keys (a table of one key has 0 for the second).
pub type Rows = BTreeMap<[i64; 2], Vec<u8>>;

/// A graph as rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphRows {
    /// Values by key, for what is one of a kind.
    pub meta: BTreeMap<String, String>,
    /// Rows of each of [`TABLES`].
    pub tables: [Rows; 4],
}

/// What is one of a kind.
#[derive(Serialize, Deserialize)]
struct State {
    next_keyframe: u32,
    travel_m: Exact,
    travel_rad: Exact,
    depth_offset_m: Exact,
    anchor: Option<u32>,
    /// Pose of the world in the map's frame, seven numbers.
    map_from_world: Option<[Exact; 7]>,
    long_ties: Vec<[u32; 2]>,
    /// Not in maps of before.
    learned: Option<Learned>,
    /// Latitude, longitude (degrees), altitude (m), heading (degrees); not in maps of before.
    georeference: Option<[Exact; 4]>,
    /// How many rows each table has, to tell when some are missing.
    rows: BTreeMap<String, usize>,
}

/// What was learned from a model's windows.
#[derive(Serialize, Deserialize)]
struct Learned {
    log_scale: [[Exact; 3]; 2],
    unit: Exact,
    windows: [u32; 3],
    fused: Vec<[u32; 2]>,
    focals_over_width: Vec<Exact>,
    focal_in_use: Option<Exact>,
}

impl Learned {
    fn of(learned: &LearnedSnapshot) -> Self {
        Self {
            log_scale: learned.log_scale.map(|numbers| numbers.map(Exact)),
            unit: Exact(learned.unit),
            windows: learned.windows,
            fused: learned.fused.iter().map(|(id, count)| [id.0, *count]).collect(),
            focals_over_width: learned.focals_over_width.iter().copied().map(Exact).collect(),
            focal_in_use: learned.focal_in_use.map(Exact),
        }
    }

    fn snapshot(self) -> LearnedSnapshot {
        LearnedSnapshot {
            log_scale: self.log_scale.map(|numbers| numbers.map(|n| n.0)),
            unit: self.unit.0,
            windows: self.windows,
            fused: self.fused.into_iter().map(|[id, count]| (KeyframeId(id), count)).collect(),
            focals_over_width: self.focals_over_width.into_iter().map(|n| n.0).collect(),
            focal_in_use: self.focal_in_use.map(|n| n.0),
        }
    }
}

fn numbers(place: &GeoReference) -> [Exact; 4] {
    [place.latitude_deg, place.longitude_deg, place.altitude_m, place.heading_deg].map(Exact)
}

fn place(numbers: [Exact; 4]) -> GeoReference {
    let [latitude_deg, longitude_deg, altitude_m, heading_deg] = numbers.map(|n| n.0);
    GeoReference { latitude_deg, longitude_deg, altitude_m, heading_deg }
}

impl GraphRows {
    /// Returns a graph as rows.
    ///
    /// # Errors
    /// One sentence, where it has numbers that are none.
    pub fn of(graph: &GraphSnapshot) -> Result<Self, String> {
        let tables = [poses(graph), relations(graph), covisible(graph), frames(graph)];
        let names = TABLES.iter().map(|table| table.name.to_owned());
        let rows = names.zip(tables.iter().map(Rows::len)).collect();
        let state = State {
            next_keyframe: graph.next_keyframe.0,
            travel_m: Exact(graph.travel[0]),
            travel_rad: Exact(graph.travel[1]),
            depth_offset_m: Exact(graph.config.sensor.depth_offset_m),
            anchor: graph.anchor.map(|id| id.0),
            map_from_world: graph
                .map_from_world
                .as_ref()
                .map(|pose| bytes::of_pose(pose).map(Exact)),
            long_ties: graph.long_ties.iter().map(|(a, b)| [a.0, b.0]).collect(),
            learned: graph.learned.as_ref().map(Learned::of),
            georeference: graph.georeference.as_ref().map(numbers),
            rows,
        };
        let state = serde_json::to_string(&state).map_err(|e| e.to_string())?;
        let meta = [
            ("program", concat!("recon_node ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("state", state),
            ("config", graph.config.to_yaml()),
        ];
        Ok(Self { meta: meta.map(|(key, value)| (key.to_owned(), value)).into(), tables })
    }

    /// Returns the graph of the rows; `complain` is told of each thing that is missing or makes no
    /// sense, and may end it.
    ///
    /// # Errors
    /// What `complain` returns.
    pub fn graph<E>(
        &self,
        mut complain: impl FnMut(String) -> Result<(), E>,
        notes: &mut Vec<String>,
    ) -> Result<GraphSnapshot, E> {
        let state = self.meta.get("state").and_then(|text| serde_json::from_str(text).ok());
        let Some(state): Option<State> = state else {
            complain("its state is missing or damaged".to_owned())?;
            return self.filled(GraphSnapshot::default(), &mut complain);
        };
        for (table, rows) in TABLES.iter().zip(&self.tables) {
            let expected = state.rows.get(table.name).copied().unwrap_or(0);
            if rows.len() != expected {
                let found = rows.len();
                complain(format!("table '{}' has {found} of {expected} rows", table.name))?;
            }
        }
        let mut config = Config::default();
        match self.meta.get("config").map(|yaml| Config::from_sources(Some(yaml), &[])) {
            Some(Ok(found)) => config = found,
            Some(Err(error)) => notes.push(format!(
                "the configuration that the map was made with is of another version ({error}); \
                 the defaults stand in for it"
            )),
            None => complain("its configuration is missing".to_owned())?,
        }
        config.sensor.depth_offset_m = state.depth_offset_m.0;
        let tie = |[a, b]: [u32; 2]| (KeyframeId(a), KeyframeId(b));
        let graph = GraphSnapshot {
            next_keyframe: KeyframeId(state.next_keyframe),
            travel: [state.travel_m.0, state.travel_rad.0],
            anchor: state.anchor.map(KeyframeId),
            long_ties: state.long_ties.into_iter().map(tie).collect::<BTreeSet<_>>(),
            map_from_world: state.map_from_world.and_then(|pose| bytes::pose(pose.map(|v| v.0))),
            config,
            learned: state.learned.map(Learned::snapshot),
            georeference: state.georeference.map(place),
            ..GraphSnapshot::default()
        };
        self.filled(graph, &mut complain)
    }

    /// The graph with all that is kept as numbers.
    fn filled<E>(
        &self,
        mut graph: GraphSnapshot,
        complain: &mut impl FnMut(String) -> Result<(), E>,
    ) -> Result<GraphSnapshot, E> {
        for (table, rows) in TABLES.iter().zip(&self.tables) {
            for (key, value) in rows {
                if take(&mut graph, table.name, *key, value).is_none() {
                    complain(format!("row {key:?} of table '{}' makes no sense", table.name))?;
                }
            }
        }
        Ok(graph)
    }
}

/// Returns the checksum of a row of numbers.
pub fn row_checksum(table: &str, key: &[i64; 2], value: &[u8]) -> Vec<u8> {
    checksum::of(table, &[&key[0].to_le_bytes(), &key[1].to_le_bytes(), value])
}

fn poses(graph: &GraphSnapshot) -> Rows {
    let row = |(id, pose): (&KeyframeId, &Se3)| {
        ([i64::from(id.0), 0], bytes::of_f64s(&bytes::of_pose(pose)))
    };
    graph.poses.iter().map(row).collect()
}

fn relations(graph: &GraphSnapshot) -> Rows {
    let row = |stored: &StoredConstraint<Se3, 6>| {
        let constraint = &stored.constraint;
        let mut value = bytes::of_pose(&constraint.target_from_source).to_vec();
        value.extend(constraint.information.iter());
        value.push(stored.loop_weight.unwrap_or(-1.0));
        (pair(constraint.target, constraint.source), bytes::of_f64s(&value))
    };
    graph.constraints.iter().map(row).collect()
}

fn covisible(graph: &GraphSnapshot) -> Rows {
    let row =
        |&(a, b, shared): &(KeyframeId, KeyframeId, f64)| (pair(a, b), bytes::of_f64s(&[shared]));
    graph.covisibility.iter().map(row).collect()
}

fn frames(graph: &GraphSnapshot) -> Rows {
    let row = |session: usize, number: usize, record: &FrameRecord| {
        let mut value = record.stamp.nanos().to_le_bytes().to_vec();
        value.extend(i64::from(record.keyframe.0).to_le_bytes());
        value.extend(bytes::of_f64s(&bytes::of_pose(&record.keyframe_from_camera)));
        ([session as i64, number as i64], value)
    };
    let sessions = graph.sessions.iter().enumerate();
    sessions
        .flat_map(|(s, records)| records.iter().enumerate().map(move |(n, r)| row(s, n, r)))
        .collect()
}

fn pair(a: KeyframeId, b: KeyframeId) -> [i64; 2] {
    [i64::from(a.0), i64::from(b.0)]
}

/// Puts a row where it belongs, if it makes sense.
fn take(graph: &mut GraphSnapshot, table: &str, key: [i64; 2], value: &[u8]) -> Option<()> {
    match table {
        "pose" => {
            graph.poses.insert(id(key[0])?, bytes::pose(bytes::f64s(value)?)?);
        }
        "relation" => graph.constraints.push(relation(key, value)?),
        "covisible" => {
            let [shared] = bytes::f64s(value)?;
            graph.covisibility.push((id(key[0])?, id(key[1])?, shared));
        }
        _ => {
            let session = usize::try_from(key[0]).ok().filter(|&s| s <= graph.sessions.len())?;
            let record = frame(value)?;
            if session == graph.sessions.len() {
                graph.sessions.push(Vec::new());
            }
            graph.sessions[session].push(record);
        }
    }
    Some(())
}

fn relation(key: [i64; 2], value: &[u8]) -> Option<StoredConstraint<Se3, 6>> {
    let values: [f64; 44] = bytes::f64s(value)?;
    let (pose, rest) = values.split_first_chunk::<7>()?;
    let (information, weight) = rest.split_first_chunk::<36>()?;
    let constraint = Constraint {
        target: id(key[0])?,
        source: id(key[1])?,
        target_from_source: bytes::pose(*pose)?,
        information: Matrix6::from_column_slice(information),
    };
    let loop_weight = weight.first().copied().filter(|w| *w >= 0.0);
    Some(StoredConstraint { constraint, loop_weight })
}

fn frame(value: &[u8]) -> Option<FrameRecord> {
    let (nanos, rest) = value.split_first_chunk::<8>()?;
    let (keyframe, pose) = rest.split_first_chunk::<8>()?;
    Some(FrameRecord {
        stamp: Stamp::from_nanos(i64::from_le_bytes(*nanos)),
        keyframe: id(i64::from_le_bytes(*keyframe))?,
        keyframe_from_camera: bytes::pose(bytes::f64s(pose)?)?,
    })
}

fn id(number: i64) -> Option<KeyframeId> {
    u32::try_from(number).ok().map(KeyframeId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &GraphRows) -> GraphSnapshot {
        rows.graph(Err::<(), String>, &mut Vec::new()).unwrap()
    }

    #[test]
    fn what_was_learned_and_the_place_on_earth_come_back_and_older_maps_have_neither() {
        let graph = GraphSnapshot {
            learned: Some(LearnedSnapshot {
                log_scale: [[3.0, -0.1, 0.02], [0.0; 3]],
                unit: 1.0 / 3.0,
                windows: [7, 1, 4],
                fused: BTreeMap::from([(KeyframeId(2), 3)]),
                focals_over_width: vec![0.7, 0.8],
                focal_in_use: Some(0.75),
            }),
            georeference: Some(GeoReference {
                latitude_deg: 48.137,
                longitude_deg: 11.575,
                altitude_m: 519.0,
                heading_deg: -30.0,
            }),
            ..GraphSnapshot::default()
        };
        let mut rows = GraphRows::of(&graph).unwrap();
        assert_eq!(read(&rows), graph);
        let mut state: serde_json::Value = serde_json::from_str(&rows.meta["state"]).unwrap();
        let members = state.as_object_mut().unwrap();
        assert!(members.remove("learned").is_some() && members.remove("georeference").is_some());
        rows.meta.insert("state".to_owned(), state.to_string());
        assert_eq!(read(&rows), GraphSnapshot::default());
    }
}
