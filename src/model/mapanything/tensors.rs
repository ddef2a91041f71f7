//! The tensors that a checkpoint must hold, and the check that it holds them.

use std::collections::{BTreeMap, BTreeSet};

use super::architecture::{
    Architecture, FeedForward, GLOBAL_ENCODERS, PATCH_PX, Shapes, TransformerSizes,
};

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// The name under which it is stored once.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Other names of the same tensor: the reference registers the dense head more than once.
    pub aliases: Vec<String>,
    /// Whether it is a constant, not a parameter.
    pub is_buffer: bool,
}

impl ExpectedTensor {
    /// Returns how many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The constant that a checkpoint may hold; it can be told from its shape alone.
pub const VIEW_TABLE: &str = "info_sharing.view_pos_table";

/// Returns the tensors of the network, sorted by name.
pub fn expected_tensors(architecture: &Architecture) -> Vec<ExpectedTensor> {
    let mut list = List::default();
    list.encoder(architecture);
    list.priors(architecture);
    list.info_sharing(architecture);
    list.dense_head(architecture);
    list.small_heads(architecture);
    list.0.into_iter().map(|(name, shape)| expected(name, shape)).collect()
}

/// Returns the number of parameters of the network.
pub fn parameter_count(architecture: &Architecture) -> usize {
    expected_tensors(architecture).iter().filter(|t| !t.is_buffer).map(ExpectedTensor::len).sum()
}

fn expected(name: String, shape: Vec<usize>) -> ExpectedTensor {
    let (aliases, is_buffer) = (aliases(&name), name == VIEW_TABLE);
    ExpectedTensor { name, shape, aliases, is_buffer }
}

/// Returns the other names of the tensor `name`, sorted.
pub fn aliases(name: &str) -> Vec<String> {
    if let Some(rest) = name.strip_prefix("dense_head.1.") {
        return vec![format!("dpt_regressor_head.{rest}")];
    }
    let Some(rest) = name.strip_prefix("dense_head.0.") else { return Vec::new() };
    let level = rest.strip_prefix("input_process.").and_then(|r| r.strip_suffix(".1.weight"));
    let Some(level) = level.and_then(|level| level.parse::<usize>().ok()) else {
        return vec![format!("dpt_feature_head.{rest}")];
    };
    let again = [
        format!("scratch.layer{}_rn.weight", level + 1),
        format!("scratch.layer_rn.{level}.weight"),
    ];
    let mut names = vec![format!("dpt_feature_head.{rest}")];
    names.extend(again.iter().map(|name| format!("dense_head.0.{name}")));
    names.extend(again.iter().map(|name| format!("dpt_feature_head.{name}")));
    names.sort();
    names
}

/// Names and shapes in the making.
#[derive(Default)]
struct List(BTreeMap<String, Vec<usize>>);

impl List {
    fn put(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), shape.to_vec());
    }

    /// A layer with a bias for each row of its matrix.
    fn layer(&mut self, name: &str, shape: &[usize]) {
        self.put(format!("{name}.weight"), shape);
        self.put(format!("{name}.bias"), &shape[..1]);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.layer(name, &[width]);
    }

    fn blocks(&mut self, prefix: &str, sizes: &TransformerSizes) {
        for i in 0..sizes.depth {
            self.block(&format!("{prefix}.{i}"), sizes);
        }
    }

    fn block(&mut self, name: &str, sizes: &TransformerSizes) {
        let width = sizes.width;
        self.norm(&format!("{name}.norm1"), width);
        self.norm(&format!("{name}.norm2"), width);
        self.layer(&format!("{name}.attn.qkv"), &[3 * width, width]);
        self.layer(&format!("{name}.attn.proj"), &[width, width]);
        match sizes.feed_forward {
            FeedForward::Gelu { hidden } => {
                self.layer(&format!("{name}.mlp.fc1"), &[hidden, width]);
                self.layer(&format!("{name}.mlp.fc2"), &[width, hidden]);
            }
            FeedForward::SwiGlu { hidden } => {
                self.layer(&format!("{name}.mlp.w12"), &[2 * hidden, width]);
                self.layer(&format!("{name}.mlp.w3"), &[width, hidden]);
            }
        }
        if sizes.layer_scale {
            self.put(format!("{name}.ls1.gamma"), &[width]);
            self.put(format!("{name}.ls2.gamma"), &[width]);
        }
    }

    fn encoder(&mut self, architecture: &Architecture) {
        let sizes = &architecture.encoder;
        let (width, name) = (sizes.width, "encoder.model");
        let positions = 1 + architecture.position_table.pow(2);
        self.put(format!("{name}.cls_token"), &[1, 1, width]);
        self.put(format!("{name}.pos_embed"), &[1, positions, width]);
        self.layer(&format!("{name}.patch_embed.proj"), &[width, 3, PATCH_PX, PATCH_PX]);
        self.blocks(&format!("{name}.blocks"), sizes);
        if sizes.final_norm {
            self.norm(&format!("{name}.norm"), width);
        }
    }

    fn priors(&mut self, architecture: &Architecture) {
        let width = architecture.encoder.width;
        self.dense_encoder("ray_dirs_encoder", 3, &architecture.ray_dirs_encoder, width);
        self.dense_encoder("depth_encoder", 1, &architecture.depth_encoder, width);
        for ((name, inputs), widths) in GLOBAL_ENCODERS.iter().zip(&architecture.global_encoders) {
            self.global_encoder(name, *inputs, widths, width);
        }
        self.norm("fusion_norm_layer", width);
        self.put("scale_token", &[width]);
    }

    fn dense_encoder(&mut self, name: &str, channels: usize, widths: &[usize; 3], out: usize) {
        self.layer(&format!("{name}.conv_in"), &[widths[0], channels * PATCH_PX.pow(2), 3, 3]);
        for i in 0..2 {
            let (from, to) = (widths[i], widths[i + 1]);
            self.layer(&format!("{name}.encoder.{i}.conv1"), &[to, from, 3, 3]);
            self.layer(&format!("{name}.encoder.{i}.conv2"), &[to, to, 3, 3]);
            self.layer(&format!("{name}.encoder.{i}.shortcut"), &[to, from, 1, 1]);
        }
        self.layer(&format!("{name}.encoder.2"), &[out, widths[2], 1, 1]);
        self.norm(&format!("{name}.norm_layer"), out);
    }

    fn global_encoder(&mut self, name: &str, inputs: usize, widths: &[usize; 3], out: usize) {
        let layers = ["0.0.0.0", "0.0.1", "0.1", "1"];
        let sizes = [inputs, widths[0], widths[1], widths[2], out];
        for (layer, size) in layers.iter().zip(sizes.windows(2)) {
            self.layer(&format!("{name}.encoder.{layer}"), &[size[1], size[0]]);
        }
        self.norm(&format!("{name}.norm_layer"), out);
    }

    fn info_sharing(&mut self, architecture: &Architecture) {
        let sizes = &architecture.info_sharing;
        self.put(VIEW_TABLE, &[1, sizes.width]);
        self.blocks("info_sharing.self_attention_blocks", sizes);
        self.norm("info_sharing.norm", sizes.width);
        if architecture.has_projection {
            self.layer("info_sharing.proj_embed", &[sizes.width, architecture.encoder.width]);
        }
    }

    fn dense_head(&mut self, architecture: &Architecture) {
        let (features, levels) = (architecture.fusion_width, &architecture.level_widths);
        let inputs = [architecture.encoder.width, architecture.info_sharing.width];
        for (k, &width) in levels.iter().enumerate() {
            let name = format!("dense_head.0.input_process.{k}");
            self.layer(&format!("{name}.0.0"), &[width, inputs[k.min(1)], 1, 1]);
            let kernel = [4, 2, 0, 3][k];
            if kernel > 0 {
                self.layer(&format!("{name}.0.1"), &[width, width, kernel, kernel]);
            }
            self.put(format!("{name}.1.weight"), &[features, width, 3, 3]);
        }
        for i in 1..=4 {
            let name = format!("dense_head.0.scratch.refinenet{i}");
            self.layer(&format!("{name}.out_conv"), &[features, features, 1, 1]);
            for unit in (if i == 4 { 2 } else { 1 })..=2 {
                for conv in ["conv1", "conv2"] {
                    let name = format!("{name}.resConfUnit{unit}.{conv}");
                    self.layer(&name, &[features, features, 3, 3]);
                }
            }
        }
        let [wide, narrow] = architecture.regressor_widths;
        self.layer("dense_head.1.conv1", &[wide, features, 3, 3]);
        self.layer("dense_head.1.conv2.0", &[narrow, wide, 3, 3]);
        self.layer("dense_head.1.conv2.2", &[super::dense_head::CHANNELS, narrow, 1, 1]);
    }

    fn small_heads(&mut self, architecture: &Architecture) {
        let (inputs, width) = (architecture.info_sharing.width, architecture.pose_width);
        self.layer("pose_head.proj", &[width, inputs, 1, 1]);
        for (block, conv) in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)] {
            let name = format!("pose_head.res_conv.{block}.res_conv{conv}");
            self.layer(&name, &[width, width, 1, 1]);
        }
        self.layer("pose_head.more_mlps.0", &[width, width]);
        self.layer("pose_head.more_mlps.2", &[width, width]);
        self.layer("pose_head.fc_t", &[3, width]);
        self.layer("pose_head.fc_rot", &[4, width]);
        let width = architecture.scale_width;
        self.layer("scale_head.proj", &[width, inputs]);
        self.layer("scale_head.mlp.0.0", &[width, width]);
        self.layer("scale_head.mlp.1.0", &[width, width]);
        self.layer("scale_head.output_proj", &[1, width]);
    }
}

