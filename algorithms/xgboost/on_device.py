"""The library's own code for a GPU: when a job trains with it. Models are served from the CPU."""

from __future__ import annotations

from typing import Any

import xgboost

from algorithms.cluster import Cluster
from algorithms.device import Device
from algorithms.xgboost.constraints import tree_method
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters


def place(
    h: XGBoostHyperparameters, parameters: dict[str, Any], device: Device, cluster: Cluster, *, filed: bool
) -> str:
    """Has the library train on the GPUs, where all hosts have one and it can; returns what to log.

    filed: whether this host's rows exceed its memory. All hosts call this. Without a GPU there is nothing to log.
    """
    obstacle = _obstacle(h, parameters, filed)
    ready = bool(device.gpus) and not obstacle
    if cluster.total(ready) == cluster.size:  # in step, they cannot add up on a GPU here and on a CPU there
        parameters["device"] = "cuda"
        return "xgboost trains on the GPU."
    return f"The GPU is not used: {obstacle or 'another host cannot use one'}." if device.gpus else ""


def _obstacle(h: XGBoostHyperparameters, parameters: dict[str, Any], filed: bool) -> str:
    """Why a job does not train on a GPU even where there is one; empty if it does."""
    if not xgboost.build_info().get("USE_CUDA"):
        return "this build of xgboost is without CUDA; the image for GPU has the other one"
    if h.booster == "gblinear":
        return "a booster 'gblinear' is trained on the CPU"
    if tree_method(h) == "exact" or "updater" in parameters:
        return "of the ways to grow trees it knows tree_method 'hist' and 'approx'"
    if filed:  # the library has pages for a CPU, or pages that were made on a GPU
        return "the rows exceed the memory of the machine, and are learned from in files"
    return ""
