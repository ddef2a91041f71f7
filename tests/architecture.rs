//! Who may know whom: the house's table, and the checks that nothing goes against it. Rust allows
//! import cycles and warns of nothing, so a machine has to look.

#[path = "architecture/refused.rs"]
mod refused;
#[path = "architecture/table.rs"]
mod table;
#[path = "architecture/text.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use table::{
    FILE_LIMIT_LINES, FUNCTION_LIMIT_LINES, FUNCTION_MEDIAN_LINES, LAYERS, NARROWER, ROOMS,
};

/// A source file: its name below `src` and its text.
struct Source {
    name: String,
    text: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    fn code(&self) -> String {
        text::without_tests(&text::code_only(&self.text))
    }

    /// The path of its module; empty for the library's root.
    fn module(&self) -> Vec<String> {
        let stem = self.name.trim_end_matches(".rs");
        let stem = stem.strip_suffix("/mod").unwrap_or(stem);
        stem.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
    }

    fn is_program(&self) -> bool {
        self.name.starts_with("bin/") || self.name == "main.rs"
    }

    /// The top-level modules of this crate that it names, itself included.
    fn known(&self) -> BTreeSet<String> {
        let paths = text::paths(&self.code());
        paths.iter().filter_map(|path| self.top_level(path)).collect()
    }

