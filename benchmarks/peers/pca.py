"""What a user would write: CSV to a scikit-learn PCA on disk."""

import sys

import joblib
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

rows = pd.read_csv(sys.argv[1], header=None, dtype=np.float32).to_numpy()
joblib.dump(PCA(50).fit(rows), sys.argv[2])
