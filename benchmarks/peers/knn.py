"""What a user would write: CSV to a faiss index of a sample on disk."""

import sys

import faiss
import numpy as np
import pandas as pd

rows = pd.read_csv(sys.argv[1], header=None, dtype=np.float32).to_numpy()
chosen = rows[np.random.default_rng(0).choice(len(rows), int(sys.argv[3]), replace=False)]
index = faiss.IndexFlatL2(chosen.shape[1] - 1)
index.add(np.ascontiguousarray(chosen[:, 1:]))
faiss.write_index(index, sys.argv[2])
np.save(f"{sys.argv[2]}.labels.npy", chosen[:, 0])
