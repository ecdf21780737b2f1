"""Writes the model for MLServer's runtimes, by the libraries of its own environment."""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
from sklearn.cluster import KMeans

source, home = Path(sys.argv[1]), Path(sys.argv[2])
home.mkdir()
if (source / "centers.npy").exists():
    centers = np.load(source / "centers.npy")
    joblib.dump(KMeans(len(centers), init=centers, n_init=1, max_iter=1).fit(centers), home / "model.joblib")
    runtime, file = "mlserver_sklearn.SKLearnModel", home / "model.joblib"
else:
    runtime, file = "mlserver_xgboost.XGBoostModel", source / "booster.json"
settings = {"name": "model", "implementation": runtime, "parameters": {"uri": str(file)}}
(home / "model-settings.json").write_text(json.dumps(settings))
