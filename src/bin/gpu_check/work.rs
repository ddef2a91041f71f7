//! How many floating-point operations a network takes: two for each multiply-add of its products,
//! as in the reference, for images only.

use recon_node::model::mapanything::architecture::{Architecture, FeedForward, TransformerSizes};

/// Side of a patch, in pixels.
const PATCH_PX: usize = 14;

/// Returns the TFLOP of one inference over `views` images of `height` × `width` pixels.
pub fn tflop(architecture: &Architecture, views: usize, (height, width): (usize, usize)) -> f64 {
    let (h, w) = (height / PATCH_PX, width / PATCH_PX);
    let patches = h * w;
    let encoder = views as f64 * transformer(&architecture.encoder, patches + 1, patches + 1);
    let embed =
        views as f64 * product(patches, 3 * PATCH_PX * PATCH_PX, architecture.encoder.width);
    let tokens = patches + usize::from(architecture.uses_class_token);
    let sequence = views * tokens + 1;
    let sharing = &architecture.info_sharing;
    let global = transformer(sharing, sequence, sequence) / 2.0;
    let frame = views as f64 * transformer(sharing, tokens, tokens) / 2.0;
    let project = match architecture.has_projection {
        true => product(sequence, architecture.encoder.width, sharing.width),
        false => 0.0,
    };
    let heads = views as f64
        * (dense_head(architecture, (h, w), (height, width)) + pose_head(architecture, patches));
    (encoder + embed + global + frame + project + heads) / 1e12
}

fn product(rows: usize, from: usize, to: usize) -> f64 {
    2.0 * rows as f64 * from as f64 * to as f64
}

/// All blocks over `tokens` that attend to `context` tokens each.
fn transformer(sizes: &TransformerSizes, tokens: usize, context: usize) -> f64 {
    let c = sizes.width;
    let feed_forward = match sizes.feed_forward {
        FeedForward::Gelu { hidden } => 2.0 * product(tokens, c, hidden),
        FeedForward::SwiGlu { hidden } => 3.0 * product(tokens, c, hidden),
    };
    let attention = 2.0 * product(tokens, context, c);
    sizes.depth as f64 * (product(tokens, c, 4 * c) + attention + feed_forward)
}

fn pose_head(architecture: &Architecture, patches: usize) -> f64 {
    let width = architecture.pose_width;
    product(patches, architecture.info_sharing.width, width) + 6.0 * product(patches, width, width)
}

fn dense_head(
    architecture: &Architecture,
    (h, w): (usize, usize),
    (height, width): (usize, usize),
) -> f64 {
    let f = architecture.fusion_width;
    let conv = |pixels: usize, from: usize, to: usize| product(pixels, 9 * from, to);
    let patches = h * w;
    let small = h.div_ceil(2) * w.div_ceil(2);
    let [a, b, c, d] = architecture.level_widths;
    let (from0, from) = (architecture.encoder.width, architecture.info_sharing.width);
    let levels = product(patches, from0, a)
        + product(patches, a, 16 * a)
        + conv(16 * patches, a, f)
        + product(patches, from, b)
        + product(patches, b, 4 * b)
        + conv(4 * patches, b, f)
        + product(patches, from, c)
        + conv(patches, c, f)
        + product(patches, from, d)
        + conv(small, d, d)
        + conv(small, d, f);
    let unit = |pixels: usize| 2.0 * conv(pixels, f, f);
    // The reference enlarges before the last layer of each fusion.
    let fusion = |pixels: usize| 2.0 * unit(pixels) + product(4 * pixels, f, f);
    let coarsest = unit(small) + product(4 * small, f, f);
    let fusions = coarsest + fusion(patches) + fusion(4 * patches) + fusion(16 * patches);
    let [inner, last] = architecture.regressor_widths;
    let pixels = height * width;
    levels
        + fusions
        + conv(64 * patches, f, inner)
        + conv(pixels, inner, last)
        + product(pixels, last, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_that_of_torchs_counter() {
        let size = (392, 518);
        let cases = [
            (Architecture::v1(), 1, 1.41),
            (Architecture::v1(), 8, 13.49),
            (Architecture::v1(), 24, 55.65),
            (Architecture::v11(), 4, 12.08),
            (Architecture::v11(), 24, 97.84),
        ];
        for (architecture, views, expected) in cases {
            let found = tflop(&architecture, views, size);
            assert!((found / expected - 1.0).abs() < 0.01, "{views} views: {found}, {expected}");
        }
    }
}
