#!/usr/bin/env python3
"""The networks of MASt3R, DUSt3R and Fast3R here and in PyTorch, by turns on the same machine.

Both sides compute the same layers at the same shapes with the same random weights in f32. The
PyTorch side is written here with torch.nn.functional: matrix products,
scaled_dot_product_attention, conv2d, interpolate. Before anything is timed, the outputs of both for
small images are compared; they must agree to 1e-3 of their magnitude.

Each round times one run of ours and one of PyTorch's: both images encoded, one pair decoded, both
heads. The last line is `ratio X`: the fastest of our rounds divided by the fastest of PyTorch's;
below 1, ours is faster. The ratio of processor time, which the rest of the machine disturbs less,
is printed too.

PyTorch comes from this Python if it has it, else from an environment that is made in target/ with
`pip install torch numpy safetensors`.
"""

import argparse
import math
import time
from pathlib import Path

from by_turns import REPOSITORY, Ours, built, check_outputs, with_torch


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = ["mast3r", "dust3r", "dust3r-linear", "fast3r"]
    parser.add_argument("--model", default="mast3r", choices=models)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="a small network, to try the script")
    parser.add_argument("--program", type=Path, help="the example bench_pair")
    return parser.parse_args()


class Sizes:
    """Sizes of a release, or of a small network of the same make."""

    def __init__(self, model, tiny):
        self.model = model
        self.encoder, self.decoder = (64, 64) if tiny else (1024, 768)
        self.encoder_depth, self.decoder_depth = (2, 12) if tiny else (24, 12)
        if model == "fast3r" and not tiny:
            self.decoder, self.decoder_depth = 1024, 24
        self.levels = (8, 16, 16, 24) if tiny else (96, 192, 384, 768)
        self.fusion, self.last = (24, 16) if tiny else (256, 128)


