"""What a user would write: CSV to a scikit-learn k-means on disk."""

import sys

import joblib
import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans

rows = pd.read_csv(sys.argv[1], header=None, dtype=np.float32).to_numpy()
joblib.dump(MiniBatchKMeans(10, batch_size=5000, max_iter=1, n_init="auto", random_state=0).fit(rows), sys.argv[2])
