"""The hyperparameters of the guide's table "K-Nearest Neighbors Hyperparameters", one field a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from algorithms.hyperparameters import Hyperparameters, hyperparameter

Positive = Annotated[int, Field(ge=1)]
CODES = 256  # centroids of each part of a product quantizer, which are learned from as many rows at least


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Parts = Annotated[
    Literal[1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96], BeforeValidator(_number)
]  # those for which faiss has kernels on a GPU


class KNNHyperparameters(Hyperparameters):
    """What a user may set; names, ranges and defaults are the guide's."""

    feature_dim: Positive | Literal["auto"] = hyperparameter(
        "auto", description="The number of features in the input data; auto takes it from the first row."
    )
    k: int = hyperparameter(ge=1, tune=(1, 1024), description="The number of nearest neighbors.")
    predictor_type: Literal["classifier", "regressor"] = hyperparameter(
        description="What is made of the neighbors' labels: classifier, the most frequent one; regressor, their mean."
    )
    sample_size: int = hyperparameter(
        ge=1, tune=(256, 20000000), description="The number of rows sampled from the training data, over all hosts."
    )
    dimension_reduction_type: Literal["none", "sign", "fjlt"] | None = hyperparameter(
        None,
        description="sign: random projection; fjlt: fast Johnson-Lindenstrauss transform; by default none.",
    )
    dimension_reduction_target: int | None = hyperparameter(
        None, gt=0, description="The dimension to reduce to, less than feature_dim."
    )
    faiss_index_ivf_nlists: Positive | Literal["auto"] = hyperparameter(
        "auto",
        description="The number of centroids of an inverted index; auto is the square root of the number of its rows.",
    )
    faiss_index_pq_m: Parts = hyperparameter(
        8, description="The number of parts into which faiss.IVFPQ divides a row, to write each of them as one byte."
    )
    index_metric: Literal["L2", "INNER_PRODUCT", "COSINE"] = hyperparameter(
        "L2", description="What is near: Euclidean distance, inner product or cosine similarity."
    )
    index_type: Literal["faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"] = hyperparameter(
        "faiss.Flat", description="The index: all rows; lists of near rows; such lists of rows quantized by parts."
    )
    mini_batch_size: int = hyperparameter(
        5000, ge=1, description="The number of observations read at a time; the model does not depend on it."
    )
    ties: Literal["nearest", "farthest"] = hyperparameter(
        "nearest",
        description="Whose label wins of those with equal votes; farthest, as in the hosted service.",
    )
    nprobe: int = hyperparameter(
        5,
        alias="_faiss_index_nprobe",
        ge=1,
        le=2**31 - 1,
        description="The number of lists of an inverted index that are searched for a row.",
    )

    @property
    def projection(self) -> Literal["sign", "fjlt"] | None:
        """The dimension reduction, None without."""
        return None if self.dimension_reduction_type == "none" else self.dimension_reduction_type

    @model_validator(mode="after")
    def _together(self) -> Self:
        if found := list(_faults(self)):
            raise ValueError("; ".join(found))
        return self


def _faults(h: KNNHyperparameters) -> Iterator[str]:
    """A sentence for each rule between hyperparameters that is broken."""
    target, lists = h.dimension_reduction_target, h.faiss_index_ivf_nlists
    if h.k > h.sample_size:
        yield f"hyperparameter 'k' must be at most sample_size, {h.sample_size}, got {h.k}"
    if h.projection and target is None:
        yield f"hyperparameter 'dimension_reduction_target' is required for dimension_reduction_type '{h.projection}'"
    if target is not None and not h.projection:
        yield "hyperparameter 'dimension_reduction_type' is required where dimension_reduction_target is set"
    if target is not None and h.feature_dim != "auto" and target >= h.feature_dim:
        yield target_sentence(target, h.feature_dim)
    if h.index_type == "faiss.IVFPQ" and h.index_metric != "L2":
        yield f"hyperparameter 'index_metric' must be L2 for index_type 'faiss.IVFPQ', got '{h.index_metric}'"
    if h.index_type == "faiss.IVFPQ" and h.sample_size < CODES:
        yield f"hyperparameter 'sample_size' must be >= {CODES} for index_type 'faiss.IVFPQ', got {h.sample_size}"
    if h.index_type != "faiss.Flat" and lists != "auto" and lists > h.sample_size:
        yield f"hyperparameter 'faiss_index_ivf_nlists' must be at most sample_size, {h.sample_size}, got {lists}"


def target_sentence(target: int, width: int) -> str:
    """The refusal of a target that reduces nothing."""
    return f"hyperparameter 'dimension_reduction_target' must be less than feature_dim, {width}, got {target}"
