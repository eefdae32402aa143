"""The same work done by cmlp and by its peers, each in the way that is fastest for it.

Each class takes a workload and offers `run()`, an epoch of training or a prediction, and afterwards `parameters()`,
weights (inputs, outputs) and biases, or `classes()`, what was predicted.
"""

import math
import os
from itertools import pairwise

import numpy as np

from benchmarks.workloads import RATE


class Numpy:
    """The notebook's code, for what it costs: each layer's product twice, and the data's gradient, which nobody uses.

    Its formulas' order and a softmax that cannot overflow are the only differences.
    """

    def __init__(self, workload):
        if workload.optimizer == "adam" or workload.pixels:
            raise NotImplementedError("the notebook has plain gradient descent on floats only")
        self.workload = workload
        rows, y = workload.data()
        self.X, self.y = rows.T, y
        self.layers = [[W.T.copy(), b[:, None]] for W, b in workload.parameters()]

    @staticmethod
    def about():
        return {"version": np.__version__, **blas()}

    def forward_pass(self, layer, x):
        W, b = layer
        return W.dot(x) + b, self.activation(layer, W.dot(x) + b)

    def activation(self, layer, z):
        if layer is not self.layers[-1]:
            return np.maximum(z, 0)
        e = np.exp(z - z.max(axis=0))
        return e / e.sum(axis=0)

    def step(self, X, y):
        dtype, m = X.dtype.type, y.size
        zs, activations = [X], [X]
        for layer in self.layers:
            z, a = self.forward_pass(layer, activations[-1])
            zs.append(z)
            activations.append(a)
        one_hot = np.zeros((m, self.workload.sizes[-1]), dtype)
        one_hot[np.arange(m), y] = 1
        dz, rate = activations[-1] - one_hot.T, dtype(RATE["sgd"])
        for i in reversed(range(len(self.layers))):
            W, b = self.layers[i]
            next_dz = W.T.dot(dz) * (zs[i] > 0)
            self.layers[i] = [W - rate * dz.dot(activations[i].T) / m, b - rate * dz.sum(axis=1, keepdims=True) / m]
            dz = next_dz

    def run(self):
        if not self.workload.optimizer:
            self.result = self.X
            for layer in self.layers:
                self.result = self.forward_pass(layer, self.result)[1]
            return
        for i in range(0, self.y.size, self.workload.batch):
            self.step(self.X[:, i : i + self.workload.batch], self.y[i : i + self.workload.batch])

    def classes(self):
        return self.result.argmax(axis=0)

    def parameters(self):
        return [(W.T, b[:, 0]) for W, b in self.layers]


class Cmlp:
    def __init__(self, workload):
        import cmlp

        self.workload = workload
        rows, self.y = workload.data()
        self.X = rows.T
        self.nn = cmlp.NeuralNetwork(dtype=workload.dtype, input_scale=1 / 255 if workload.pixels else 1.0)
        activations = [*["relu"] * (len(workload.sizes) - 2), "softmax"]
        for (k, n), activation in zip(pairwise(workload.sizes), activations, strict=True):
            self.nn.add_layer(k, n, activation)
        for layer, (W, b) in zip(self.nn.layers, workload.parameters(), strict=True):
            layer.weights, layer.biases = W.T, b[:, None]
        rate = RATE.get(workload.optimizer)
        self.optimizer = {"sgd": cmlp.SGD, "adam": cmlp.Adam}[workload.optimizer](rate) if rate else None

    @staticmethod
    def about():
        import cmlp
        from cmlp import _dispatch

        return {"version": cmlp.__version__, "kernels": _dispatch.ISA, "threads": cmlp.get_num_threads()}

    def run(self):
        w = self.workload
        if self.optimizer is None:
            self.result = self.nn.predict(self.X)
        elif w.batch == w.samples and w.optimizer == "sgd":
            self.nn.train(self.X, self.y, RATE["sgd"])
        else:
            self.nn.fit(self.X, self.y, 1, w.batch, self.optimizer, shuffle=False)

    def classes(self):
        return self.result

    def parameters(self):
        return [(layer.weights.T, layer.biases[:, 0]) for layer in self.nn.layers]


