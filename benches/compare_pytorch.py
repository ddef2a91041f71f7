#!/usr/bin/env python3
"""MapAnything's network here and in PyTorch, by turns on the same machine.

Both sides compute the same layers at the same shapes with the same random weights, images only, in
f32, without the encoders of priors that are not given. The PyTorch side is written here with
torch.nn.functional: matrix products, scaled_dot_product_attention, conv2d, interpolate, in the order
of the original implementation. Before anything is timed, the outputs of both for small images are
compared; they must agree to 1e-3 of their magnitude.

Each round times one run of ours and one of PyTorch's, after a pause in which idle threads go to
sleep. The last line is `ratio X`: the fastest of our rounds divided by the fastest of PyTorch's; below
1, ours is faster. Also printed are the ratio of medians, the ratio of processor time (which the
rest of the machine disturbs less) and our peak memory.

PyTorch comes from this Python if it has it, else from an environment that is made in target/ with
`pip install torch numpy safetensors`.
"""

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path

from by_turns import REPOSITORY, Ours, built, check_outputs, with_torch


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="v1", choices=["v1", "v1.1", "tiny-v1", "tiny-v1.1"])
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--height", type=int, default=168)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--simd",
        choices=["avx2", "avx512"],
        help="let neither side use better instructions than these",
    )
    parser.add_argument(
        "--program", type=Path, help="the example bench_forward [default: built with cargo]"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="folder with weights, random ones are written if it does not exist "
        "[default: target/compare-pytorch-ARCH]",
    )
    return parser.parse_args()


def limit_torch(args):
    """Keeps PyTorch, and the libraries below it, from better instructions; before it is loaded."""
    if args.simd == "avx2":
        os.environ["ATEN_CPU_CAPABILITY"] = "avx2"
        os.environ["MKL_ENABLE_INSTRUCTIONS"] = "AVX2"
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"


def ours(args, width, height, views):
    size = ["--width", str(width), "--height", str(height), "--views", str(views)]
    simd = ["--simd", args.simd] if args.simd else []
    options = ["--weights", args.weights, "--serve", *size, *simd]
    return Ours(args.program, options, args.threads)


