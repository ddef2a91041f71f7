//! `recon weights`: what feed-forward models need beside the program.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use recon_node::error::Error;
use recon_node::model::weights::{
    Cache, FetchProgress, Hub, KNOWN_MODELS, KnownModel, NamedArchitecture, Precision,
    Quantization, SAFETENSORS_FILE, Verification, environment, fetch, is_weights_folder, locate,
    quantize, verify, write_random,
};

/// What `recon weights` is asked.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the models whose weights can be fetched, on what terms, and which are here
    List,
    /// Fetch weights into the Hugging Face cache, going on where an earlier attempt stopped
    Fetch(FetchArgs),
    /// Check weights: names, shapes, checksums, values that are not finite
    Verify {
        /// A folder with weights, or the name of a model [default: facebook/map-anything-apache]
        #[arg(value_name = "DIR|NAME")]
        weights: Option<String>,
    },
    /// Print the folder of a model's weights, or how to get them
    Path {
        /// Name of the model [default: facebook/map-anything-apache]
        name: Option<String>,
    },
    /// Write random weights, for trying speed and memory; what they show makes no sense
    Random(RandomArgs),
    /// Write the weights of a folder smaller
    Quantize(QuantizeArgs),
}

#[derive(clap::Args)]
struct FetchArgs {
    /// Name of the model, as 'recon weights list' has it [default: facebook/map-anything-apache]
    name: Option<String>,
    /// Branch, tag or commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Accept a licence that forbids commercial use, by its name, e.g. cc-by-nc-4.0
    #[arg(long, value_name = "LICENSE")]
    accept_license: Option<String>,
}

#[derive(clap::Args)]
struct RandomArgs {
    /// Architecture; the tiny ones are for tests
    #[arg(long, value_parser = ["v1", "v1.1", "tiny-v1", "tiny-v1.1"])]
    arch: String,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the numbers are stored
    #[arg(long, value_parser = ["f32", "bf16", "f16"], default_value = "f32")]
    dtype: String,
    /// Folder to write to
    out: PathBuf,
}

#[derive(clap::Args)]
struct QuantizeArgs {
    /// Folder with the weights
    dir: PathBuf,
    /// What the matrices of the transformer blocks become
    #[arg(long = "type", value_name = "TYPE", value_parser = ["q8_0", "f16", "bf16"])]
    kind: String,
    /// Folder to write to
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let cache = Cache::from_vars(&environment);
    match &args.command {
        Command::List => print(&list(&cache)),
        Command::Fetch(args) => fetch_weights(args, &cache),
        Command::Verify { weights } => verify_weights(weights.as_deref(), &cache),
        Command::Path { name } => {
            let model = KnownModel::choose(name.as_deref())?;
            print(&locate(model.repository, &cache)?.display().to_string())
        }
        Command::Random(args) => random(args),
        Command::Quantize(args) => quantize_weights(args),
    }
}

fn list(cache: &Cache) -> String {
    let mut table = Table::new();
    let header = ["model", "architecture", "parameters", "size", "licence", "where"];
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for model in &KNOWN_MODELS {
        let folder = locate(model.repository, cache).ok();
        let tensors = folder.as_ref().map(|folder| folder.join(SAFETENSORS_FILE));
        let bytes = tensors.and_then(|file| Some(std::fs::metadata(file).ok()?.len()));
        table.add_row([
            model.repository.to_owned(),
            model.architecture.to_owned(),
            format!("{} M", model.parameters / 1_000_000),
            gigabytes(bytes.unwrap_or_else(|| model.released_bytes())),
            model.license.id.to_owned(),
            folder.map_or_else(|| "not here".to_owned(), |folder| folder.display().to_string()),
        ]);
    }
    let default = KnownModel::default_model().repository;
    format!("{table}\n{default} is used where no other is named.")
}

fn fetch_weights(args: &FetchArgs, cache: &Cache) -> anyhow::Result<()> {
    let model = KnownModel::choose(args.name.as_deref())?;
    model.check_license(args.accept_license.as_deref())?;
    let license = model.license;
    print(&format!("{} is under {}: {}", model.repository, license.id, license.sentence))?;
    let bar = bytes_bar();
    let mut progress = |progress: &FetchProgress<'_>| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.file.to_owned());
    };
    let hub = Hub::from_vars(&environment);
    let folder = fetch(&hub, cache, model, &args.revision, &mut progress);
    bar.finish_and_clear();
    print(&format!("{} is in {}", model.repository, folder?.display()))
}

