"""When the library trains on a GPU, and what the log says where it does not."""

import json

import numpy as np
import pytest
import xgboost

from algorithms.cluster import Cluster
from algorithms.device import CPU, Device, look
from algorithms.xgboost.fit import fit
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.on_device import place
from algorithms.xgboost.parameters import library_parameters

GPU = Device(np, 1)  # of which the library asks no arrays
CUDA = xgboost.build_info().get("USE_CUDA")


def settings(**given):
    every = {"num_round": 2, "seed": 1} | given
    return XGBoostHyperparameters.parse({name: str(value) for name, value in every.items()})


def placed(device=GPU, cluster=None, *, filed=False, **given):
    h = settings(**given)
    parameters, _ = library_parameters(h)
    return place(h, parameters, device, cluster or Cluster(), filed=filed), parameters.get("device")


def with_another(flag):
    """A cluster whose other host adds this flag."""
    return Cluster(rank=0, size=2, add=lambda array: array + flag)


@pytest.fixture
def cuda(monkeypatch):
    """The library says that it is built with CUDA."""
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})


def some_rows():
    random = np.random.default_rng(0)
    features = random.normal(size=(1000, 3)).astype(np.float32)
    return features, (features[:, 0] > 0).astype(np.float32)


@pytest.mark.skipif(CUDA, reason="this build of xgboost has CUDA")
def test_the_build_without_cuda_says_so_and_trains_on_the_cpu(make_job, lines):
    here, there = fit(make_job(some_rows()), settings()), fit(make_job(some_rows()), settings(), GPU)
    assert [each.save_raw() for each in here.boosters] == [each.save_raw() for each in there.boosters]
    assert sum("this build of xgboost is without CUDA" in line for line in lines) == 1


@pytest.mark.skipif(not CUDA or bool(look().fault), reason="needs a GPU, CuPy and a build of xgboost with CUDA")
@pytest.mark.parametrize("kfold", [{}, {"_kfold": 2}])
def test_a_model_that_was_trained_on_a_gpu_answers_on_the_cpu(make_job, lines, kfold):
    model = fit(make_job(some_rows()), settings(num_round=20, **kfold), GPU)
    assert sum("xgboost trains on the GPU." in line for line in lines) == 1
    for booster in model.boosters:
        assert json.loads(booster.save_config())["learner"]["generic_param"]["device"] == "cpu"
        features, labels = some_rows()
        assert np.mean((booster.predict(xgboost.DMatrix(features)) > 0.5) == labels) > 0.99


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("given", "obstacle"),
    [
        ({}, None),
        ({"tree_method": "gpu_hist"}, None),
        ({"tree_method": "approx"}, None),
        ({"booster": "dart"}, None),
        ({"updater": "grow_gpu_hist,prune"}, None),
        ({"tree_method": "exact"}, "of the ways to grow trees it knows tree_method 'hist' and 'approx'"),
        ({"updater": "grow_colmaker"}, "of the ways to grow trees it knows tree_method 'hist' and 'approx'"),
        ({"booster": "gblinear"}, "a booster 'gblinear' is trained on the CPU"),
        ({"filed": True}, "the rows exceed the memory of the machine, and are learned from in files"),
    ],
)
def test_the_ways_that_a_gpu_knows(given, obstacle):
    if obstacle is None:
        assert placed(**given) == ("xgboost trains on the GPU.", "cuda")
    else:
        assert placed(**given) == (f"The GPU is not used: {obstacle}.", None)


@pytest.mark.usefixtures("cuda")
def test_all_hosts_train_on_a_gpu_or_none():
    assert placed(cluster=with_another(1)) == ("xgboost trains on the GPU.", "cuda")
    assert placed(cluster=with_another(0)) == ("The GPU is not used: another host cannot use one.", None)
    assert placed(CPU, with_another(1)) == ("", None)


@pytest.mark.usefixtures("cuda")
def test_without_a_gpu_nothing_is_said():
    assert placed(CPU) == ("", None)
