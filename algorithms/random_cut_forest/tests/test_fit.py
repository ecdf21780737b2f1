"""Training as a whole: which rows come to which tree, what is logged, and that hosts train what one host trains."""

import json
import re

import numpy as np
import pytest
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.random_cut_forest.fit import SCORED_ROWS, evaluate, fit
from algorithms.random_cut_forest.metrics import ALL_NAMES
from formats import Batch
from tests.examples import CSV, JSON, RECORDIO, encoded
from tests.hosts import on_hosts

RANDOM = np.random.default_rng(0)
SMALL = RANDOM.normal(size=(188, 2)).astype(np.float32)
GIVEN = {"num_trees": 50, "num_samples_per_tree": 16}


def labelled(n, seed):
    """Rows (n, 3) and labels (n,), 1 for one row in 50, which mostly lies apart."""
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.02
    rows = random.normal(size=(n, 3)) + labels[:, None] * random.normal(3, 2, size=(n, 3))
    return rows.astype(np.float32), labels.astype(np.float32)


def sorted_rows(points):
    """All points (T, n, d) as rows in an order of their own."""
    flat = points.reshape(-1, points.shape[-1])
    return flat[np.lexsort(flat.T)]


def test_few_rows_in_the_order_of_arrival(make_job, configure):
    """188 rows, 50 trees: 3 contiguous rows each, as in a published log; 38 are unused."""
    points = fit(make_job(SMALL[:100], SMALL[100:]), configure(num_trees=50, num_samples_per_tree=512)).forest.points
    assert points.shape == (50, 3, 2)
    for tree in (0, 17, 49):
        np.testing.assert_array_equal(sorted_rows(points[tree]), sorted_rows(SMALL[3 * tree : 3 * tree + 3]))


def test_many_rows_are_sampled(make_job, configure):
    rows = np.arange(20_000, dtype=np.float32)[:, None]
    points = fit(make_job(rows), configure(**GIVEN)).forest.points
    assert points.shape == (50, 16, 1)
    assert len(np.unique(points)) == 800
    assert abs(points.mean() - 10_000) < 5 * 20_000 / np.sqrt(12 * 800)


def test_seeds(make_job, configure):
    rows = RANDOM.normal(size=(3000, 2)).astype(np.float32)
    one, same, other = (fit(make_job(rows), configure(**GIVEN, seed=seed)) for seed in (1, 1, 2))
    scores = [model.scores(Batch(rows[:50])) for model in (one, same, other)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_sparse_rows_train_the_same_model(make_job, configure):
    rows = SMALL * (RANDOM.random(SMALL.shape) > 0.5)
    dense = fit(make_job(rows), configure(**GIVEN))
    thin = fit(make_job(sparse.csr_array(rows)), configure(**GIVEN))
    for name, array in dense.forest.arrays().items():
        np.testing.assert_array_equal(array, thin.forest.arrays()[name])


def test_training_scores_are_those_of_sampled_rows(make_job, configure):
    """Of all rows, where the sample has them all; the limit lets few of them pass."""
    model = fit(make_job(SMALL), configure(**GIVEN))
    scores = model.scores(Batch(SMALL)).astype(np.float64)
    assert model.training.mean == pytest.approx(scores.mean())
    assert model.training.deviation == pytest.approx(scores.std())
    assert model.training.quantiles[-1] == scores.max()


def test_training_scores_of_a_large_sample_are_those_of_some(make_job, configure):
    rows = RANDOM.normal(size=(30_000, 2)).astype(np.float32)
    model = fit(make_job(rows), configure(num_trees=50, num_samples_per_tree=300))
    assert SCORED_ROWS < 50 * 300
    scores = model.scores(Batch(rows))
    assert model.training.mean == pytest.approx(scores.mean(), rel=0.01)
    assert model.training.deviation == pytest.approx(scores.std(), rel=0.05)


def test_the_log_of_the_hosted_service(make_job, configure, lines):
    fit(make_job(SMALL), configure(num_trees=50, num_samples_per_tree=48, feature_dim=2))
    wanted = [
        "Verifying hyperparamemters...",
        "Hyperparameters are correct.",
        "Validating that feature_dim agrees with dimensions in training data...",
        "feature_dim is correct.",
        "Validating memory limits...",
        "Estimated sample size in bytes: 76800",  # 16 bytes a number
        "Estimated memory needed to build the forest in bytes: 192000",
        "Memory limits validated.",
        "Initializing Sampler...",
        "Sampler correctly initialized.",
        "Sampling training data...",
        "Sampling training data completed.",
        "Early stop condition met. Stopping training.",
        "Master node: building Random Cut Forest...",
        "Gathering samples...",
        "188 samples gathered",
        "Building Random Cut Forest...",
        "Random Cut Forest built:",
        "Master node: Serializing the RandomCutForest model",
    ]
    assert [line for line in lines if line in wanted] == wanted
    [info] = [line for line in lines if line.startswith("ForestInfo{")]
    fives = ", ".join(["5"] * 50)  # trees of 3 different rows have 5 nodes, and 3 of them on the longest path
    assert info.startswith(
        "ForestInfo{num_trees: 50, num_samples_in_forest: 150, num_samples_per_tree: 3, sample_dim: 2, "
        f"shingle_size: 1, trees_num_nodes: [{fives}], trees_depth: ["
    )
    assert re.search(
        r"max_num_nodes: 5, min_num_nodes: 5, avg_num_nodes: 5, max_tree_depth: 3, .*mem_size: \d+}$", info
    )


@pytest.mark.parametrize("shares", [(188, 0), (100, 88), (0, 188)])
def test_hosts_keep_all_rows_of_small_data(make_job, configure, shares):
    """By rank: the model is that of one host."""
    alone = fit(make_job(SMALL), configure(**GIVEN))
    parts = np.split(SMALL, [shares[0]])

    def learn(cluster: Cluster):
        return fit(make_job(parts[cluster.rank], cluster=cluster, replicated=False), configure(**GIVEN))

    for model in on_hosts(2, learn):
        for name, array in alone.forest.arrays().items():
            np.testing.assert_array_equal(array, model.forest.arrays()[name])
        assert model.training.limit == alone.training.limit


@pytest.mark.parametrize("n", [188, 3000])
def test_a_channel_that_all_hosts_read_gives_the_model_of_one_host(make_job, configure, n):
    rows = np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)
    alone = fit(make_job(rows), configure(**GIVEN))

    def learn(cluster: Cluster):
        return fit(make_job(rows, cluster=cluster, replicated=True), configure(**GIVEN))

    for model in on_hosts(2, learn):
        np.testing.assert_array_equal(model.forest.points, alone.forest.points)


