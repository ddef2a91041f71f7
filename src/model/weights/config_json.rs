//! A `config.json` with what the shapes of tensors do not tell, and what other readers look for.

use serde_json::{Value, json};

use crate::model::mapanything::Architecture;
use crate::model::mapanything::architecture::{FeedForward, GLOBAL_ENCODERS};

/// Returns the configuration of a network of these sizes.
pub(super) fn of(sizes: &Architecture) -> Value {
    let is_gated = matches!(sizes.info_sharing.feed_forward, FeedForward::SwiGlu { .. });
    json!({
        "name": "mapanything",
        "encoder_config": encoder(sizes),
        "info_sharing_config": info_sharing(sizes),
        "geometric_input_config": priors(sizes),
        "pred_head_config": heads(sizes),
        "use_register_tokens_from_encoder": sizes.uses_class_token,
        "info_sharing_mlp_layer_str": if is_gated { "swiglufused" } else { "mlp" },
    })
}

fn encoder(sizes: &Architecture) -> Value {
    let is_gated = matches!(sizes.encoder.feed_forward, FeedForward::SwiGlu { .. });
    json!({
        "encoder_str": "dinov2",
        "size": if is_gated { "giant" } else { "large" },
        "data_norm_type": "dinov2",
        "with_registers": false,
        "norm_returned_features": sizes.encoder.final_norm,
        "keep_first_n_layers": sizes.encoder.depth,
        // Released files leave the sizes of the encoder to its name.
        "_tiny": {
            "depth": sizes.encoder.depth,
            "embed_dim": sizes.encoder.width,
            "num_heads": sizes.encoder.heads,
            "ffn_layer": if is_gated { "swiglufused" } else { "mlp" },
        },
    })
}

fn info_sharing(sizes: &Architecture) -> Value {
    json!({
        "model_type": "alternating_attention",
        "model_return_type": "intermediate_features",
        "custom_positional_encoding": null,
        "module_args": {
            "depth": sizes.info_sharing.depth,
            "dim": sizes.info_sharing.width,
            "num_heads": sizes.info_sharing.heads,
            "indices": sizes.hooks,
            "norm_intermediate": true,
            "distinguish_ref_and_non_ref_views": true,
        },
    })
}

fn priors(sizes: &Architecture) -> Value {
    let mut priors = json!({
        "ray_dirs_encoder_config": { "in_chans": 3, "intermediate_dims": sizes.ray_dirs_encoder },
        "depth_encoder_config": { "in_chans": 1, "intermediate_dims": sizes.depth_encoder },
    });
    for ((name, inputs), widths) in GLOBAL_ENCODERS.iter().zip(&sizes.global_encoders) {
        // The two encoders of scales have one configuration.
        let name = if name.ends_with("scale_encoder") { "scale_encoder" } else { name };
        priors[format!("{name}_config")] =
            json!({ "in_chans": inputs, "intermediate_dims": widths });
    }
    priors
}

fn heads(sizes: &Architecture) -> Value {
    json!({
        "type": "dpt+pose",
        "adaptor_type": "raydirs+depth+pose+confidence+mask+scale",
        "feature_head": { "feature_dim": sizes.fusion_width, "layer_dims": sizes.level_widths },
        "regressor_head": { "output_dim": 6 },
        "pose_head": {
            "num_resconv_block": 2,
            "rot_representation_dim": 4,
            "patch_size": (sizes.pose_width / 4).isqrt(),
        },
        "scale_head": { "output_dim": 1 },
    })
}
