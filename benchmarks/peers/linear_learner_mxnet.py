"""Linear models as outputs of one layer of MXNet, rows in memory; prints the seconds of the epochs."""

import sys
import time
from pathlib import Path

import mxnet as mx
import numpy as np

folder, batch, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
data = mx.io.NDArrayIter(X, np.tile(y[:, None], (1, 32)), batch, label_name="out_label")
layer = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=32)
module = mx.mod.Module(mx.sym.LogisticRegressionOutput(layer, name="out"), label_names=["out_label"])
module.bind(data.provide_data, data.provide_label)
module.init_params(mx.init.Normal(0.01))
module.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.005, "rescale_grad": 1 / batch})
started = time.perf_counter()
for _ in range(epochs):
    data.reset()
    for each in data:
        module.forward_backward(each)
        module.update()
mx.nd.waitall()
print(time.perf_counter() - started)