/// How the tensors of a file differ from those that are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Names that are needed and not there.
    pub missing: Vec<String>,
    /// Names that are there and not known.
    pub surplus: Vec<String>,
    /// Name, shape that is needed, shape that is there.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Differences {
    /// Returns what is wrong in one sentence, or `None`; surplus tensors count unless they are
    /// allowed.
    pub fn problem(&self, allow_surplus: bool) -> Option<String> {
        let shape = |(name, needed, found): &(String, Vec<usize>, Vec<usize>)| {
            format!("{name} ({found:?} instead of {needed:?})")
        };
        let misshapen: Vec<String> = self.misshapen.iter().map(shape).collect();
        let surplus = if allow_surplus { &[][..] } else { &self.surplus };
        let parts: Vec<String> = [
            ("missing", &self.missing[..]),
            ("unknown", surplus),
            ("of another shape", &misshapen),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{} {what}: {}", names.len(), some_of(names)))
        .collect();
        (!parts.is_empty()).then(|| format!("tensors do not fit the network: {}", parts.join("; ")))
    }
}

fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, …") } else { shown }
}

/// Returns under which name each tensor of the network is stored in a file with tensors of these
/// `shapes`, or how the two differ.
///
/// # Errors
/// The differences, if there are any; callers decide whether surplus tensors matter.
pub fn stored_names(
    architecture: &Architecture,
    shapes: &Shapes,
) -> (BTreeMap<String, String>, Differences) {
    let (mut stored, mut known) = (BTreeMap::new(), BTreeSet::new());
    let mut differences = Differences::default();
    for tensor in expected_tensors(architecture) {
        let names = std::iter::once(&tensor.name).chain(&tensor.aliases);
        let found: Vec<_> = names.filter_map(|name| shapes.get_key_value(name)).collect();
        known.extend(found.iter().map(|(name, _)| name.as_str()));
        let wrong = found.iter().filter(|(_, shape)| **shape != tensor.shape);
        differences.misshapen.extend(
            wrong.map(|&(name, shape)| (name.clone(), tensor.shape.clone(), shape.clone())),
        );
        match found.first() {
            Some((name, _)) => drop(stored.insert(tensor.name, (*name).clone())),
            None if tensor.is_buffer => {}
            None => differences.missing.push(tensor.name),
        }
    }
    let is_surplus = |name: &&String| !known.contains(name.as_str());
    differences.surplus = shapes.keys().filter(is_surplus).cloned().collect();
    (stored, differences)
}