class Torch:
    """Eager, with the fused optimizers and inference_mode."""

    def __init__(self, workload):
        import torch

        if workload.pixels:
            raise NotImplementedError("floats only")
        self.torch, self.workload = torch, workload
        X, y = workload.data()
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        modules = []
        for W, b in workload.parameters():
            linear = torch.nn.Linear(*W.shape, dtype=self.X.dtype)
            with torch.no_grad():
                linear.weight[...], linear.bias[...] = torch.from_numpy(W.T), torch.from_numpy(b)
            modules += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        if workload.optimizer:
            kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[workload.optimizer]
            self.optimizer = kind(self.model.parameters(), RATE[workload.optimizer], fused=True)
        criterion = torch.nn.CrossEntropyLoss()
        self.loss = lambda x, t: criterion(self.model(x), t)
        self.forward = self.model

    @staticmethod
    def about():
        import torch

        return {"version": torch.__version__, "kernels": "oneMKL and ATen " + torch.backends.cpu.get_cpu_capability()}

    def run(self):
        if not self.workload.optimizer:
            with self.torch.inference_mode():
                self.result = self.forward(self.X)
            return
        for i in range(0, len(self.y), self.workload.batch):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.X[i : i + self.workload.batch], self.y[i : i + self.workload.batch]).backward()
            self.optimizer.step()

    def classes(self):
        return self.result.argmax(dim=1).numpy()

    def parameters(self):
        linears = [module for module in self.model if hasattr(module, "weight")]
        return [(linear.weight.detach().numpy().T, linear.bias.detach().numpy()) for linear in linears]


class TorchCompiled(Torch):
    """The loss, its backward pass and the forward pass through torch.compile."""

    def __init__(self, workload):
        super().__init__(workload)
        self.loss = self.torch.compile(self.loss)
        self.forward = self.torch.compile(self.model)


