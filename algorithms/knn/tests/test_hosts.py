"""Several hosts learn what one host learns from all rows, and score a test channel together."""

from collections.abc import Callable

import faiss
import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.knn.tests.streams import algorithm, batch_of, job, neighbours, settings, train
from formats import Batch
from tests.examples import RECORDIO, encoded
from tests.hosts import on_hosts
from tests.job_folder import JobFolder, free_port

SPLITS = pytest.mark.parametrize("sizes", [(200, 200), (40, 360), (0, 400), (400, 0), (150, 1, 249), (0, 0, 400)])


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)


def parts_of(rows, sizes):
    bounds = np.cumsum(sizes)[:-1]
    return list(zip(np.split(rows, bounds), np.split(np.arange(len(rows)), bounds), strict=True))


def content(model, folder):
    """The bytes of the artifact's files, by name."""
    folder.mkdir(parents=True)
    model.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@SPLITS
@pytest.mark.parametrize("given", [{}, {"index_metric": "COSINE"}, {"index_type": "faiss.IVFFlat"}], ids=str)
def test_all_rows_of_all_hosts_are_one_hosts(tmp_path, rows, sizes, given):
    """Nothing is left to chance when the sample has room for all: the same bytes, whatever the shares."""
    parts, given = parts_of(rows, sizes), {"sample_size": 500, "k": 3, "mini_batch_size": 64, **given}

    def learn(cluster):
        model = algorithm.fit(job(*parts[cluster.rank], cluster=cluster), settings(**given))
        return content(model, tmp_path / str(cluster.rank))

    assert on_hosts(len(sizes), learn) == [content(train(rows, **given), tmp_path / "one")] * len(sizes)


@pytest.mark.parametrize("given", [{}, {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4}], ids=str)
def test_all_hosts_have_the_same_model(tmp_path, rows, given):
    parts = parts_of(rows, (40, 360))
    found = on_hosts(
        2,
        lambda cluster: content(
            algorithm.fit(job(*parts[cluster.rank], cluster=cluster), settings(sample_size=300, **given)),
            tmp_path / str(cluster.rank),
        ),
    )
    assert found[0] == found[1]
    assert faiss.read_index(str(tmp_path / "0" / "model_algo-1")).ntotal == 300


@pytest.mark.parametrize("kinds", [(np.asarray, sparse.csr_array), (sparse.csr_array, sparse.csr_array)])
def test_hosts_with_sparse_rows(tmp_path, rows, kinds):
    rows = rows * (rows > 0)
    parts = parts_of(rows, (100, 300))

    def learn(cluster):
        features, labels = parts[cluster.rank]
        model = algorithm.fit(job(kinds[cluster.rank](features), labels, cluster=cluster), settings(k=4))
        return neighbours(model, rows)

    for distances, labels in on_hosts(2, learn):
        wanted = neighbours(train(rows, k=4), rows)
        assert np.array_equal(distances, wanted[0])
        assert np.array_equal(labels[:, 0], wanted[1][:, 0])


def refused_on_all(size, work) -> str:
    """The one sentence with which all hosts refuse: none of them waits for another."""

    def attempt(cluster):
        with pytest.raises(UserError) as error:
            work(cluster)
        return str(error.value)

    sentences = set(on_hosts(size, attempt))
    assert len(sentences) == 1, sentences
    return sentences.pop()


def test_widths_differ_between_hosts(rows):
    """Nobody said feature_dim: the hosts must notice that they read different ones."""
    parts = [(rows[:, :4], np.arange(400)), (rows, np.arange(400))]
    sentence = refused_on_all(2, lambda cluster: algorithm.fit(job(*parts[cluster.rank], cluster=cluster), settings()))
    assert "4" in sentence
    assert "6" in sentence


@pytest.mark.parametrize("sizes", [(0, 0), (1, 1), (2, 0)])
def test_too_few_rows_on_all_hosts(rows, sizes):
    parts = parts_of(rows[: sum(sizes)], sizes)
    sentence = refused_on_all(
        2, lambda cluster: algorithm.fit(job(*parts[cluster.rank], cluster=cluster), settings(k=3))
    )
    if sum(sizes):
        assert "'k'" in sentence
        assert "3" in sentence
        assert "2" in sentence
    else:
        assert sentence.startswith("No data in channel 'train'")


