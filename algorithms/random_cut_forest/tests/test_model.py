"""The artifact and the answers: what is written is read again, and what is damaged is refused in one sentence."""

import json

import numpy as np
import pytest
from scipy import sparse

from algorithms import artifact
from algorithms.errors import UserError
from algorithms.random_cut_forest import algorithm
from algorithms.random_cut_forest.forest import grow
from algorithms.random_cut_forest.model import (
    LEVELS,
    OWN,
    RandomCutForestModel,
    TrainingScores,
    VerboseRandomCutForestModel,
)
from formats import Batch, ndarray
from tests.examples import CSV, JSON, JSONLINES, RECORDIO, encoded
from tests.job_folder import JobFolder

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.normal(size=(20, 8, 3)).astype(np.float32)
QUERIES = np.vstack([RANDOM.normal(size=(30, 3)), [[9, 9, 9], [0, 9, 0]]]).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> RandomCutForestModel:
    forest = grow(POINTS, 0, 1)
    return RandomCutForestModel(forest, TrainingScores.of(forest.scores(POINTS.reshape(-1, 3), 1)))


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path)
    return tmp_path


def refusal(folder) -> str:
    with pytest.raises(UserError) as error:
        RandomCutForestModel.load(folder)
    assert "\n" not in str(error.value)
    assert 20 < len(str(error.value)) < 500
    return str(error.value)


def test_training_scores_by_hand():
    scores = TrainingScores.of(np.array([1, 2, 3, 4, 5], np.float32))
    assert scores.mean == 3
    assert scores.deviation == pytest.approx(np.sqrt(2))
    assert scores.limit == pytest.approx(3 + 3 * np.sqrt(2))
    assert dict(zip(scores.levels, scores.quantiles, strict=True))[0.75] == 4
    assert (scores.quantiles[0], scores.quantiles[-1]) == (1, 5)


def test_a_loaded_model_answers_the_same(model, folder):
    loaded = RandomCutForestModel.load(folder)
    assert loaded.width == model.width == 3
    np.testing.assert_array_equal(loaded.predict(Batch(QUERIES))["score"], model.predict(Batch(QUERIES))["score"])
    assert loaded.training.limit == model.training.limit
    again = folder / "again"
    again.mkdir()
    loaded.save(again)
    assert (again / "model_algo-1").read_bytes() == (folder / "model_algo-1").read_bytes()


def test_the_arrays_of_the_artifact(model, folder):
    """By the names that the README documents."""
    arrays = ndarray.load(folder / "model_algo-1")
    assert isinstance(arrays, dict)
    assert set(arrays) == set(model.forest.arrays()) | set(OWN)
    assert arrays["points"].shape == (20, 8, 3)
    assert arrays["training_score_levels"].tolist() == list(LEVELS)
    scores = model.forest.scores(POINTS.reshape(-1, 3), 1).astype(np.float64)
    assert arrays["training_score_mean"] == pytest.approx(scores.mean())
    assert arrays["training_score_deviation"] == pytest.approx(scores.std())
    assert arrays["training_score_quantiles"][-1] == scores.max()


def test_far_rows_score_higher(model):
    scores = model.predict(Batch(QUERIES))["score"]
    assert scores.dtype == np.float32
    assert scores[-2:].min() > scores[:-2].mean()


def test_sparse_rows_as_dense_ones(model, monkeypatch):
    monkeypatch.setattr("algorithms.random_cut_forest.model.PIECE", 12)  # floats made dense at once: 4 rows
    thin = Batch(sparse.csr_array(QUERIES))
    for each in (model, VerboseRandomCutForestModel(model)):
        for name, column in each.predict(Batch(QUERIES)).items():
            np.testing.assert_array_equal(each.predict(thin)[name], column)


def test_no_rows(model):
    for batch in (Batch.empty(3), Batch(sparse.csr_array((0, 3), dtype=np.float32))):
        answers = VerboseRandomCutForestModel(model).predict(batch)
        assert [column.shape for column in answers.values()] == [(0,), (0, 3), (0,)]


def test_threads_do_not_change_scores(model):
    batch = Batch(np.tile(QUERIES, (20, 1)))
    np.testing.assert_array_equal(model.scores(batch, 2), model.scores(batch, 1))


def test_verbose_answers(model):
    verbose = VerboseRandomCutForestModel(model)
    answers = verbose.predict(Batch(QUERIES))
    assert list(answers) == ["score", "attribution", "is_anomaly"]
    assert verbose.width == 3
    np.testing.assert_array_equal(answers["score"], model.predict(Batch(QUERIES))["score"])
    np.testing.assert_allclose(answers["attribution"].sum(axis=1), answers["score"], rtol=1e-5)
    assert answers["attribution"][-1].argmax() == 1  # the feature that is far
    np.testing.assert_array_equal(answers["is_anomaly"], answers["score"] > np.float64(model.training.limit))
    assert {column.dtype for column in answers.values()} == {np.dtype(np.float32)}