class Network:
    """MapAnything's network for images, in plain PyTorch."""

    def __init__(self, weights, args):
        import torch
        import torch.nn.functional as functional

        self.torch, self.f, self.w = torch, functional, weights
        self.positions = {}
        self.encoder_head = 16 if args.arch.startswith("tiny") else 64
        depth = self.depth("info_sharing.self_attention_blocks")
        self.hooks = (depth // 2 - 1, 3 * depth // 4 - 1)

    def depth(self, prefix):
        parts = prefix.count(".") + 1
        return 1 + max(int(n.split(".")[parts]) for n in self.w if n.startswith(prefix + "."))

    def linear(self, name, x):
        weight = self.w[name + ".weight"]
        return self.f.linear(x, weight.flatten(1), self.w[name + ".bias"])

    def norm(self, name, x):
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        return self.f.layer_norm(x, weight.shape, weight, bias, 1e-6)

    def conv(self, name, x, stride=1):
        weight = self.w[name + ".weight"]
        padding = weight.shape[-1] // 2
        return self.f.conv2d(x, weight, self.w.get(name + ".bias"), stride, padding)

    def attention(self, name, x):
        batch, tokens, width = x.shape
        heads = width // self.encoder_head
        qkv = self.linear(name + ".qkv", x).reshape(batch, tokens, 3, heads, width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = self.f.scaled_dot_product_attention(q, k, v)
        return self.linear(name + ".proj", mixed.transpose(1, 2).reshape(batch, tokens, width))

    def feed_forward(self, name, x):
        if name + ".w12.weight" in self.w:
            a, b = self.linear(name + ".w12", x).chunk(2, dim=-1)
            return self.linear(name + ".w3", self.f.silu(a) * b)
        return self.linear(name + ".fc2", self.f.gelu(self.linear(name + ".fc1", x)))

    def block(self, name, x):
        for norm, part, scale in [("norm1", "attn", "ls1"), ("norm2", "mlp", "ls2")]:
            change = self.attention if part == "attn" else self.feed_forward
            change = change(f"{name}.{part}", self.norm(f"{name}.{norm}", x))
            gamma = self.w.get(f"{name}.{scale}.gamma")
            x = x + (change if gamma is None else change * gamma)
        return x

    def position(self, h, w):
        if (h, w) not in self.positions:
            table = self.w["encoder.model.pos_embed"]
            side = int((table.shape[1] - 1) ** 0.5)
            grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
            if (h, w) != (side, side):
                scale = ((h + 0.1) / side, (w + 0.1) / side)
                grid = self.f.interpolate(grid, scale_factor=scale, mode="bicubic")
            grid = grid.flatten(2).transpose(1, 2)
            self.positions[h, w] = self.torch.cat([table[:, :1], grid], 1)
        return self.positions[h, w]

    def encode(self, images):
        n, _, height, width = images.shape
        h, w = height // 14, width // 14
        name = "encoder.model.patch_embed.proj"
        x = self.f.conv2d(images, self.w[name + ".weight"], self.w[name + ".bias"], 14)
        x = x.flatten(2).transpose(1, 2)
        x = self.torch.cat([self.w["encoder.model.cls_token"].expand(n, -1, -1), x], 1)
        x = x + self.position(h, w)
        for i in range(self.depth("encoder.model.blocks")):
            x = self.block(f"encoder.model.blocks.{i}", x)
        if "encoder.model.norm.weight" in self.w:
            x = self.norm("encoder.model.norm", x)
        return x[:, 1:], x[:, :1]

    def share(self, patches, class_token):
        n, p, _ = patches.shape
        gated = "info_sharing.proj_embed.weight" not in self.w
        x = self.torch.cat([patches, class_token], 1) if gated else patches
        tokens = x.shape[1]
        scale = self.w["scale_token"].reshape(1, 1, -1)
        if not gated:
            x, scale = (self.linear("info_sharing.proj_embed", x) for x in (x, scale))
        x = self.torch.cat([x[:1] + self.w["info_sharing.view_pos_table"].flatten(), x[1:]], 0)
        levels = []
        for i in range(self.depth("info_sharing.self_attention_blocks")):
            name = f"info_sharing.self_attention_blocks.{i}"
            if i % 2 == 0:
                all_views = self.torch.cat([x.reshape(1, n * tokens, -1), scale], 1)
                all_views = self.block(name, all_views)
                x, scale = all_views[:, :-1].reshape(n, tokens, -1), all_views[:, -1:]
            else:
                x = self.block(name, x)
            if i in self.hooks:
                levels.append(self.norm("info_sharing.norm", x)[:, :p])
        levels.append(self.norm("info_sharing.norm", x)[:, :p])
        return levels, self.norm("info_sharing.norm", scale)[:, 0]

    def residual(self, name, x):
        change = self.conv(name + ".conv1", self.f.relu(x))
        return self.conv(name + ".conv2", self.f.relu(change)) + x

    def up(self, x, size):
        return self.f.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def refine(self, i, x, lateral=None):
        name = f"dense_head.0.scratch.refinenet{i}"
        if lateral is not None:
            x = x + self.residual(name + ".resConfUnit1", lateral)
        x = self.residual(name + ".resConfUnit2", x)
        size = (2 * x.shape[2], 2 * x.shape[3])
        return self.conv(name + ".out_conv", self.up(x, size))

    def dense(self, levels, size):
        maps = []
        for k, x in enumerate(levels):
            name = f"dense_head.0.input_process.{k}"
            x = self.conv(name + ".0.0", x)
            weight = self.w.get(name + ".0.1.weight")
            if weight is not None and weight.shape[-1] == 3:
                x = self.conv(name + ".0.1", x, 2)
            elif weight is not None:
                bias, stride = self.w[name + ".0.1.bias"], weight.shape[-1]
                x = self.f.conv_transpose2d(x, weight, bias, stride)
            maps.append(self.conv(name + ".1", x))
        h, w = levels[3].shape[2:]
        x = self.refine(4, maps[3])[:, :, :h, :w]
        for i in (3, 2, 1):
            x = self.refine(i, x, maps[i - 1])
        x = self.up(self.conv("dense_head.1.conv1", x), size)
        x = self.f.relu(self.conv("dense_head.1.conv2.0", x))
        return self.conv("dense_head.1.conv2.2", x)

    def pose(self, x):
        x = self.conv("pose_head.proj", x)
        for i in range(2):
            change = x
            for k in (1, 2, 3):
                change = self.f.relu(self.conv(f"pose_head.res_conv.{i}.res_conv{k}", change))
            x = x + change
        x = x.mean((2, 3))
        for k in (0, 2):
            x = self.f.relu(self.linear(f"pose_head.more_mlps.{k}", x))
        parts = [self.linear("pose_head.fc_t", x), self.linear("pose_head.fc_rot", x)]
        return self.torch.cat(parts, 1)

    def scale(self, x):
        x = self.linear("scale_head.proj", x)
        for k in range(2):
            x = self.f.relu(self.linear(f"scale_head.mlp.{k}.0", x))
        return self.linear("scale_head.output_proj", x)

    def forward(self, images):
        n, _, height, width = images.shape
        h, w = height // 14, width // 14
        patches, class_token = self.encode(images)
        encoded = time.perf_counter()
        fused = self.norm("fusion_norm_layer", patches)
        levels, scale = self.share(fused, class_token)
        maps = [x.transpose(1, 2).reshape(n, -1, h, w) for x in (fused, *levels)]
        parts = [self.dense([x[i : i + 1] for x in maps], (height, width)) for i in range(n)]
        dense = self.torch.cat(parts).permute(0, 2, 3, 1)
        return {"dense": dense, "pose": self.pose(maps[3]), "scale": self.scale(scale)}, encoded


def images(torch, width, height, views):
    y, x, v, c = torch.meshgrid(
        *(torch.arange(n) for n in (height, width, views, 3)), indexing="ij"
    )
    values = (7 * x + 13 * y + 31 * c + 57 * v + x * y % 97) % 256
    return (values.permute(2, 3, 0, 1) / 127.5 - 1.0).contiguous()


def check(args, torch, network):
    width, height, views = 70, 56, 2
    expected, _ = network.forward(images(torch, width, height, views))
    check_outputs(ours(args, width, height, views), expected)


def timed(args, torch, network):
    batch = images(torch, args.width, args.height, args.views)
    program = ours(args, args.width, args.height, args.views)
    rows = []
    for i in range(args.rounds + 1):
        time.sleep(0.5)
        processor = program.processor_seconds()
        encoder, rest, peak = map(float, program.ask("run"))
        processor = program.processor_seconds() - processor
        time.sleep(0.5)
        start, start_processor = time.perf_counter(), time.process_time()
        _, middle = network.forward(batch)
        end, end_processor = time.perf_counter(), time.process_time()
        theirs = [middle - start, end - middle, end_processor - start_processor]
        # The first round warms up: threads, caches, position tables.
        if i > 0:
            rows.append([encoder, rest, processor, *theirs])
            print(
                f"round {i}: ours {encoder + rest:.3f} s (encoder {encoder:.3f}), "
                f"PyTorch {theirs[0] + theirs[1]:.3f} s (encoder {theirs[0]:.3f})",
                flush=True,
            )
    program.close()
    return rows, peak


def main():
    args = arguments()
    limit_torch(args)
    with_torch()
    import torch
    from safetensors.torch import load_file

    args.program = args.program or built("bench_forward")
    args.weights = args.weights or REPOSITORY / "target" / f"compare-pytorch-{args.arch}"
    make = [args.program, "--weights", args.weights, "--arch", args.arch, "--only-weights"]
    subprocess.run(make, check=True)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), ", end="")
    print(f"{args.threads} threads each, {args.arch}, {args.views} views {args.width}×{args.height}")
    with torch.inference_mode():
        weights = load_file(args.weights / "model.safetensors")
        network = Network(weights, args)
        check(args, torch, network)
        rows, peak = timed(args, torch, network)
    columns = list(zip(*rows))
    best = [min(column) for column in columns]
    total = [[a + b for a, b in zip(*columns[i : i + 2])] for i in (0, 3)]
    size = (args.weights / "model.safetensors").stat().st_size
    print(f"encoder: ours {best[0]:.3f} s, PyTorch {best[3]:.3f} s, ratio {best[0] / best[3]:.3f}")
    print(f"the rest: ours {best[1]:.3f} s, PyTorch {best[4]:.3f} s, ratio {best[1] / best[4]:.3f}")
    print(f"processor: ours {best[2]:.2f} s, PyTorch {best[5]:.2f} s, ratio {best[2] / best[5]:.3f}")
    print(f"peak memory: ours {peak / 1e9:.2f} GB, weights {size / 1e9:.2f} GB")
    medians = [statistics.median(side) for side in total]
    print(f"medians: ours {medians[0]:.3f} s, PyTorch {medians[1]:.3f} s, ", end="")
    print(f"ratio {medians[0] / medians[1]:.3f}")
    print(f"fastest: ours {min(total[0]):.3f} s, PyTorch {min(total[1]):.3f} s")
    print(f"ratio {min(total[0]) / min(total[1]):.3f}")


if __name__ == "__main__":
    main()
