"""What a user would write: LibSVM to scikit-learn's topics on disk."""

import sys

import joblib
from sklearn.datasets import load_svmlight_file
from sklearn.decomposition import LatentDirichletAllocation

counts, _ = load_svmlight_file(sys.argv[1], zero_based=True)
model = LatentDirichletAllocation(int(sys.argv[3]), learning_method="batch", max_iter=10, random_state=0)
joblib.dump(model.fit(counts), sys.argv[2])