    fn top_level(&self, path: &[String]) -> Option<String> {
        let mut place = self.module();
        for name in path {
            match name.as_str() {
                "crate" => place.clear(),
                "super" => drop(place.pop()),
                "self" => {}
                _ if path[0] == "crate" || path[0] == "super" || path[0] == "self" => {
                    place.push(name.clone());
                    break;
                }
                _ => return None,
            }
        }
        place.into_iter().next()
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Whether a module of the table may name another.
fn may_know(from: &str, to: &str) -> bool {
    let (Some(below), Some(above)) = (layer(to), layer(from)) else { return false };
    let narrower = NARROWER.iter().find(|(module, _)| *module == from);
    let highest = narrower.map_or(above.min(3), |(_, highest)| *highest);
    // Data and sockets, and the modules of the composition, know one another.
    let siblings = below != above || above == 1 || above == 3;
    from == to || (below <= highest && siblings)
}

fn library(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| !source.is_program() && source.name != "lib.rs")
}

fn arrows(sources: &[Source]) -> BTreeSet<(String, String)> {
    let arrow = |source: &Source, to| (source.module().swap_remove(0), to);
    library(sources)
        .flat_map(|source| source.known().into_iter().map(move |to| arrow(source, to)))
        .filter(|(from, to)| from != to)
        .collect()
}

fn modules_without_layer(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<String> = library(sources).map(|s| s.module().swap_remove(0)).collect();
    let unknown = modules.into_iter().filter(|module| layer(module).is_none());
    unknown.map(|module| format!("module {module} has no layer: add it to the table")).collect()
}

fn arrows_against_the_table(sources: &[Source]) -> Vec<String> {
    let wrong = arrows(sources).into_iter().filter(|(from, to)| !may_know(from, to));
    wrong.map(|(from, to)| format!("{from} must not know {to}")).collect()
}

/// The modules that can reach themselves within one layer.
fn cycles(sources: &[Source]) -> Vec<String> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows(sources) {
        known.entry(from).or_default().insert(to);
    }
    let reaches_itself = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(module) = open.pop() {
            let next = known.get(&module).into_iter().flatten();
            open.extend(next.filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen.contains(start)
    };
    known.keys().filter(|m| reaches_itself(m)).map(|m| format!("{m} is in a cycle")).collect()
}

fn names_out_of_their_room(sources: &[Source]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for source in sources {
        for path in text::paths(&source.code()) {
            let strays = ROOMS.iter().filter(|(start, rooms)| {
                let begins = start.iter().zip(&path).filter(|(a, b)| *a == *b).count();
                begins == start.len() && !rooms.iter().any(|room| source.name.starts_with(room))
            });
            wrong.extend(
                strays.map(|(start, _)| format!("{} names {}", source.name, start.join("::"))),
            );
        }
    }
    wrong.into_iter().collect()
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let lines = sources.iter().map(|source| (source, source.text.lines().count()));
    lines
        .filter(|(_, lines)| *lines >= FILE_LIMIT_LINES)
        .map(|(source, lines)| format!("{} has {lines} lines, the limit is 400", source.name))
        .collect()
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let lengths = |source: &Source| text::function_lengths(&source.code());
    let mut all: Vec<usize> = sources.iter().flat_map(lengths).map(|(_, lines)| lines).collect();
    all.sort_unstable();
    let median = all.get(all.len() / 2).copied().unwrap_or(0);
    let too_long = sources.iter().flat_map(|source| {
        let long = lengths(source).into_iter().filter(|(_, lines)| *lines > FUNCTION_LIMIT_LINES);
        long.map(|(name, lines)| format!("{}: {name} has {lines} lines", source.name))
    });
    let typical =
        (median > FUNCTION_MEDIAN_LINES).then(|| format!("the median function has {median} lines"));
    too_long.chain(typical).collect()
}

/// Every Rust file below a folder of the repository, in the order of their names.
fn files(folder: &str) -> Vec<Source> {
    fn collect(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, root, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).map(|p| p.display().to_string());
                let text = std::fs::read_to_string(&path);
                sources.push(Source {
                    name: name.unwrap_or_default(),
                    text: text.unwrap_or_default(),
                });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

type Check = fn(&[Source]) -> Vec<String>;

const CHECKS: [Check; 6] = [
    modules_without_layer,
    arrows_against_the_table,
    cycles,
    names_out_of_their_room,
    long_files,
    long_functions,
];

#[test]
fn the_house_keeps_to_its_table() {
    let sources = files("src");
    assert!(sources.len() > 20, "only {} source files were found", sources.len());
    let wrong: Vec<String> = CHECKS.iter().flat_map(|check| check(&sources)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_test_bench_or_example_is_too_long() {
    let sources: Vec<Source> =
        ["tests", "benches", "examples"].into_iter().flat_map(files).collect();
    assert!(sources.len() >= 3);
    assert_eq!(long_files(&sources), Vec::<String>::new());
}

#[test]
fn every_check_refuses_what_it_is_there_for() {
    for (check, files, expected) in refused::REFUSED {
        let sources: Vec<Source> =
            files.iter().map(|(name, text)| Source::new(name, text)).collect();
        let found = check(&sources).join("; ");
        assert!(found.contains(expected), "{files:?}: expected '{expected}', found '{found}'");
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let function = |lines| format!("fn f() {{\n{}}}", "    work();\n".repeat(lines));
    let cases: [(Check, String, &str); 3] = [
        (long_files, "\n".repeat(400), "a.rs has 400 lines"),
        (long_functions, function(61), "a.rs: f has 61 lines"),
        (long_functions, function(11), "the median function has 11 lines"),
    ];
    for (check, text, expected) in cases {
        let found = check(&[Source::new("a.rs", &text)]).join("; ");
        assert!(found.contains(expected), "expected '{expected}', found '{found}'");
    }
}

#[test]
fn what_is_allowed_is_accepted() {
    let sources = [
        ("tracking/a.rs", "use super::b; use crate::{error::Result, geometry::Se3}; use rayon::x;"),
        (
            "frame.rs",
            "// use crate::viz::x;\n/* crate::viz /* x */ */ const A: &str = \"crate::viz::x\";",
        ),
        (
            "stamp.rs",
            "const R: &str = r#\"\"crate::viz::x\"#; const C: char = '\"'; fn f<'a>(x: &'a str) {}",
        ),
        (
            "map/a.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::viz::x; fn g() { {} } }\nfn h() {}",
        ),
        (
            "runtime.rs",
            "use std::{thread, time::Instant}; use crossbeam::channel; use crate::pipeline::P;",
        ),
        ("dataset/a.rs", "use std::fs::File; use mcap::X; use std::time::Duration;"),
        ("bin/recon/main.rs", "use std::time::Instant; use recon_node::viz;"),
        ("lib.rs", "pub mod viz; pub use viz::Plot;"),
    ];
    let sources = sources.map(|(name, text)| Source::new(name, text));
    for check in CHECKS {
        assert_eq!(check(&sources), Vec::<String>::new());
    }
}

#[test]
fn functions_are_found_and_measured() {
    let code = "fn one() { 1 }\nimpl A {\n    pub(crate) async fn three(x: [u8; 3]) -> B {\n        a;\n        b;\n        if c { d }\n    }\n    fn none(&self);\n}\ntype F = fn (u8);";
    let expected = [("one".to_owned(), 1), ("three".to_owned(), 3)];
    assert_eq!(text::function_lengths(code), expected);
}
