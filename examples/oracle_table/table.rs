//! What is printed: means over the seeds.

use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

use super::run::{Figures, Mode, Run, VARIANTS, Variant};

/// Returns a line for each run.
pub fn of_runs(runs: &[Run]) -> String {
    let mut table = Table::new();
    let header = [
        "seed",
        "world",
        "mode",
        "variant",
        "keyframes",
        "ATE Sim(3)",
        "ATE SE(3)",
        "scale",
        "chamfer",
    ];
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for run in runs {
        let names = [run.world, run.mode, run.variant.name()].map(str::to_owned);
        let mut row = vec![run.seed.to_string()];
        row.extend(names);
        row.push(run.keyframes.to_string());
        match &run.figures {
            Ok(figures) => row.extend(cells(figures)),
            Err(reason) => row.push(format!("lost: {reason}")),
        }
        table.add_row(row);
    }
    table.to_string()
}

/// Returns a line for each mode and variant.
pub fn of_modes(modes: &[Mode], runs: &[Run]) -> String {
    let mut table = Table::new();
    let header = [
        "mode",
        "variant",
        "runs",
        "lost",
        "ATE Sim(3) / extent",
        "ATE SE(3)",
        "scale error",
        "chamfer",
    ];
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for mode in modes {
        for variant in VARIANTS {
            let chosen = chosen(runs, mode.name, variant);
            let mut row = vec![mode.name.to_owned(), variant.name().to_owned()];
            row.extend([chosen.len().to_string(), lost(&chosen).to_string()]);
            row.extend(mean(&chosen).map_or_else(Vec::new, |figures| cells(&figures).to_vec()));
            table.add_row(row);
        }
    }
    let reasons = reasons(runs);
    format!("{table}{reasons}")
}

/// Returns the object that `--json` prints: for each mode means over the runs that were not lost, and
/// by what share of the error priors and gate make it smaller.
pub fn json(modes: &[Mode], runs: &[Run]) -> Value {
    let of_mode = |mode: &Mode| {
        let full = chosen(runs, mode.name, Variant::Full);
        let figures = mean(&full);
        let figure = |of: fn(&Figures) -> f64| figures.as_ref().map(of);
        let value = json!({
            "ate_sim3_over_extent": figure(|f| f.ate_sim3_over_extent),
            "ate_se3": figure(|f| f.ate_se3_m),
            "scale_error": figure(|f| f.scale_error),
            "chamfer": figure(|f| f.chamfer_m),
            "lost_runs": lost(&full),
            "runs": full.len(),
            "prior_gain": gain(runs, mode.name, Variant::NoFeedback),
            "gate_gain": gain(runs, mode.name, Variant::NoGate),
        });
        (mode.name.to_owned(), value)
    };
    Value::Object(modes.iter().map(of_mode).collect::<Map<_, _>>())
}

/// By what share the mean error is smaller than that of another variant, over the seeds that
/// neither lost.
fn gain(runs: &[Run], mode: &str, other: Variant) -> Option<f64> {
    let (full, other) = (chosen(runs, mode, Variant::Full), chosen(runs, mode, other));
    let pairs = full.iter().zip(&other).filter_map(|(full, other)| {
        let error = |run: &Run| run.figures.as_ref().ok().map(|f| f.ate_sim3_over_extent);
        Some((error(full)?, error(other)?))
    });
    let sums = pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    (sums.1 > 0.0).then(|| 1.0 - sums.0 / sums.1)
}

fn chosen<'a>(runs: &'a [Run], mode: &str, variant: Variant) -> Vec<&'a Run> {
    runs.iter().filter(|run| run.mode == mode && run.variant == variant).collect()
}

fn lost(runs: &[&Run]) -> usize {
    runs.iter().filter(|run| run.figures.is_err()).count()
}

fn mean(runs: &[&Run]) -> Option<Figures> {
    let figures: Vec<&Figures> = runs.iter().filter_map(|run| run.figures.as_ref().ok()).collect();
    let of =
        |of: fn(&Figures) -> f64| figures.iter().map(|f| of(f)).sum::<f64>() / figures.len() as f64;
    (!figures.is_empty()).then(|| Figures {
        ate_sim3_over_extent: of(|f| f.ate_sim3_over_extent),
        ate_se3_m: of(|f| f.ate_se3_m),
        scale_error: of(|f| f.scale_error),
        chamfer_m: of(|f| f.chamfer_m),
    })
}

fn cells(figures: &Figures) -> [String; 4] {
    [
        format!("{:.2} %", 100.0 * figures.ate_sim3_over_extent),
        format!("{:.1} cm", 100.0 * figures.ate_se3_m),
        format!("{:.1} %", 100.0 * figures.scale_error),
        format!("{:.1} cm", 100.0 * figures.chamfer_m),
    ]
}

/// Why runs were lost, each reason once with how often it occurred.
fn reasons(runs: &[Run]) -> String {
    let mut counts = std::collections::BTreeMap::<(&str, &str, &str), usize>::new();
    for run in runs {
        if let Err(reason) = &run.figures {
            *counts.entry((run.mode, run.variant.name(), reason)).or_default() += 1;
        }
    }
    let line = |((mode, variant, reason), count): (&(&str, &str, &str), &usize)| {
        format!("\nlost {count} of {mode}, {variant}: {reason}")
    };
    counts.iter().map(line).collect()
}