def shapes(s):
    """Names and shapes of all tensors."""
    out = {}

    def affine(name, rows, columns, *kernel, bias=True):
        out[name + ".weight"] = (rows, columns, *kernel)
        if bias:
            out[name + ".bias"] = (rows,)

    def norm(name, width):
        out[name + ".weight"] = out[name + ".bias"] = (width,)

    def block(name, width, cross=False):
        for part in ("norm1", "norm2", *(("norm3", "norm_y") if cross else ())):
            norm(f"{name}.{part}", width)
        affine(name + ".attn.qkv", 3 * width, width)
        affine(name + ".attn.proj", width, width)
        for part in ("projq", "projk", "projv", "proj") if cross else ():
            affine(f"{name}.cross_attn.{part}", width, width)
        affine(name + ".mlp.fc1", 4 * width, width)
        affine(name + ".mlp.fc2", width, 4 * width)

    many = s.model == "fast3r"
    encoder, decoder = ("encoder.", "decoder.") if many else ("", "")
    affine(encoder + "patch_embed.proj", s.encoder, 3, 16, 16)
    for i in range(s.encoder_depth):
        block(f"{encoder}enc_blocks.{i}", s.encoder)
    norm(encoder + "enc_norm", s.encoder)
    affine(decoder + "decoder_embed", s.decoder, s.encoder)
    for chain in ("dec_blocks",) if many else ("dec_blocks", "dec_blocks2"):
        for i in range(s.decoder_depth):
            block(f"{decoder}{chain}.{i}", s.decoder, cross=not many)
    norm(decoder + "dec_norm", s.decoder)
    heads = ("downstream_head1", "downstream_head2")
    if many:
        heads = ("downstream_head", "downstream_head_local")
    for head in heads:
        if s.model == "dust3r-linear":
            affine(head + ".proj", 1024, s.decoder)
            continue
        for k, width in enumerate(s.levels):
            name = f"{head}.dpt.act_postprocess.{k}"
            affine(name + ".0", width, s.encoder if k == 0 else s.decoder, 1, 1)
            if k != 2:
                kernel = {0: 4, 1: 2, 3: 3}[k]
                affine(name + ".1", width, width, kernel, kernel)
            affine(f"{head}.dpt.scratch.layer{k + 1}_rn", s.fusion, width, 3, 3, bias=False)
            net = f"{head}.dpt.scratch.refinenet{k + 1}"
            affine(net + ".out_conv", s.fusion, s.fusion, 1, 1)
            for unit in (1, 2):
                for conv in (1, 2):
                    affine(f"{net}.resConfUnit{unit}.conv{conv}", s.fusion, s.fusion, 3, 3)
        affine(head + ".dpt.head.0", s.fusion // 2, s.fusion, 3, 3)
        affine(head + ".dpt.head.2", s.last, s.fusion // 2, 3, 3)
        affine(head + ".dpt.head.4", 4, s.last, 1, 1)
        if s.model == "mast3r":
            width = s.encoder + s.decoder
            affine(head + ".head_local_features.fc1", 4 * width, width)
            affine(head + ".head_local_features.fc2", 25 * 256, 4 * width)
    return out


def random_weights(torch, s):
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, shape in shapes(s).items():
        if "norm" in name and name.endswith("weight"):
            weights[name] = torch.ones(shape)
        elif name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        else:
            fan = math.prod(shape[1:])
            weights[name] = torch.randn(shape, generator=generator) * fan**-0.5
            if name.endswith(("dpt.head.4.weight", "_head1.proj.weight", "_head2.proj.weight")):
                weights[name] *= 0.3
    return weights


def ours(args, weights, width, height):
    size = ["--width", str(width), "--height", str(height)]
    return Ours(args.program, ["--weights", weights, *size], args.threads)


class Network:
    """The networks in plain PyTorch."""

    def __init__(self, torch, weights, sizes):
        import torch.nn.functional as functional

        self.torch, self.f, self.w, self.s = torch, functional, weights, sizes
        self.many = sizes.model == "fast3r"

    def linear(self, name, x):
        return self.f.linear(x, self.w[name + ".weight"].flatten(1), self.w[name + ".bias"])

    def norm(self, name, x, epsilon=1e-6):
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        return self.f.layer_norm(x, weight.shape, weight, bias, epsilon)

    def angles(self, h, w):
        places = self.torch.cartesian_prod(self.torch.arange(h), self.torch.arange(w)).float()
        frequencies = 100.0 ** -(self.torch.arange(0, 32, 2).float() / 32)
        angles = places[:, :, None] * frequencies
        angles = self.torch.cat((angles, angles), -1)
        return angles.cos().flatten(1), angles.sin().flatten(1)

    def rotate(self, x, angles):
        a, b, c, d = x.chunk(4, -1)
        return x * angles[0] + self.torch.cat((-b, a, -d, c), -1) * angles[1]

    def split(self, x):
        return x.unflatten(-1, (-1, 64)).transpose(1, 2)

    def attend(self, q, k, v, scale=None):
        mixed = self.f.scaled_dot_product_attention(q, k, v, scale=scale)
        return mixed.transpose(1, 2).flatten(2)

    def self_attention(self, name, x, angles, scale):
        q, k, v = map(self.split, self.linear(name + ".qkv", x).chunk(3, -1))
        if angles is not None:
            q, k = self.rotate(q, angles), self.rotate(k, angles)
        return self.linear(name + ".proj", self.attend(q, k, v, scale))

    def mlp(self, name, x):
        return self.linear(name + ".fc2", self.f.gelu(self.linear(name + ".fc1", x)))

    def block(self, name, x, angles=None, epsilon=1e-6, scale=None):
        x = x + self.self_attention(
            name + ".attn", self.norm(name + ".norm1", x, epsilon), angles, scale
        )
        return x + self.mlp(name + ".mlp", self.norm(name + ".norm2", x, epsilon))

    def cross_block(self, name, x, y, angles):
        memory = self.norm(name + ".norm_y", y)
        x = x + self.self_attention(name + ".attn", self.norm(name + ".norm1", x), angles, None)
        cross = name + ".cross_attn"
        q = self.split(self.linear(cross + ".projq", self.norm(name + ".norm2", x)))
        k = self.split(self.linear(cross + ".projk", memory))
        v = self.split(self.linear(cross + ".projv", memory))
        mixed = self.attend(self.rotate(q, angles), self.rotate(k, angles), v)
        x = x + self.linear(cross + ".proj", mixed)
        return x + self.mlp(name + ".mlp", self.norm(name + ".norm3", x))

    def encode(self, images, angles):
        prefix = "encoder." if self.many else ""
        name = prefix + "patch_embed.proj"
        x = self.f.conv2d(images, self.w[name + ".weight"], self.w[name + ".bias"], 16)
        x = x.flatten(2).transpose(1, 2)
        for i in range(self.s.encoder_depth):
            x = self.block(f"{prefix}enc_blocks.{i}", x, angles)
        return self.norm(prefix + "enc_norm", x)

    def decode(self, tokens, angles):
        first, second = (self.linear("decoder_embed", x) for x in tokens.split(1))
        depth = self.s.decoder_depth
        levels = [[tokens[:1]], [tokens[1:]]]
        for i in range(depth):
            first, second = (
                self.cross_block(f"dec_blocks.{i}", first, second, angles),
                self.cross_block(f"dec_blocks2.{i}", second, first, angles),
            )
            if i + 1 in (depth // 2, depth * 3 // 4):
                levels[0].append(first)
                levels[1].append(second)
        for side, x in zip(levels, (first, second)):
            side.append(self.norm("dec_norm", x))
        return levels

    def fuse(self, tokens):
        n, count, _ = tokens.shape
        flat = tokens.reshape(1, n * count, -1)
        x = self.linear("decoder.decoder_embed", flat)
        half = self.s.decoder // 2
        omega = 10000.0 ** -(self.torch.arange(half).double() / half)
        angle = self.torch.arange(n).double()[:, None] * omega
        index = self.torch.cat((angle.sin(), angle.cos()), 1).float()
        x = x + index.repeat_interleave(count, 0)
        depth, levels = self.s.decoder_depth, [flat]
        scale = 64**-0.5 * math.sqrt(math.log(137) / math.log(20))
        for i in range(depth):
            x = self.block(f"decoder.dec_blocks.{i}", x, None, 1e-5, scale)
            if i + 1 in (depth // 2, depth * 3 // 4):
                levels.append(x)
        levels.append(self.norm("decoder.dec_norm", x))
        return [[x[:, v * count : (v + 1) * count] for x in levels] for v in range(n)]

    def conv(self, name, x, stride=1):
        weight = self.w[name + ".weight"]
        return self.f.conv2d(x, weight, self.w.get(name + ".bias"), stride, weight.shape[-1] // 2)

    def up(self, x):
        return self.f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def residual(self, name, x):
        change = self.conv(name + ".conv1", self.f.relu(x))
        return self.conv(name + ".conv2", self.f.relu(change)) + x

    def refine(self, name, x, lateral=None):
        if lateral is not None:
            x = x + self.residual(name + ".resConfUnit1", lateral)
        return self.conv(name + ".out_conv", self.up(self.residual(name + ".resConfUnit2", x)))

    def dpt(self, name, levels, h, w):
        maps = []
        for k, x in enumerate(levels):
            post = f"{name}.act_postprocess.{k}"
            x = self.conv(post + ".0", x.transpose(1, 2).unflatten(2, (h, w)))
            if k == 3:
                x = self.conv(post + ".1", x, 2)
            elif k != 2:
                weight, bias = self.w[post + ".1.weight"], self.w[post + ".1.bias"]
                x = self.f.conv_transpose2d(x, weight, bias, weight.shape[-1])
            maps.append(self.conv(f"{name}.scratch.layer{k + 1}_rn", x))
        x = self.refine(name + ".scratch.refinenet4", maps[3])[:, :, :h, :w]
        for i in (3, 2, 1):
            x = self.refine(f"{name}.scratch.refinenet{i}", x, maps[i - 1])
        x = self.up(self.conv(name + ".head.0", x))
        return self.conv(name + ".head.4", self.f.relu(self.conv(name + ".head.2", x)))

    def head(self, name, levels, h, w):
        if self.s.model == "dust3r-linear":
            x = self.linear(name + ".proj", levels[3]).transpose(1, 2).unflatten(2, (h, w))
            raw = self.f.pixel_shuffle(x, 16)
        else:
            raw = self.dpt(name + ".dpt", levels, h, w)
        xyz = raw[0, :3].permute(1, 2, 0)
        distance = xyz.norm(dim=-1, keepdim=True)
        points = xyz / distance.clip(min=1e-8) * self.torch.expm1(distance)
        out = [points, 1 + raw[0, 3].exp()]
        if self.s.model == "mast3r":
            x = self.torch.cat((levels[0], levels[3]), -1)
            x = self.mlp(name + ".head_local_features", x).transpose(1, 2).unflatten(2, (h, w))
            x = self.f.pixel_shuffle(x, 16)[0, :24].permute(1, 2, 0)
            out.append(x / x.norm(dim=-1, keepdim=True))
        return out

    def forward(self, images):
        h, w = images.shape[2] // 16, images.shape[3] // 16
        angles = self.angles(h, w)
        tokens = self.encode(images, angles)
        encoded = time.perf_counter()
        levels = self.fuse(tokens) if self.many else self.decode(tokens, angles)
        names = ["downstream_head1", "downstream_head2"]
        if self.many:
            # Views of their own frame come after those of the common one, where there is such a head.
            locally = "downstream_head_local.dpt.head.0.weight" in self.w
            names = ["downstream_head"] * len(levels) + ["downstream_head_local"] * (len(levels) * locally)
            levels = levels * 2
        out = {}
        for i, (name, side) in enumerate(zip(names, levels)):
            kinds = ("points", "confidence", "descriptors")
            for kind, values in zip(kinds, self.head(name, side, h, w)):
                out[f"{kind}{i}"] = values
        return out, encoded


def images(torch, width, height, views=2):
    sizes = (views, 3, height, width)
    v, c, y, x = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    return ((7 * x + 13 * y + 31 * c + 57 * v + x * y % 97) % 256) / 127.5 - 1.0


def check(args, torch, network, weights):
    expected, _ = network.forward(images(torch, 80, 48))
    check_outputs(ours(args, weights, 80, 48), expected)


def timed(args, torch, network, weights):
    batch = images(torch, args.width, args.height)
    program = ours(args, weights, args.width, args.height)
    rows = []
    for i in range(args.rounds):
        time.sleep(0.5)
        processor = program.processor_seconds()
        encoder, rest, peak = map(float, program.ask("run"))
        processor = program.processor_seconds() - processor
        time.sleep(0.5)
        start, start_processor = time.perf_counter(), time.process_time()
        _, encoded = network.forward(batch)
        end = time.perf_counter()
        theirs = time.process_time() - start_processor
        rows.append((encoder + rest, end - start, processor, theirs))
        print(
            f"round {i}: ours {encoder:.2f} + {rest:.2f} = {encoder + rest:.2f} s, "
            f"PyTorch {encoded - start:.2f} + {end - encoded:.2f} = {end - start:.2f} s",
            flush=True,
        )
    program.close()
    best = [min(column) for column in zip(*rows)]
    print(f"{args.model} {args.width}x{args.height}, {args.threads} threads")
    print(f"our peak memory {peak / 1e9:.2f} GB")
    print(f"processor time: ours {best[2]:.1f} s, PyTorch {best[3]:.1f} s, {best[2] / best[3]:.3f}")
    print(f"ratio {best[0] / best[1]:.3f}")


def main():
    args = arguments()
    with_torch()
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(args.threads)
    args.program = args.program or built("bench_pair")
    sizes = Sizes(args.model, args.tiny)
    folder = REPOSITORY / "target" / f"compare-pytorch-{args.model}{'-tiny' if args.tiny else ''}"
    file = folder / "model.safetensors"
    if file.exists():
        from safetensors.torch import load_file

        tensors = load_file(file)
    else:
        tensors = random_weights(torch, sizes)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, file)
    with torch.inference_mode():
        network = Network(torch, tensors, sizes)
        check(args, torch, network, folder)
        timed(args, torch, network, folder)


if __name__ == "__main__":
    main()