def test_labels_on_one_host_only(make_job, configure, rows):
    """The host without any says so; the other one does not wait for it."""
    labels = [np.zeros(200, np.float32), None]
    given = configure(k=1, predictor_type="classifier", sample_size=100)

    def work(cluster):
        features, _ = parts_of(rows, (200, 200))[cluster.rank]
        algorithm.fit(make_job((features, labels[cluster.rank]), cluster=cluster), given)

    with pytest.raises(UserError, match=r"'train'.*label"):
        on_hosts(2, work)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("classifier", {"accuracy": 3 / 5}), ("regressor", {"mse": (0 + 0 + 16 + 0 + 9) / 5})],
)
@pytest.mark.parametrize("sizes", [(5,), (2, 3), (0, 5), (4, 0, 1)])
def test_scores_by_hand(kind, wanted, sizes):
    """Rows 0, 10, 20 labelled 1, 5, 9: the nearest label is 1 1 5 9 9, the truth 1 1 9 9 6."""
    model = train(np.array([[0], [10], [20]]), np.array([1, 5, 9]), predictor_type=kind)
    parts = parts_of(np.array([[1], [4], [9], [18], [30]], np.float32), sizes)
    truth = np.split(np.array([1, 1, 9, 9, 6], np.float32), np.cumsum(sizes)[:-1])

    def score(cluster):
        features, _ = parts[cluster.rank]
        batches = [Batch(features[i : i + 2], truth[cluster.rank][i : i + 2]) for i in range(0, len(features), 2)]
        given = job(features, cluster=cluster)
        return algorithm.evaluate(given, settings(predictor_type=kind), model, iter(batches))

    assert on_hosts(len(sizes), score) == [pytest.approx(wanted)] * len(sizes)


def test_a_test_channel_without_labels(rows):
    model = train(rows)
    with pytest.raises(UserError, match=r"'test'.*label"):
        algorithm.evaluate(job(rows), settings(), model, iter([batch_of(rows)]))


@pytest.mark.parametrize("distribution", ["ShardedByS3Key", "FullyReplicated"])
def test_two_programs(job_folder: Callable[[str], JobFolder], rows, distribution: str) -> None:
    """The real programs: both read a test channel, both see the same score, the leader writes the model."""
    labels = (rows[:, 0] > 0).astype(np.float32)
    sharded, hosts = distribution == "ShardedByS3Key", ["127.0.0.1", "127.0.0.2"]
    port, jobs = str(free_port()), []
    for name, share in zip(hosts, (slice(0, 50), slice(50, 400)), strict=True):
        each = job_folder("knn")
        each.hyperparameters = {"k": "5", "predictor_type": "classifier", "sample_size": "300"}
        each.resources = {"current_host": name, "hosts": hosts}
        each.environment = {"INBUILT_CLUSTER_PORT": port, "OMP_NUM_THREADS": "1"}
        share = share if sharded else slice(None)
        for channel in ("train", "test"):
            data = encoded(rows[share], RECORDIO, labels[share])
            each.channel(channel, {"data": data}, RECORDIO, S3DistributionType=distribution)
        jobs.append(each)
    processes = [each.start("train") for each in jobs]
    logs = []
    for each, process in zip(jobs, processes, strict=True):
        ended = each.finish(process)
        assert ended.exit_code == 0, ended.log
        logs.append([line.rpartition("'accuracy', ")[2] for line in ended.log.splitlines() if "#test_score" in line])
    assert logs[0] == logs[1]
    assert 0.8 < float(logs[0][0].rstrip(")")) < 1
    files = ["manifest.json", "model_algo-1", "model_algo-1.json", "model_algo-1.labels"]
    assert [sorted(each.artifact()) for each in jobs] == [files, []]
    index = faiss.read_index(str(jobs[0].model / "model_algo-1"))
    stored = index.reconstruct_n(0, 300)
    found = {tuple(row) for row in stored}
    assert len(found) == 300  # none was drawn twice
    assert found <= {tuple(row) for row in rows}