def test_two_hosts_score_as_well_as_one(make_job, configure):
    """Shards of 1 to 3: both halves of the data are known, F1 and the mean score are one host's but for the noise."""
    rows, _ = labelled(8000, 0)
    rows[:2000] += 20  # the first shard lies elsewhere: a forest of one shard would find the other anomalous
    tests, labels = labelled(4000, 1)
    tests[::2] += 20
    h = configure(num_trees=50, num_samples_per_tree=64)

    def learn(parts, cluster: Cluster):
        job = make_job(parts[cluster.rank], cluster=cluster, replicated=False)
        model = fit(job, h)
        mine = Batch(tests, labels).take(slice(cluster.rank, None, cluster.size))
        return model, evaluate(job, h, model, iter([mine]))

    [(one, alone)] = [learn([rows], Cluster())]
    (first, together), (second, same) = on_hosts(2, lambda cluster: learn(np.split(rows, [2000]), cluster))
    assert together == same
    np.testing.assert_array_equal(first.forest.points, second.forest.points)
    share = (first.forest.points[:, :, 0] > 10).mean()
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 3200)
    assert first.training.mean == pytest.approx(one.training.mean, rel=0.03)
    assert alone["f1"] > 0.5
    assert together["f1"] == pytest.approx(alone["f1"], abs=0.05)
    assert together["accuracy"] == pytest.approx(alone["accuracy"], abs=0.005)


def test_the_metric_does_not_depend_on_batches(make_job, configure):
    rows, labels = labelled(3000, 0)
    h, job = configure(**GIVEN), make_job(rows)
    model = fit(job, h)
    whole = evaluate(job, h, model, iter([Batch(rows, labels)]))
    parts = [Batch(rows, labels).rows(start, start + 700) for start in range(0, 3000, 700)]
    assert evaluate(job, h, model, iter(parts)) == whole
    assert list(whole) == list(ALL_NAMES)


@pytest.mark.parametrize("content_type", ["text/csv;label-size=0", "text/csv"])
def test_csv_without_and_with_labels(job_folder, content_type):
    """The guide's own spelling, too. With feature_dim a file tells itself whether it has labels."""
    rows, labels = labelled(400, 0)
    job = job_folder("random_cut_forest")
    job.hyperparameters = {name: str(value) for name, value in GIVEN.items()} | {"feature_dim": "3"}
    job.channel("train", {"data": encoded(rows, CSV)}, content_type, S3DistributionType="ShardedByS3Key")
    job.channel("test", {"data": encoded(rows, CSV, labels)}, "text/csv;label_size=1")
    ended = job.train()
    assert ended.exit_code == 0, ended.log
    assert re.search(r"#quality_metric: host=algo-1, test f1 <score>=0\.\d+", ended.log)
    if content_type == "text/csv":
        with_labels = job_folder("random_cut_forest")
        with_labels.hyperparameters = job.hyperparameters
        with_labels.channel("train", {"data": encoded(rows, CSV, labels)}, content_type)
        assert with_labels.train().exit_code == 0
        assert with_labels.artifact() == job.artifact()


def test_scores_asked_for_by_eval_metrics(job_folder):
    rows, labels = labelled(400, 0)
    job = job_folder("random_cut_forest")
    job.hyperparameters = {"num_trees": "50", "eval_metrics": '["accuracy"]'}
    for name in ("train", "test"):
        job.channel(name, {"data": encoded(rows, RECORDIO, labels)})
    assert job.train().exit_code == 0
    lines = [json.loads(line) for line in (job.base / "output/data/metrics.jsonl").read_text().splitlines()]
    assert {line["metric"] for line in lines if line["metric"].startswith("test:")} == {"test:accuracy", "test:f1"}
    with job.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        assert server.invoke(encoded(rows[:5, :2], JSON), JSON).status == 400
