"""The loss curve against PyTorch's: from the same first weights, over the same batches."""

import numpy as np
import pytest

from cmlp import SGD, Adam, AdamW, NeuralNetwork

torch = pytest.importorskip("torch")

EPOCHS, BATCH, SAMPLES = 20, 20, 100  # 100 steps

# Ours; PyTorch's.
OPTIMIZERS = {
    "sgd": (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "sgd decay": (SGD(0.1, weight_decay=0.01), lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01)),
    "momentum": (SGD(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "nesterov": (SGD(0.1, 0.9, nesterov=True), lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True)),
    "adam": (Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adamw": (AdamW(0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


def network(dtype):
    nn = NeuralNetwork(dtype=dtype, rng=1)
    nn.add_layer(12, 16, "tanh")
    nn.add_layer(16, 8, "gelu")
    nn.add_layer(8, 5, "softmax")
    return nn


def in_torch(nn):
    layers = []
    for layer, activation in zip(nn.layers, (torch.nn.Tanh(), torch.nn.GELU(), torch.nn.Identity()), strict=True):
        linear = torch.nn.Linear(layer.input_size, layer.neurons, dtype=getattr(torch, nn.dtype.name))
        with torch.no_grad():
            linear.weight[:] = torch.from_numpy(layer.weights.copy())
            linear.bias[:] = torch.from_numpy(layer.biases[:, 0].copy())
        layers += [linear, activation]
    return torch.nn.Sequential(*layers)


def curve(model, optimizer, X, y, weights, l2):
    """Mean loss of each epoch, with the penalty, each batch's before its step."""
    rows, labels = torch.from_numpy(np.ascontiguousarray(X.T)), torch.from_numpy(y)
    weights = torch.from_numpy(weights.astype(X.dtype))
    result = []
    for _ in range(EPOCHS):
        total = 0.0
        for i in range(0, SAMPLES, BATCH):
            batch = slice(i, i + BATCH)
            losses = torch.nn.functional.cross_entropy(model(rows[batch]), labels[batch], reduction="none")
            loss = (losses * weights[batch]).sum() / weights[batch].sum()
            loss = loss + l2 / 2 * sum((p**2).sum() for p in model.parameters() if p.ndim == 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * weights[batch].sum().item()
        result.append(total / weights.sum().item())
    return result


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_after_100_steps_equals_pytorchs(dtype, rng, keep, name, l2, weighted):
    X = rng.normal(size=(12, SAMPLES)).astype(dtype)
    y = rng.integers(0, 5, SAMPLES)
    weights = rng.uniform(0.1, 3, SAMPLES) if weighted else np.ones(SAMPLES)
    ours, theirs = OPTIMIZERS[name]
    nn = network(dtype)
    model = in_torch(nn)
    settings = {"sample_weight": weights} if weighted else {}
    history = nn.fit(X, y, EPOCHS, BATCH, ours, shuffle=False, l2=l2, **settings)
    expected = curve(model, theirs(model.parameters()), X, y, weights, l2)
    keep(f"losses of 100 steps and PyTorch's, {dtype.name}, relative", np.abs(np.divide(history["loss"], expected) - 1))
    assert history["loss"] == pytest.approx(expected, rel=1e-9 if dtype == np.float64 else 1e-4)
