"""What a user would write: CSV to one scikit-learn linear model on disk."""

import sys

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import SGDClassifier

rows = pd.read_csv(sys.argv[1], header=None, dtype=np.float32).to_numpy()
model = SGDClassifier(loss="log_loss", max_iter=int(sys.argv[3]), tol=None, random_state=0)
joblib.dump(model.fit(rows[:, 1:], rows[:, 0]), sys.argv[2])
