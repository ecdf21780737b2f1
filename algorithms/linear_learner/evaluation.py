"""The final model on the rows of the channel `test`."""

from __future__ import annotations

from collections.abc import Iterator

from algorithms.errors import UserError
from algorithms.job import Job
from algorithms.linear_learner.fit import raw_loss
from algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from algorithms.linear_learner.labels import check_of_labels
from algorithms.linear_learner.model import LinearModel
from algorithms.linear_learner.selection import Assessment
from formats import Batch, FormatError


def evaluate(
    job: Job, hyperparameters: LinearLearnerHyperparameters, model: LinearModel, batches: Iterator[Batch]
) -> dict[str, float]:
    """The mean loss, without weights of classes, and the metrics of the final model."""
    h = hyperparameters
    check = check_of_labels(h)
    loss = raw_loss(h)
    assessment = Assessment(h, loss, None, 1)
    rows = 1
    for batch in batches:
        try:
            check(batch, rows)
        except FormatError as error:
            raise UserError(f"channel 'test': {error}") from None
        assert batch.labels is not None  # noqa: S101 - just checked
        assessment.add(model.margins(batch.features), batch.labels)
        rows += len(batch)
    assessment.of_all_hosts(job.cluster)
    if assessment.rows == 0:
        return {}
    return {loss.objective: float(assessment.objectives[0])} | assessment.metrics(0, float(model.boundary))