class Jax:
    """An epoch is one jitted lax.scan over the batches."""

    def __init__(self, workload):
        import jax

        if workload.pixels:
            raise NotImplementedError("floats only")
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self.jax, self.workload = jax, workload
        np_, lax = jax.numpy, jax.lax
        X, y = workload.data()
        params = [(np_.asarray(W), np_.asarray(b)) for W, b in workload.parameters()]
        rate = RATE.get(workload.optimizer)

        def logits(params, x):
            for W, b in params[:-1]:
                x = jax.nn.relu(x @ W + b)
            return x @ params[-1][0] + params[-1][1]

        def loss(params, x, t):
            z = logits(params, x)
            return (jax.nn.logsumexp(z, axis=1) - np_.take_along_axis(z, t[:, None], 1)[:, 0]).mean()

        def sgd(state, batch):
            return jax.tree.map(lambda p, g: p - rate * g, state, jax.grad(loss)(state, *batch)), None

        def adam(state, batch):
            params, u, v, t = state
            g, t = jax.grad(loss)(params, *batch), t + 1
            u = jax.tree.map(lambda u, g: 0.9 * u + 0.1 * g, u, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            # 1 - 0.999^t as it stands would keep five digits in float32.
            unbias, step = 1 / np_.sqrt(-np_.expm1(t * math.log(0.999))), rate / (1 - 0.9**t)
            params = jax.tree.map(lambda p, u, v: p - step * u / (np_.sqrt(v) * unbias + 1e-8), params, u, v)
            return (params, u, v, t), None

        self.state = params
        if not workload.optimizer:
            self.X = jax.device_put(X)
            self.forward = jax.jit(logits)
            return
        if workload.optimizer == "adam":
            zeros = jax.tree.map(np_.zeros_like, params)
            self.state = (params, zeros, jax.tree.map(np_.zeros_like, params), np_.zeros((), X.dtype))
        steps = workload.samples // workload.batch
        self.batches = (
            jax.device_put(X.reshape(steps, workload.batch, -1)),
            jax.device_put(y.reshape(steps, workload.batch)),
        )
        step = {"sgd": sgd, "adam": adam}[workload.optimizer]
        self.epoch = jax.jit(lambda state, batches: lax.scan(step, state, batches)[0], donate_argnums=0)

    @staticmethod
    def about():
        import jax

        return {"version": jax.__version__, "kernels": "XLA " + os.environ.get("XLA_FLAGS", "")}

    def run(self):
        if self.workload.optimizer:
            self.state = self.jax.block_until_ready(self.epoch(self.state, self.batches))
        else:
            self.result = self.jax.block_until_ready(self.forward(self.state, self.X))

    def classes(self):
        return np.asarray(self.result).argmax(axis=1)

    def parameters(self):
        params = self.state[0] if self.workload.optimizer == "adam" else self.state
        return [(np.asarray(W), np.asarray(b)) for W, b in params]


class Sklearn:
    """MLPClassifier, an epoch by partial_fit.

    Its Adam adds epsilon to a root that is still biased towards zero, all others add it to the unbiased one, as Kingma
    and Ba's Algorithm 1 does. Here each step's epsilon is biased in the same way, which makes the two equal.
    """

    def __init__(self, workload):
        from sklearn.neural_network import MLPClassifier
        from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

        class Adam(AdamOptimizer):
            def _get_updates(self, grads):
                self.epsilon = 1e-8 * (1 - self.beta_2 ** (self.t + 1)) ** 0.5
                return super()._get_updates(grads)

        if workload.pixels:
            raise NotImplementedError("floats only")
        self.workload = workload
        self.X, self.y = workload.data()
        self.model = MLPClassifier(
            workload.sizes[1:-1],
            solver=workload.optimizer or "sgd",
            alpha=0,
            batch_size=workload.batch or 1,
            learning_rate_init=RATE[workload.optimizer or "sgd"],
            momentum=0,
            nesterovs_momentum=False,
            shuffle=False,
        )
        classes = np.arange(workload.sizes[-1])
        some = np.resize(self.X, (len(classes), self.X.shape[1])).astype(self.X.dtype)
        self.model.set_params(batch_size=len(classes)).partial_fit(some, classes, classes=classes)
        self.model.set_params(batch_size=workload.batch or 1)
        self.model.coefs_ = [W.copy() for W, _ in workload.parameters()]
        self.model.intercepts_ = [b.copy() for _, b in workload.parameters()]
        if workload.optimizer == "adam":
            self.model._optimizer = Adam(self.model.coefs_ + self.model.intercepts_, RATE["adam"])
        else:
            del self.model._optimizer  # it holds the parameters of before

    @staticmethod
    def about():
        import sklearn

        return {"version": sklearn.__version__, **blas()}

    def run(self):
        if self.workload.optimizer:
            self.model.partial_fit(self.X, self.y)
        else:
            self.result = self.model.predict(self.X)

    def classes(self):
        # Of two classes scikit-learn predicts with one output.
        if self.workload.sizes[-1] == 2:
            raise NotImplementedError("of two classes it predicts with one output")
        return self.result

    def parameters(self):
        if self.workload.sizes[-1] == 2:
            raise NotImplementedError("for two classes it trains one output")
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


class OnnxRuntime:
    """A session over the network as Gemm and Relu nodes."""

    threads = 2

    def __init__(self, workload):
        import onnx
        import onnxruntime
        from onnx import helper, numpy_helper

        if workload.optimizer or workload.dtype != "float32":
            raise NotImplementedError("inference in float32 only")
        nodes, constants, name = [], [], "x"
        layers = workload.parameters()
        for i, (W, b) in enumerate(layers):
            constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
            nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"]))
            name = f"z{i}"
            if i + 1 < len(layers):
                nodes.append(helper.make_node("Relu", [name], [f"a{i}"]))
                name = f"a{i}"
        tensor = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            "mlp",
            [helper.make_tensor_value_info("x", tensor, [None, workload.sizes[0]])],
            [helper.make_tensor_value_info(name, tensor, [None, workload.sizes[-1]])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        self.feed = {"x": workload.data()[0]}

    @staticmethod
    def about():
        import onnxruntime

        return {"version": onnxruntime.__version__, "kernels": "MLAS"}

    def run(self):
        (self.result,) = self.session.run(None, self.feed)

    def classes(self):
        return self.result.argmax(axis=1)


class OnnxRuntimeOneThread(OnnxRuntime):
    threads = 1


def blas():
    """The kernels that NumPy's products run on here."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return {}
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {"kernels": " ".join(f"{pool['internal_api']} {pool.get('architecture')}" for pool in found)}


# A peer's ratio is that of the best of its variants: those whose names begin with its name.
LIBRARIES = {
    "cmlp": Cmlp,
    "numpy": Numpy,
    "sklearn": Sklearn,
    "torch": Torch,
    "torch compiled": TorchCompiled,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
    "onnxruntime 1 thread": OnnxRuntimeOneThread,
}
