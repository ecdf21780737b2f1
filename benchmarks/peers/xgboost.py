"""What a user would write: CSV to a booster on disk."""

import sys

import pandas as pd
import xgboost

rows = pd.read_csv(sys.argv[1], header=None)
matrix = xgboost.DMatrix(rows.iloc[:, 1:], rows.iloc[:, 0])
parameters = {"objective": "binary:logistic", "max_depth": 6}
booster = xgboost.train(parameters, matrix, int(sys.argv[3]), evals=[(matrix, "train")])
booster.save_model(f"{sys.argv[2]}.ubj")
