//! The page itself: text, table, charts and pictures, with its style, in one file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::figures::{charts, rows};
use super::run::Run;

const STYLE: &str = "
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto;
  max-width: 1240px; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: .4rem 0; overflow-wrap: anywhere; }
p { margin: .3rem 0; color: #555; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e4e4e4; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #999; overflow-wrap: anywhere; }
.runs { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); }
.run { min-width: 0; max-width: 640px; }
svg { width: 100%; height: auto; display: block; margin: .3rem 0 .8rem; font-size: 11px; }
svg text { fill: #333; } svg .title { font-weight: 600; font-size: 13px; }
svg path { fill: none; } .grid { stroke: #e8e8e8; } .axis { stroke: #555; }
.estimate { stroke: #1f61ab; stroke-width: 1.6; } .reference { stroke: #9a9a9a; stroke-width: 2.4; }
.key { display: inline-block; width: 1.6em; height: 0; border-top: 3px solid; vertical-align: middle;
  margin: 0 .3em 0 .8em; }
img { width: 100%; height: auto; border-radius: 3px; }
.map { max-width: 100%; } .maps { display: grid; gap: 1rem; }
.maps.several { grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); }
pre { font-size: 12px; background: #f6f6f6; padding: .8rem; overflow-x: auto; }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt; }
  .run, figure, tr, svg, img { break-inside: avoid; } h2, h3, h2 + p { break-after: avoid; }
  .runs { grid-template-columns: repeat(2, 1fr); gap: 1rem; }
  pre { white-space: pre-wrap; font-size: 6.5pt; columns: 2; } details::details-content { content-visibility: visible; block-size: auto; }
  summary { list-style: none; font-weight: 600; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}";

/// Reasons for leaving input out that the page spells out.
const SKIPS_SHOWN: usize = 5;

/// Returns the page about the runs, in their order.
pub fn page(runs: &[Run]) -> String {
    let names: Vec<String> = runs.iter().map(|run| escaped(&run.name)).collect();
    let title = names.join(", ");
    format!(
        "<!doctype html>\n<html lang='en'>\n<head><meta charset='utf-8'>\n\
         <meta name='viewport' content='width=device-width, initial-scale=1'>\n\
         <title>{title} – recon</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1>{title}</h1>\n<p>Written by recon {}.</p>\n{}{}{}{}</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        table(runs, &names),
        trajectories(runs, &names),
        maps(runs, &names),
        configurations(runs, &names),
    )
}

fn table(runs: &[Run], names: &[String]) -> String {
    let cells = |tag: &str, values: &[String]| -> String {
        values.iter().map(|value| format!("<{tag}>{value}</{tag}>")).collect()
    };
    let body: String = rows(runs)
        .iter()
        .map(|(name, values)| format!("<tr><td>{name}</td>{}</tr>\n", cells("td", values)))
        .collect();
    let head = cells("th", names);
    let notes: String = runs.iter().zip(names).flat_map(|(run, name)| notes(run, name)).collect();
    format!(
        "<h2>Figures</h2>\n<div class='wide'><table><thead><tr><th></th>{head}</tr></thead>\n\
         <tbody>{body}</tbody></table></div>\n{notes}"
    )
}

/// What was left out, and whether the run was stopped.
fn notes(run: &Run, name: &str) -> Vec<String> {
    let skips: Vec<&str> = run.metrics["skips"]
        .as_array()
        .map(|skips| skips.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut notes: Vec<String> = skips
        .iter()
        .take(SKIPS_SHOWN)
        .map(|skip| format!("<p>{name}: left out: {}</p>\n", escaped(skip)))
        .collect();
    if skips.len() > SKIPS_SHOWN {
        notes.push(format!("<p>{name}: left out: {} more</p>\n", skips.len() - SKIPS_SHOWN));
    }
    if run.metrics["interrupted"] == Value::Bool(true) {
        notes.push(format!("<p>{name}: stopped before the end of the recording</p>\n"));
    }
    notes
}

fn trajectories(runs: &[Run], names: &[String]) -> String {
    let run = |(run, name): (&Run, &String)| {
        format!("<div class='run'><h3>{name}</h3>{}</div>\n", charts(run).concat())
    };
    let all: String = runs.iter().zip(names).map(run).collect();
    let key = "<p><span class='key' style='color:#1f61ab'></span>estimate\
               <span class='key' style='color:#9a9a9a'></span>reference, where there is one</p>";
    format!("<h2>Trajectory and time</h2>\n{key}\n<div class='runs'>{all}</div>\n")
}

fn maps(runs: &[Run], names: &[String]) -> String {
    let figure = |(run, name): (&Run, &String)| {
        let data = STANDARD.encode(run.map_png.as_ref()?);
        Some(format!(
            "<div class='map'><h3>{name}</h3><img alt='the map of {name}' \
             src='data:image/png;base64,{data}'></div>\n"
        ))
    };
    let all: Vec<String> = runs.iter().zip(names).filter_map(figure).collect();
    let class = if all.len() > 1 { "maps several" } else { "maps" };
    if all.is_empty() {
        return String::new();
    }
    format!("<h2>Map</h2>\n<div class='{class}'>{}</div>\n", all.concat())
}

fn configurations(runs: &[Run], names: &[String]) -> String {
    let shown = runs.iter().zip(names).filter(|(run, _)| !run.config.is_empty());
    let all: String = shown
        .map(|(run, name)| {
            let config = escaped(&run.config);
            format!("<details><summary>{name}</summary><pre>{config}</pre></details>\n")
        })
        .collect();
    format!("<h2>Configuration</h2>\n{all}")
}

/// The text with nothing in it that HTML would take for its own.
fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    replaced.replace('"', "&quot;").replace('\'', "&#39;")
}
