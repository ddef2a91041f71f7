//! Pose graphs as g2o files, as GTSAM reads them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nalgebra::{Matrix6, Quaternion, Translation3, UnitQuaternion};
use recon_node::constraint::Constraint;
use recon_node::geometry::Se3;
use recon_node::keyframe::KeyframeId;

/// Place of our tangent's numbers `[omega, nu]` in a file, which has positions first.
const IN_FILE: [usize; 6] = [3, 4, 5, 0, 1, 2];

/// Writes poses and constraints.
///
/// An edge of a file from `i` to `j` has residual `log(measured⁻¹ · i⁻¹ · j)`; ours with target `j`,
/// source `i` and the inverse of what was measured has the same up to its sign.
pub fn write(path: &Path, poses: &BTreeMap<KeyframeId, Se3>, edges: &[Constraint]) -> Result<()> {
    let mut text = String::new();
    for (id, pose) in poses {
        writeln!(text, "VERTEX_SE3:QUAT {id} {}", numbers(pose))?;
    }
    for edge in edges {
        let from_target = numbers(&edge.target_from_source.inverse());
        write!(text, "EDGE_SE3:QUAT {} {} {from_target}", edge.source, edge.target)?;
        for (index, &row) in IN_FILE.iter().enumerate() {
            for &column in &IN_FILE[index..] {
                write!(text, " {}", edge.information[(row, column)])?;
            }
        }
        writeln!(text)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn numbers(pose: &Se3) -> String {
    let (t, q) = (pose.translation.vector, pose.rotation.coords);
    format!("{} {} {} {} {} {} {}", t.x, t.y, t.z, q.x, q.y, q.z, q.w)
}

/// Returns the poses and constraints of a file.
pub fn read(path: &Path) -> Result<(BTreeMap<KeyframeId, Se3>, Vec<Constraint>)> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut poses, mut edges) = (BTreeMap::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let at = || format!("{}, line {}", path.display(), number + 1);
        match line.split_once(' ') {
            Some(("VERTEX_SE3:QUAT", rest)) => {
                let (ids, values) = parse::<1>(rest).with_context(at)?;
                poses.insert(ids[0], pose(&values).with_context(at)?);
            }
            Some(("EDGE_SE3:QUAT", rest)) => {
                let (ids, values) = parse::<2>(rest).with_context(at)?;
                edges.push(edge(ids, &values).with_context(at)?);
            }
            Some((other, _)) => bail!("{}: {other} is no vertex or edge of SE(3)", at()),
            None => {}
        }
    }
    Ok((poses, edges))
}

fn parse<const N: usize>(line: &str) -> Result<([KeyframeId; N], Vec<f64>)> {
    let mut words = line.split_whitespace();
    let mut ids = [KeyframeId(0); N];
    for id in &mut ids {
        *id = KeyframeId(words.next().context("a number is missing")?.parse()?);
    }
    let values = words.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    Ok((ids, values))
}

fn pose(values: &[f64]) -> Result<Se3> {
    ensure!(values.len() >= 7, "a pose has 7 numbers, not {}", values.len());
    let rotation = Quaternion::new(values[6], values[3], values[4], values[5]);
    let translation = Translation3::new(values[0], values[1], values[2]);
    Ok(Se3::from_parts(translation, UnitQuaternion::from_quaternion(rotation)))
}

fn edge([from, to]: [KeyframeId; 2], values: &[f64]) -> Result<Constraint> {
    ensure!(values.len() == 28, "an edge has 28 numbers, not {}", values.len());
    let mut information = Matrix6::zeros();
    let mut triangle = values[7..].iter();
    for row in 0..6 {
        for column in row..6 {
            let value = *triangle.next().context("a number is missing")?;
            information[(IN_FILE[row], IN_FILE[column])] = value;
            information[(IN_FILE[column], IN_FILE[row])] = value;
        }
    }
    let target_from_source = pose(values)?.inverse();
    Ok(Constraint { target: to, source: from, target_from_source, information })
}
