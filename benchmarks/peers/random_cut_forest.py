"""What a user would write: CSV to a scikit-learn isolation forest on disk."""

import sys

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest

rows = pd.read_csv(sys.argv[1], header=None, dtype=np.float32).to_numpy()
joblib.dump(IsolationForest(n_estimators=100, max_samples=256, random_state=0, n_jobs=-1).fit(rows), sys.argv[2])
