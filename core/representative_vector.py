"""One vector for many sentences: the mean of their largest cluster (CLIP-AD's RVS), or the mean of them all."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.cluster import DBSCAN

Selection = Literal["rvs", "mean"]

EPS = 0.5
"""Euclidean radius of a neighbourhood among unit vectors: a cosine of 0.875."""
MIN_SAMPLES = 15
"""Sentences within EPS, itself included, that make a sentence the core of a cluster."""


def representative_vector(vectors: torch.Tensor, selection: Selection = "rvs") -> torch.Tensor:
    """The unit vector (C,) that stands for unit vectors (M, C), M >= 1; dtype and device stay.

    selection: "rvs" takes the mean of `largest_cluster`, "mean" that of all rows.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"expected vectors (M, C) with M >= 1, got {tuple(vectors.shape)}")
    if selection == "rvs":
        chosen = largest_cluster(vectors.detach().cpu().double().numpy())
        vectors = vectors[torch.from_numpy(chosen).to(vectors.device)]
    return F.normalize(vectors.double().mean(dim=0), dim=0).to(vectors.dtype)


def largest_cluster(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which rows (M,) of unit vectors (M, C) form the largest DBSCAN cluster.

    Noise belongs to no cluster. All rows when there is no cluster; of equally large ones the cluster that
    reaches furthest up the rows, which DBSCAN numbers first.
    """
    labels = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="euclidean").fit_predict(vectors)
    clustered = labels[labels >= 0]
    if not len(clustered):
        return np.ones(len(vectors), dtype=np.bool_)
    return np.asarray(labels == np.bincount(clustered).argmax(), dtype=np.bool_)
