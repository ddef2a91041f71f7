#!/usr/bin/env python3
"""Our pose graph and GTSAM's on the same graphs, by turns: `pip install gtsam`, then
`cargo build --release --example bench_pose_graph` and `python3 benches/compare_gtsam.py`.

Both begin at the same poses, minimise the same cost without robust kernels, and are judged by
GTSAM's own evaluation of it. Ours is timed from the constraints on, GTSAM's from the factors on;
reading and writing files counts for neither. The last line is `ratio X`: the largest ratio of our
fastest run to GTSAM's fastest over all graphs; up to 1 we are faster everywhere.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import gtsam

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/examples/bench_pose_graph"
WORLDS = ["sphere", "torus", "manhattan"]


def our_run(source, result):
    """Seconds, and where the poses are."""
    command = [str(PROGRAM), "solve", str(source), str(result)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text.splitlines()[-1])


def with_gauge(graph, start):
    """The factors with the first pose held as firmly as a prior can, which costs nothing there."""
    held = gtsam.NonlinearFactorGraph(graph)
    noise = gtsam.noiseModel.Isotropic.Sigma(6, 1e-4)
    held.add(gtsam.PriorFactorPose3(0, start.atPose3(0), noise))
    return held


def their_run(graph, start, ordering):
    """Seconds, cost and iterations of Levenberg-Marquardt with GTSAM's own limits."""
    held = with_gauge(graph, start)
    params = gtsam.LevenbergMarquardtParams()
    params.setOrderingType(ordering)
    begin = time.perf_counter()
    optimizer = gtsam.LevenbergMarquardtOptimizer(held, start, params)
    found = optimizer.optimize()
    seconds = time.perf_counter() - begin
    return seconds, graph.error(found), optimizer.iterations()


def compare(world, keyframes, edges, options, folder):
    source, result = folder / f"{world}_{keyframes}.g2o", folder / "ours.g2o"
    subprocess.run(
        [str(PROGRAM), "generate", world, str(source), "--keyframes", str(keyframes),
         "--edges", str(edges), "--seed", str(options.seed),
         "--noise-rad", str(options.noise_rad), "--noise-m", str(options.noise_m)],
        check=True,
    )
    graph, start = gtsam.readG2o(str(source), True)
    ours, theirs = [], []
    for _ in range(options.repeat):
        mine = our_run(source, result)
        _, found = gtsam.readG2o(str(result), True)
        ours.append((mine["seconds"], graph.error(found), mine["iterations"]))
        theirs.append(their_run(graph, start, options.ordering))
    mine, other = min(ours), min(theirs)
    ratio = mine[0] / other[0]
    print(
        f"{world}, {keyframes} keyframes, {graph.size()} edges: cost {mine[1]:.6e} and "
        f"{other[1]:.6e} (ratio {mine[1] / other[1]:.6f}), {mine[2]} and {other[2]} iterations, "
        f"{mine[0]:.3f} s and {other[0]:.3f} s, ratio {ratio:.3f}",
        flush=True,
    )
    return ratio, mine[1] / other[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 10000])
    parser.add_argument("--worlds", nargs="*", default=WORLDS)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise-rad", type=float, default=0.01)
    parser.add_argument("--noise-m", type=float, default=0.05)
    parser.add_argument("--ordering", default="COLAMD", choices=["COLAMD", "METIS"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        found = [
            compare(world, keyframes, 10 * keyframes, options, folder)
            for keyframes in options.sizes
            for world in options.worlds
        ]
    worst = max(ratio for ratio, _ in found)
    dearest = max(cost for _, cost in found)
    print(f"largest cost ratio {dearest:.6f} (bar 1.001)")
    print(f"ratio {worst:.3f}")
    return 0 if dearest <= 1.001 else 1


if __name__ == "__main__":
    sys.exit(main())
