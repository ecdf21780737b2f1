"""What the log says while a machine is trained: metrics, memory, and after a stop."""

import json
import re

import numpy as np
import pytest

from algorithms.factorization_machines.fit import fit
from algorithms.factorization_machines.tests.test_fit import BINARY, FIT, REGRESSOR, planted, rmse
from tests.hosts import on_hosts


def found(lines, pattern):
    return re.findall(pattern, "\n".join(lines), re.MULTILINE)


def test_the_log_of_a_regressor(make_job, configure, lines):
    """20 mini-batches an epoch: metrics of the rows so far after batches 0, 8 and 16, and at the end of the epoch."""
    X, y = planted(1000)
    fit(make_job((X, y)), configure(**REGRESSOR | {"epochs": 2, "batch_metrics_publish_interval": 8}))
    assert "[Sparse network] Building a sparse network." in lines
    places = found(lines, r"^#quality_metric: host=algo-1, (.*)train (\w+) <loss>=[\d.e+-]+$")
    epochs = [[f"epoch={e}, batch={b} " for b in (0, 8, 16)] + [f"epoch={e}, "] for e in (0, 1)]
    wanted = [(place, name) for place in [*epochs[0], *epochs[1], ""] for name in ("rmse", "mse", "absolute_loss")]
    assert places == wanted
    assert found(lines, r"completed (\S+) % of epochs") == ["50", "100"]
    assert found(lines, r"^#throughput_metric: host=algo-1, train throughput=\S+ records/second$")
    counters = [json.loads(line[9:]) for line in lines if line.startswith("#metrics ") and "training_data_iter" in line]
    assert [each["Metrics"]["Number of Batches Since Last Reset"]["sum"] for each in counters] == [20, 20]
    assert [each["Metrics"]["Total Records Seen"]["sum"] for each in counters] == [1000, 2000]


def test_the_metrics_are_of_rows_before_they_are_learned(make_job, configure, lines):
    """Nothing is learned without rates, so that an epoch's metrics are the model's; the first are of one mini-batch."""
    X, y = planted(1000)
    rates = {"bias_lr": 0, "linear_lr": 0, "factors_lr": 0}
    model = fit(make_job((X, y)), configure(**REGRESSOR | rates | {"epochs": 1}))
    values = dict(found(lines, r"algo-1, (.*)train rmse <loss>=(\S+)$"))
    assert float(values["epoch=0, batch=0 "]) == pytest.approx(rmse(model, X[:50], y[:50]), rel=1e-5)
    assert float(values["epoch=0, "]) == float(values[""]) == pytest.approx(rmse(model, X, y), rel=1e-5)


def test_the_log_of_a_classifier(make_job, configure, lines):
    fit(make_job(planted(300, "binary_classifier")), configure(**BINARY | {"epochs": 1}))
    assert found(lines, r"^#quality_metric: host=algo-1, train (\S+ <\w+>)=") == [
        "binary_classification_accuracy <score>",
        "binary_classification_cross_entropy <loss>",
        "binary_f_1.000 <score>",
    ]


def test_hosts_report_the_metrics_of_all_rows(make_job, configure, lines):
    X, y = planted(300)

    def train(cluster):
        job = make_job((X, y), cluster=cluster)
        return fit(job, configure(**REGRESSOR | {"epochs": 2}))

    on_hosts(2, train)
    values = found(lines, r"host=(algo-\d), epoch=1, train rmse <loss>=(\S+)$")
    assert {host for host, _ in values} == {"algo-1", "algo-2"}
    assert len({value for _, value in values}) == 1


def test_memory_is_said_up_front(make_job, configure, lines, monkeypatch):
    monkeypatch.setattr(FIT, "free_memory", lambda: 123456789.0)
    fit(make_job(planted(100)), configure(**REGRESSOR | {"epochs": 1}))
    assert found(lines, r"^The model of 50 features with 3 factors each and its optimizer take \d+ bytes of memory, ")
    assert found(lines, r", 123456789 are free\.$")


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 4, 6, 8, 10])
def test_told_to_stop_later(make_job, configure, lines, looks):
    """Whenever it is noticed after some epochs, also between two of them: the model so far, and its metrics."""
    left = looks

    def stopped() -> bool:
        nonlocal left
        left -= any("completed 20 % of epochs" in line for line in lines)
        return left < 0

    X, y = planted(200)
    model = fit(make_job((X, y), stopped=stopped), configure(**REGRESSOR | {"epochs": 10}))
    assert np.isfinite(model.factors).all()
    assert not found(lines, "completed 60 %")
    (final,) = found(lines, r"^#quality_metric: host=algo-1, train rmse <loss>=(\S+)$")
    assert 0 < float(final) < 2
