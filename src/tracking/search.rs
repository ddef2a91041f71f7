//! A wide search for a frame's pose, for when the last motion is no guide.

use nalgebra::Vector6;

use super::{Tracked, Tracker, align};
use crate::dense_residual::{Exposure, RelativeView};
use crate::pyramid::Pyramid;
use crate::reference::Reference;

/// Turns about the vertical and horizontal image axes that are tried, radians.
const TURNS_RAD: [[f64; 2]; 8] = [
    [0.15, 0.0],
    [-0.15, 0.0],
    [0.0, 0.15],
    [0.0, -0.15],
    [0.35, 0.0],
    [-0.35, 0.0],
    [0.2, 0.2],
    [-0.2, -0.2],
];
/// Levels from the coarsest on over which every start is followed before one is chosen.
const COARSE_LEVELS: usize = 3;

impl Tracker {
    /// Returns what [`Tracker::track`] returns, from any of `starts` or from a camera turned away
    /// from the first of them; each is followed over the coarse levels, and the one that fits best
    /// there goes on. Takes several times as long.
    pub fn search(
        &self,
        reference: &Reference,
        frame: &Pyramid,
        starts: &[RelativeView],
    ) -> Tracked {
        let levels = reference.levels().len().min(frame.levels().len());
        let middle = levels.saturating_sub(COARSE_LEVELS);
        let turned = starts.first().into_iter().flat_map(turned);
        let followed: Vec<RelativeView> = starts
            .iter()
            .copied()
            .chain(turned)
            .map(|start| self.descend(reference, frame, middle..levels, start, None).view)
            .collect();
        let best = align::best_start(&self.comparison(reference, frame, middle), &followed);
        let outcome = self.descend(reference, frame, 0..middle, best, None);
        self.judge(&self.comparison(reference, frame, 0), &outcome)
    }
}

/// The view with the camera turned this way and that.
fn turned(view: &RelativeView) -> impl Iterator<Item = RelativeView> {
    let view = *view;
    TURNS_RAD.iter().map(move |[vertical, horizontal]| {
        let turn = Vector6::new(*horizontal, *vertical, 0.0, 0.0, 0.0, 0.0);
        view.stepped(&turn, &Exposure::default())
    })
}