fn verify_weights(named: Option<&str>, cache: &Cache) -> anyhow::Result<()> {
    let folder = locate(named.unwrap_or_default(), cache)?;
    let bar = share_bar("checked");
    let verification = verify(&folder, &mut |share| bar.set_position((100.0 * share) as u64));
    bar.finish_and_clear();
    let verification = verification?;
    print(&summary(&folder, &verification))?;
    match verification.problems.len() {
        0 => Ok(()),
        count => Err(anyhow::anyhow!("{}: {count} problems", folder.display())),
    }
}

fn summary(folder: &Path, verification: &Verification) -> String {
    let types: Vec<String> =
        verification.types.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let sums = match verification.checksums {
        0 => "no checksum is known".to_owned(),
        count => format!("{count} compared"),
    };
    let rows = [
        ("folder", folder.display().to_string()),
        ("architecture", verification.architecture.clone()),
        ("tensors", format!("{} ({})", verification.tensors, types.join(", "))),
        ("values", verification.values.to_string()),
        ("size", gigabytes(verification.bytes)),
        ("SHA-256", sums),
    ];
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    let verdict = if verification.problems.is_empty() { "\nall is well" } else { "" };
    let problems = verification.problems.iter().map(|problem| format!("\nproblem: {problem}"));
    format!("{table}{verdict}{}", problems.collect::<String>())
}

fn random(args: &RandomArgs) -> anyhow::Result<()> {
    refuse_weights_in(&args.out)?;
    let architecture = NamedArchitecture::named(&args.arch)
        .ok_or_else(|| Error::Usage(format!("there is no architecture '{}'", args.arch)))?;
    let bar = bytes_bar();
    let progress = |written, total| {
        bar.set_length(total);
        bar.set_position(written);
    };
    let dtype = precision(&args.dtype);
    let written = write_random(&args.out, architecture, dtype, args.seed, &progress);
    bar.finish_and_clear();
    written?;
    print(&format!("random weights of {} are in {}", args.arch, args.out.display()))
}

fn quantize_weights(args: &QuantizeArgs) -> anyhow::Result<()> {
    refuse_weights_in(&args.out)?;
    let quantization = match args.kind.as_str() {
        "q8_0" => Quantization::Q8_0,
        half => Quantization::Half(precision(half)),
    };
    let bar = share_bar("reduced");
    let mut progress = |share: f64| bar.set_position((100.0 * share) as u64);
    let quantized = quantize(&args.dir, quantization, &args.out, &mut progress);
    bar.finish_and_clear();
    let quantized = quantized?;
    print(&format!(
        "{} matrices are {}, {} other tensors f32 or f16: {} in {}",
        quantized.reduced,
        args.kind,
        quantized.kept,
        gigabytes(quantized.bytes),
        args.out.display()
    ))
}

/// Weights are large and slow to get: none are overwritten.
fn refuse_weights_in(folder: &Path) -> anyhow::Result<()> {
    if !is_weights_folder(folder) {
        return Ok(());
    }
    let problem = "there are weights in this folder already";
    Err(Error::input(folder, problem, "choose another folder, or remove them").into())
}

fn precision(name: &str) -> Precision {
    match name {
        "bf16" => Precision::Bf16,
        "f16" => Precision::F16,
        _ => Precision::F32,
    }
}

fn gigabytes(bytes: u64) -> String {
    match bytes {
        0..100_000_000 => format!("{:.1} MB", bytes as f64 * 1e-6),
        _ => format!("{:.2} GB", bytes as f64 * 1e-9),
    }
}

fn bytes_bar() -> ProgressBar {
    bar("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left {msg}", 0)
}

fn share_bar(done: &str) -> ProgressBar {
    let bar = bar("{bar:30} {pos} % {msg}", 100);
    bar.set_message(done.to_owned());
    bar
}

fn bar(template: &str, length: u64) -> ProgressBar {
    // The templates are constants; were one wrong, the plain style would do.
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
