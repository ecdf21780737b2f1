"""What the real program refuses of files, with exit code 2 and a sentence in the failure file."""

from algorithms.factorization_machines.tests.test_fit import BINARY, planted
from tests.examples import CSV, RECORDIO, encoded
from tests.job_folder import JobFolder


def failure(job: JobFolder, content: bytes, content_type: str, **given: object) -> str:
    """The failure file of the real program."""
    job.hyperparameters = {name: str(value) for name, value in (BINARY | given).items()}
    job.channel("train", {"data": content}, content_type)
    ended = job.train()
    assert ended.exit_code == 2, ended.log
    assert "Traceback" not in ended.log
    assert ended.failure is not None
    return ended.failure


def test_a_test_channel_of_another_width(job_folder):
    X, y = planted(60, "binary_classifier")
    job = job_folder("factorization_machines")
    job.channel("test", {"rows": encoded(X[:, :40].toarray(), RECORDIO, y)}, RECORDIO)
    sentence = failure(job, encoded(X.toarray(), RECORDIO, y), RECORDIO)
    assert sentence.startswith("ClientError: Unable to read data channel 'test'")
    assert "expected 50 features, found 40" in sentence


def test_csv_without_labels(job_folder):
    X, _ = planted(60, "binary_classifier")
    content = encoded(X.toarray(), CSV)
    sentence = failure(job_folder("factorization_machines"), content, "text/csv;label_size=0")
    assert sentence == (
        "ClientError: Unable to read data channel 'train' as text/csv;label_size=0: file 'data', row 1: "
        "the rows have no labels; please give every row one, in CSV as its first column."
    )
