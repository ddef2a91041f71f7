#!/usr/bin/env python3
"""PyTorch's time for the networks on a GPU, beside what gpu_check measured.

    python3 benches/gpu_pytorch.py TIMES.json

TIMES.json is what `gpu_check --json` wrote on the same GPU. The network is that of
compare_pytorch.py, a plain PyTorch module with the same layers and shapes, with random weights; it
stands in for the original. The transformers run under bf16 autocast and the heads in f32, as in the
original; convolutions may use TF32, which is PyTorch's default. Two ways of holding the weights are
timed: f32, which autocast rounds in every call, as the original does; and matrices of the transformers
rounded beforehand. The ratio is of our time and the faster of the two. DUSt3R, MASt3R and Fast3R are
those of compare_pytorch_pairs.py, under autocast as their programs run them where a GPU has bf16.
"""

import argparse
import json
import re
import sys
import time
from types import SimpleNamespace

HEIGHT, WIDTH = 392, 518
# Views that the dense head sees at once; runs of each size; as in src/bin/gpu_check/timing.rs.
HEAD_VIEWS, RUNS, SECONDS = 8, 3, 2.0
ROUNDED = re.compile(r"(encoder\.model|info_sharing)\..*(attn|mlp|patch_embed|proj_embed)\b")


def random_weights(torch, shapes, rounded):
    weights = {}
    for name, shape in shapes.items():
        is_gain = len(shape) == 1 and not name.endswith("bias")
        value = torch.ones(shape, device="cuda") if is_gain else 0.02 * torch.randn(shape, device="cuda")
        weights[name] = value.bfloat16() if rounded and ROUNDED.match(name) else value
    return weights


def forward(torch, network, images):
    n, _, height, width = images.shape
    h, w = height // 14, width // 14
    with torch.autocast("cuda", torch.bfloat16):
        patches, class_token = network.encode(images)
    fused = network.norm("fusion_norm_layer", patches.float())
    with torch.autocast("cuda", torch.bfloat16):
        levels, scale = network.share(fused, class_token)
    maps = [x.float().transpose(1, 2).reshape(n, -1, h, w) for x in (fused, *levels)]
    size = (height, width)
    parts = [network.dense([x[i : i + HEAD_VIEWS] for x in maps], size) for i in range(0, n, HEAD_VIEWS)]
    results = torch.cat(parts), network.pose(maps[3]), network.scale(scale.float())
    return [result.cpu() for result in results]


def milliseconds(torch, network, views):
    images = torch.randn(views, 3, HEIGHT, WIDTH, device="cuda")

    def run():
        torch.cuda.synchronize()
        start = time.perf_counter()
        forward(torch, network, images)
        return (time.perf_counter() - start) * 1e3

    return fastest(run)


def fastest(run):
    run(), run()
    start, times = time.perf_counter(), []
    while len(times) < RUNS or time.perf_counter() - start < SECONDS:
        times.append(run())
    return min(times)


def measured(torch, network, views, timed=milliseconds):
    """Milliseconds and bytes, or nothing where the memory does not suffice."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        return timed(torch, network, views), torch.cuda.max_memory_allocated()
    except torch.cuda.OutOfMemoryError:
        return None, torch.cuda.max_memory_allocated()


def pair_milliseconds(torch, network, views):
    from compare_pytorch_pairs import images

    batch = images(torch, 512, 384, views).cpu()

    def run():
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            out, _ = network.forward(batch.cuda())
        for result in out.values():
            result.cpu()
        return (time.perf_counter() - start) * 1e3

    return fastest(run)


def pairs(torch, ours):
    """The table of the networks that see pairs, and of Fast3R's."""
    from compare_pytorch_pairs import Network, Sizes

    torch.set_default_device("cuda")
    print("| model | views | PyTorch ms | GB | ours ms | ours / PyTorch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in ours["times"]:
        shapes = ours["shapes"][row["model"]]
        with torch.inference_mode():
            weights = random_weights(torch, shapes, False)
            network = Network(torch, weights, Sizes(row["model"], False))
            ms, peak = measured(torch, network, row["views"], pair_milliseconds)
        ratio = row["ms"] / ms if ms and row["ms"] else None
        cells = [row["model"], row["views"], cell(ms, ".1f"), f"{peak / 1e9:.2f}"]
        cells += [cell(row["ms"], ".1f"), cell(ratio, ".2f")]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def cell(value, form):
    return "-" if value is None else format(value, form)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times")
    path = parser.parse_args().times
    import torch

    if not torch.cuda.is_available():
        sys.exit("this PyTorch sees no GPU")
    from compare_pytorch import Network

    with open(path) as file:
        ours = json.load(file)
    print(f"### PyTorch {torch.__version__} (CUDA {torch.version.cuda}), {torch.cuda.get_device_name()}\n")
    print("| arch | views | f32 weights ms | GB | bf16 weights ms | GB | ours ms | ours / PyTorch |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for arch, shapes in ours["shapes"].items():
        columns = []
        for rounded in (False, True):
            with torch.inference_mode():
                network = Network(random_weights(torch, shapes, rounded), SimpleNamespace(arch=arch))
                rows = [row for row in ours["times"] if row["arch"] == arch]
                columns.append([measured(torch, network, row["views"]) for row in rows])
            del network
        for row, (plain_ms, plain), (rounded_ms, rounded) in zip(rows, *columns):
            best = min((ms for ms in (plain_ms, rounded_ms) if ms is not None), default=None)
            ratio = row["ms"] / best if best and row["ms"] else None
            cells = [arch, row["views"], cell(plain_ms, ".1f"), f"{plain / 1e9:.2f}", cell(rounded_ms, ".1f")]
            cells += [f"{rounded / 1e9:.2f}", cell(row["ms"], ".1f"), cell(ratio, ".2f")]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print()
    pairs(torch, ours["pairs"])


if __name__ == "__main__":
    main()
