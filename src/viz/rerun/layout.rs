//! The layout that a recording brings along: the map large, what the camera sees and the figures
//! beside it.

use rerun::blueprint::components::{PanelState, PlayState};
use rerun::blueprint::{
    Blueprint, BlueprintPanel, ContainerLike, Horizontal, SelectionPanel, Spatial2DView,
    Spatial3DView, Tabs, TextLogView, TimePanel, TimeSeriesView, Vertical,
};

use super::scribe::TIMELINE;

/// Returns the layout.
pub(super) fn blueprint() -> Blueprint {
    let side = Vertical::new([
        Horizontal::new([
            picture("Camera", "world/map/camera", "$origin/image").into(),
            picture("Depth", "depth", "$origin").into(),
        ])
        .into(),
        Horizontal::new([
            picture("Confidence of the newest keyframe", "confidence", "$origin").into(),
            TextLogView::new("Notes").with_origin("notes").into(),
        ])
        .into(),
        figures("Latency", "latency").into(),
        figures("Tracking", "tracking").into(),
        Tabs::new([
            figures("Map", "map").into(),
            figures("Scale", "scale").into(),
            figures("Gate of priors", "gate").into(),
        ])
        .into(),
    ])
    .with_row_shares(vec![1.3, 1.3, 1.0, 1.0, 1.0]);
    let all: [ContainerLike; 2] = [map().into(), side.into()];
    Blueprint::new(Horizontal::new(all).with_column_shares(vec![3.0, 2.0]))
        .with_auto_views(false)
        .with_auto_layout(false)
        .with_blueprint_panel(BlueprintPanel::from_state(PanelState::Collapsed))
        .with_selection_panel(SelectionPanel::from_state(PanelState::Collapsed))
        .with_time_panel(
            TimePanel::new()
                .with_state(PanelState::Collapsed)
                .with_timeline(TIMELINE)
                .with_play_state(PlayState::Following),
        )
}

fn map() -> Spatial3DView {
    Spatial3DView::new("Map").with_origin("world")
}

fn picture(name: &str, origin: &str, entity: &str) -> Spatial2DView {
    Spatial2DView::new(name).with_origin(origin).with_contents([format!("+ {entity}")])
}

fn figures(name: &str, group: &str) -> TimeSeriesView {
    TimeSeriesView::new(name).with_origin(format!("figures/{group}"))
}
