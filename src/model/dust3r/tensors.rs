//! Names and shapes of the tensors that networks of the family are made of.

use super::Family;

/// The sizes that tell networks of one family apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilySizes {
    /// Whose network it is.
    pub family: Family,
    /// Width and number of blocks of the encoder.
    pub encoder: (usize, usize),
    /// Width and number of blocks of the decoder, or of Fast3R's fusion.
    pub decoder: (usize, usize),
    /// Channels of the dense head's four levels.
    pub level_widths: [usize; 4],
    /// Channels where the levels are brought together.
    pub fusion_width: usize,
    /// Channels before the last layer of the dense head.
    pub last_width: usize,
    /// Numbers between the two layers that make MASt3R's descriptors.
    pub descriptor_hidden: usize,
}

impl FamilySizes {
    /// Returns the sizes of the release for images of 512 pixels.
    pub fn released(family: Family) -> Self {
        Self {
            family,
            encoder: (1024, 24),
            decoder: if family == Family::Fast3r { (1024, 24) } else { (768, 12) },
            level_widths: [96, 192, 384, 768],
            fusion_width: 256,
            last_width: 128,
            descriptor_hidden: 4 * (1024 + 768),
        }
    }

    /// Returns name and shape of every tensor that the network computes with.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut list = List::default();
        let is_many = self.family == Family::Fast3r;
        let (encoder, decoder) = if is_many { ("encoder.", "decoder.") } else { ("", "") };
        let ((width, depth), (fused_width, fused_depth)) = (self.encoder, self.decoder);
        list.affine(&format!("{encoder}patch_embed.proj"), [width, 3, PATCH_PX, PATCH_PX]);
        (0..depth).for_each(|i| list.block(&format!("{encoder}enc_blocks.{i}"), width, false));
        list.norm(&format!("{encoder}enc_norm"), width);
        list.affine(&format!("{decoder}decoder_embed"), [fused_width, width]);
        let chains: &[&str] =
            if is_many { &["dec_blocks"] } else { &["dec_blocks", "dec_blocks2"] };
        for chain in chains {
            let block = |i| format!("{decoder}{chain}.{i}");
            (0..fused_depth).for_each(|i| list.block(&block(i), fused_width, !is_many));
        }
        list.norm(&format!("{decoder}dec_norm"), fused_width);
        let heads = if is_many { ["downstream_head", "downstream_head_local"] } else { HEADS };
        heads.iter().for_each(|head| self.head(head, &mut list));
        list.0
    }

    fn head(&self, head: &str, list: &mut List) {
        let (f, [encoded, decoded]) = (self.fusion_width, [self.encoder.0, self.decoder.0]);
        for (level, &width) in self.level_widths.iter().enumerate() {
            let post = format!("{head}.dpt.act_postprocess.{level}");
            let from = if level == 0 { encoded } else { decoded };
            list.affine(&format!("{post}.0"), [width, from, 1, 1]);
            // Two levels are enlarged, one is as it is, the last is halved.
            if let Some(kernel) = [Some(4), Some(2), None, Some(3)][level] {
                list.affine(&format!("{post}.1"), [width, width, kernel, kernel]);
            }
            let layer = format!("{head}.dpt.scratch.layer{}_rn.weight", level + 1);
            list.put(layer, &[f, width, 3, 3]);
            list.fusion(&format!("{head}.dpt.scratch.refinenet{}", level + 1), f);
        }
        list.affine(&format!("{head}.dpt.head.0"), [f / 2, f, 3, 3]);
        list.affine(&format!("{head}.dpt.head.2"), [self.last_width, f / 2, 3, 3]);
        list.affine(&format!("{head}.dpt.head.4"), [4, self.last_width, 1, 1]);
        if self.family == Family::Mast3r {
            let (hidden, features) =
                (self.descriptor_hidden, format!("{head}.head_local_features"));
            list.affine(&format!("{features}.fc1"), [hidden, encoded + decoded]);
            list.affine(&format!("{features}.fc2"), [DESCRIPTORS * PATCH_PX * PATCH_PX, hidden]);
        }
    }
}

/// Side of a patch, pixels.
const PATCH_PX: usize = 16;
/// Numbers that MASt3R says of a pixel: a descriptor, and its confidence.
const DESCRIPTORS: usize = 24 + 1;
/// The heads for the two sides of a pair.
const HEADS: [&str; 2] = ["downstream_head1", "downstream_head2"];

#[derive(Default)]
struct List(Vec<(String, Vec<usize>)>);

impl List {
    fn put(&mut self, name: String, shape: &[usize]) {
        self.0.push((name, shape.to_vec()));
    }

    fn affine<const N: usize>(&mut self, name: &str, shape: [usize; N]) {
        self.put(format!("{name}.weight"), &shape);
        self.put(format!("{name}.bias"), &shape[..1]);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.put(format!("{name}.weight"), &[width]);
        self.put(format!("{name}.bias"), &[width]);
    }

    /// A block of a transformer; one that also attends to another view has four norms.
    fn block(&mut self, name: &str, width: usize, is_cross: bool) {
        let norms = ["norm1", "norm2", "norm3", "norm_y"];
        let count = if is_cross { 4 } else { 2 };
        norms[..count].iter().for_each(|norm| self.norm(&format!("{name}.{norm}"), width));
        self.affine(&format!("{name}.attn.qkv"), [3 * width, width]);
        self.affine(&format!("{name}.attn.proj"), [width, width]);
        for part in ["projq", "projk", "projv", "proj"].iter().filter(|_| is_cross) {
            self.affine(&format!("{name}.cross_attn.{part}"), [width, width]);
        }
        self.affine(&format!("{name}.mlp.fc1"), [4 * width, width]);
        self.affine(&format!("{name}.mlp.fc2"), [width, 4 * width]);
    }

    /// Where a level of a dense head comes in.
    fn fusion(&mut self, name: &str, width: usize) {
        self.affine(&format!("{name}.out_conv"), [width, width, 1, 1]);
        for part in ["Unit1.conv1", "Unit1.conv2", "Unit2.conv1", "Unit2.conv2"] {
            self.affine(&format!("{name}.resConf{part}"), [width, width, 3, 3]);
        }
    }
}
