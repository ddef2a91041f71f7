//! The figures of `recon eval` as a table for people.

use comfy_table::{CellAlignment, Table, presets};
use recon_node::evaluation::{MapMetrics, MapScore, TrajectoryMetrics};

use crate::eval::Figures;

/// Returns the figures as text, with the threshold of precision and recall in metres.
pub fn text(figures: &Figures, threshold_m: f64) -> String {
    let trajectory = trajectory_table(&figures.trajectory);
    match &figures.map {
        Some(map) => format!("{trajectory}\n{}", map_table(map, threshold_m)),
        None => trajectory.to_string(),
    }
}

fn trajectory_table(m: &TrajectoryMetrics) -> Table {
    let mut table = table_of(["Trajectory", "SE(3)", "Sim(3)"]);
    let cm = |metres: f64| format!("{:.2} cm", metres * 100.0);
    let some_cm = |metres: Option<f64>| metres.map_or("–".into(), cm);
    let deg = |degrees: f64| format!("{degrees:.2}°");
    table.add_rows([
        ["absolute error (ATE RMSE)".into(), cm(m.ate_se3), cm(m.ate_sim3)],
        ["absolute rotation error".into(), deg(m.are_deg_se3), deg(m.are_deg_sim3)],
        ["relative error over 1 s".into(), some_cm(m.rpe1s_t_se3), some_cm(m.rpe1s_t_sim3)],
        [
            "relative rotation over 1 s".into(),
            m.rpe1s_rot_deg.map_or("–".into(), deg),
            String::new(),
        ],
        ["scale".into(), "1".into(), format!("{:.4}", m.scale)],
    ]);
    let tracked = format!("{:.1} % of {}", m.tracked * 100.0, m.frames);
    table.add_rows([
        ["frames with a pose".into(), tracked, String::new()],
        ["poses with a reference".into(), format!("{} of {}", m.matched, m.poses), String::new()],
        ["path of the reference".into(), format!("{:.2} m", m.gt_path_m), String::new()],
    ]);
    table
}

fn map_table(map: &MapMetrics, threshold_m: f64) -> Table {
    let mut table = table_of(["Map", "aligned", "after ICP"]);
    let refined = map.refined.map(|score| rows(&score, threshold_m)).unwrap_or_default();
    for (index, [name, value]) in rows(&map.aligned, threshold_m).into_iter().enumerate() {
        let refined = refined.get(index).map(|[_, value]| value.clone()).unwrap_or_default();
        table.add_row([name, value, refined]);
    }
    table.add_row(["points".into(), map.map_points.to_string(), String::new()]);
    table
}

fn rows(score: &MapScore, threshold_m: f64) -> Vec<[String; 2]> {
    let percent = |frac: f64| format!("{:.1} %", frac * 100.0);
    let mut rows = vec![["within the reference's bounds".into(), percent(score.map_inside_box)]];
    let Some(d) = &score.distances else { return rows };
    let pair = |mean: f64, median: f64| format!("{mean:.2} cm ({median:.2})");
    let near = format!("within {} cm", (threshold_m * 1e6).round() / 1e4);
    rows.extend([
        ["accuracy (median)".into(), pair(d.accuracy_cm, d.accuracy_median_cm)],
        ["completion (median)".into(), pair(d.completion_cm, d.completion_median_cm)],
        ["chamfer".into(), format!("{:.2} cm", d.chamfer_cm)],
        [format!("precision {near}"), percent(d.precision)],
        [format!("recall {near}"), percent(d.recall)],
        [format!("F-score {near}"), format!("{:.4}", d.fscore)],
    ]);
    rows
}

fn table_of(header: [&str; 3]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
