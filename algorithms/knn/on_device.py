"""Searching with a GPU by the library's own code, where its build has it."""

from __future__ import annotations

from typing import Any

import faiss

from algorithms.device import Device, roomy
from algorithms.knn.search import FlatSearch, ListSearch, search
from algorithms.report import log

SCRATCH = 1.5 * 2**30  # bytes that faiss sets aside on a large GPU


def placed(here: FlatSearch | ListSearch, device: Device) -> FlatSearch | ListSearch:
    """The search of the same index with a GPU's help, or without it, and then the log says why.

    It answers the same. faiss asks that only one thread at a time searches with a GPU.
    """
    index = here.index
    if not device.gpus:
        return search(index)
    if not isinstance(here, FlatSearch):
        log.info("The GPU is not used: only index_type 'faiss.Flat' is searched with one.")
        return here
    if not hasattr(faiss, "StandardGpuResources"):
        log.info("The GPU is not used: this build of faiss is without CUDA. The image for GPU has the other one.")
        return here
    needed = 4 * index.ntotal * (index.d + 1) + SCRATCH  # the rows and their squared lengths
    if not roomy(device, needed, f"The index of {index.ntotal} rows").gpus:
        return here
    return FlatSearch(index, twin=_clone(index))


def _clone(index: Any) -> Any:
    library: Any = faiss  # the build without CUDA has none of this
    resources, options = library.StandardGpuResources(), library.GpuClonerOptions()
    options.useFloat16 = False
    options.use_cuvs = False  # whose rounding nobody has bounded, see FlatSearch._certified
    clone = library.index_cpu_to_gpu(resources, 0, index, options)
    clone.resources = resources  # must live as long
    return clone
