"""What a user would write: LibSVM to a myFM model on disk."""

import sys

import joblib
from myfm import MyFMClassifier
from sklearn.datasets import load_svmlight_file

rows, labels = load_svmlight_file(sys.argv[1], zero_based=True)
model = MyFMClassifier(16).fit(rows, labels == 1, n_iter=int(sys.argv[3]), n_kept_samples=1)
joblib.dump(model.predictor_, sys.argv[2])