def test_an_empty_folder(tmp_path):
    assert refusal(tmp_path) == f"no random cut forest in {tmp_path}: 'model_algo-1' is missing"


@pytest.mark.parametrize("content", [b"", b"\0", b"hello, world, this is no model", b"\x12\x01" + bytes(100)])
def test_another_file(folder, content):
    (folder / "model_algo-1").write_bytes(content)
    assert refusal(folder).startswith(f"{folder / 'model_algo-1'} is not a random cut forest of this container: ")


def test_a_file_that_is_cut_short(folder):
    whole = (folder / "model_algo-1").read_bytes()
    for length in (1, 23, 24, 60, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        (folder / "model_algo-1").write_bytes(whole[:length])
        refusal(folder)


def test_every_array_is_needed_and_looked_at(model, folder):
    arrays = ndarray.load(folder / "model_algo-1")
    for name, array in arrays.items():
        wrong = {
            "missing": None,
            "empty": array[:0],
            "without its last": array.reshape(-1)[:-1],
            "of another shape": array[None],
            "not finite": np.full(array.shape, np.nan, np.float32),
        }
        for what, other in wrong.items():
            changed = {key: value for key, value in (arrays | {name: other}).items() if value is not None}
            ndarray.save(folder / "model_algo-1", changed)
            assert "is not a random cut forest" in refusal(folder), (name, what)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("training_score_deviation", [-1.0], "the deviation >= 0"),
        ("training_score_mean", [1.0, 2.0], "must be one number each"),
        ("training_score_quantiles", list(range(13, 0, -1)), "in ascending order"),
        ("training_score_levels", [0.0, 1.0], "as many numbers"),
    ],
)
def test_training_scores_that_cannot_be(folder, name, value, rule):
    arrays = ndarray.load(folder / "model_algo-1") | {name: np.array(value, np.float64)}
    ndarray.save(folder / "model_algo-1", arrays)
    assert rule in refusal(folder)


def test_a_list_without_names(folder):
    ndarray.save(folder / "model_algo-1", [POINTS])
    assert "its arrays must have names" in refusal(folder)


def test_any_changed_number_of_the_trees_is_refused_or_harmless(model, folder):
    """No index may lead outside of the arrays, and no path in a circle."""
    arrays = ndarray.load(folder / "model_algo-1")
    random = np.random.default_rng(0)
    for name in set(arrays) - set(OWN) - {"points"}:
        for value in (-1, 0, 1, 2**31 - 1):
            changed = arrays[name].copy()
            changed.reshape(-1)[random.integers(changed.size)] = value
            ndarray.save(folder / "model_algo-1", arrays | {name: changed})
            try:
                scores = RandomCutForestModel.load(folder).predict(Batch(QUERIES))["score"]
            except UserError as error:
                assert "\n" not in str(error)  # noqa: PT017 - either way is right
            else:
                assert np.isfinite(scores).all()


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> JobFolder:
    made = JobFolder(tmp_path_factory.mktemp("rcf"), "random-cut-forest")
    made.hyperparameters = {"num_trees": "50", "num_samples_per_tree": "8", "feature_dim": "3"}
    made.channel("train", {"data": encoded(POINTS.reshape(-1, 3), CSV)}, CSV)
    ended = made.train()
    assert ended.exit_code == 0, ended.log
    return made


def test_served_in_every_format(job):
    """The guide's "RCF Response Formats", and with `verbose=true` what is beside the score."""
    body = encoded(QUERIES, CSV)
    wanted = artifact.load(job.model, "randomcutforest").model
    answers = VerboseRandomCutForestModel(wanted).predict(Batch(QUERIES))
    with job.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        found = json.loads(server.invoke(body, CSV, JSON).body)["scores"]
        assert found == [{"score": pytest.approx(score)} for score in answers["score"].tolist()]
        lines = server.invoke(body, CSV, JSONLINES).body.splitlines()
        assert [json.loads(line) for line in lines] == found
        verbose = json.loads(server.invoke(body, CSV, f"{JSON}; verbose=true").body)["scores"]
        for name, column in answers.items():
            np.testing.assert_allclose([row[name] for row in verbose], column, rtol=1e-6, atol=1e-7)
        assert list(verbose[0]) == ["score", "attribution", "is_anomaly"]
        cells = server.invoke(body, CSV, f"{CSV}; verbose=true").body.decode().split("\n")[0]
        assert cells.count('"') == 2  # the attribution is one cell
        assert server.invoke(body, CSV, f"{RECORDIO}; verbose=true").status == 200


def test_the_declaration():
    assert algorithm.wrapper == "scores"
    assert ("test", "f1", "maximize") in [(each.channel, each.name, each.direction) for each in algorithm.metrics]
