#!/usr/bin/env python3
"""MASt3R's retrieval model as it is released, from the recorded case of tests/data/dust3r_family.

Writes tests/data/dust3r_family/retrieval/tiny_retrieval_{trainingfree.pth,codebook.pkl} as PyTorch and
pickle write them, and prints an array in each protocol of pickles for tests. Needs torch, numpy and
safetensors.
"""

import argparse
import pickle
from pathlib import Path

import numpy
import torch
from safetensors import safe_open

DATA = Path(__file__).resolve().parent.parent / "tests/data/dust3r_family"


def codebook(centroids):
    return {"type": "Codebook", "params": {"size": len(centroids)}, "state": {"centroids": centroids}}


def main():
    with safe_open(DATA / "retrieval.safetensors", "pt") as case:
        weights = {
            name.removeprefix("w."): case.get_tensor(name) for name in case.keys() if name[:2] == "w."
        }
        centroids = case.get_tensor("in.centroids").numpy()
    arguments = argparse.Namespace(
        freeze_backbone=1, prewhiten=1, hdims="32", residual=True, postwhiten=1,
        featweights="l2norm", nfeat=20, imsize=512, nclusters=64,
    )
    folder = DATA / "retrieval"
    folder.mkdir(exist_ok=True)
    torch.save({"args": arguments, "model": weights}, folder / "tiny_retrieval_trainingfree.pth")
    with open(folder / "tiny_retrieval_codebook.pkl", "wb") as file:
        pickle.dump(codebook(centroids), file)
    small = numpy.array([[1, -2.5], [0.25, 384], [-1e-3, 6]], dtype=numpy.float32)
    for protocol in range(2, 6):
        print(protocol, pickle.dumps(codebook(small), protocol).hex())


main()
