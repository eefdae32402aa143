"""Schedules against their formulas, PyTorch's numbers, and scikit-learn's way of falling with the samples seen."""

import dataclasses

import numpy as np
import pytest

from cmlp import SGD, Adam, NeuralNetwork, one_hot, reference, schedules
from cmlp.callbacks import LambdaCallback
from cmlp.schedules import Constant, Cosine, Exponential, InverseScaling, OneCycle, Plan, Step

ALL = [Constant(0.5), Step(every_epochs=2), Exponential(0.9), Cosine(warmup=3), OneCycle(), InverseScaling()]


def factors(schedule, steps, **plan):
    return schedule.factors(np.arange(steps), Plan(**plan))


def make():
    nn = NeuralNetwork(rng=0, dtype="float64")
    nn.add_layer(6, 5, "tanh")
    nn.add_layer(5, 3, "softmax")
    return nn


@pytest.fixture
def data(rng):
    return rng.normal(size=(6, 50)), rng.integers(0, 3, 50)


def test_constant():
    assert factors(Constant(0.5), 3).tolist() == [0.5, 0.5, 0.5]


def test_step():
    # PyTorch's StepLR(step_size=2, gamma=0.5), stepped with each batch
    assert factors(Step(every_steps=2, factor=0.5), 6).tolist() == [1, 1, 0.5, 0.5, 0.25, 0.25]
    by_epochs = factors(Step(every_epochs=2, factor=0.5), 12, per_epoch=3)
    assert by_epochs.tolist() == [1] * 6 + [0.5] * 6


def test_exponential():
    assert factors(Exponential(0.5), 4).tolist() == [1, 0.5, 0.25, 0.125]


def test_cosine():
    # PyTorch's CosineAnnealingLR(T_max=4, eta_min=0.1) from a rate of 1: (1 + cos(pi / 4)) / 2 and so on
    quarter = np.sqrt(0.5)
    expected = [1, 0.1 + 0.9 * (1 + quarter) / 2, 0.55, 0.1 + 0.9 * (1 - quarter) / 2, 0.1, 0.1, 0.1]
    assert factors(Cosine(4, final=0.1), 7) == pytest.approx(expected, abs=1e-15)
    warm = factors(Cosine(7, warmup=3, final=0.1), 10)
    assert warm[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert warm[3:] == pytest.approx(expected, abs=1e-15)


def test_one_cycle():
    # PyTorch's OneCycleLR(max_lr=1, total_steps=11, pct_start=3/11, anneal_strategy="linear", div_factor=25,
    # final_div_factor=1e4): its phases end at steps 3/11 * 11 - 1 = 2 and 10
    up = [0.04, 0.52, 1.0]
    down = [1 + (4e-6 - 1) * k / 8 for k in range(1, 9)]
    assert factors(OneCycle(11, rise=3 / 11), 13) == pytest.approx([*up, *down, 4e-6, 4e-6])


@pytest.mark.parametrize("steps", [2, 3])
def test_a_cycle_of_few_steps_begins_at_its_top(steps):
    straight = 1 - np.arange(steps) / (steps - 1)  # as no whole step leads up
    assert factors(OneCycle(final=0.0), steps, total=steps) == pytest.approx(straight)


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
def test_a_total_is_that_of_the_fit_from_its_beginning(schedule):
    t = np.arange(12)
    of_its_own = schedule.factors(t + 30, Plan(begin=30, total=12))
    assert of_its_own == pytest.approx(dataclasses.replace(schedule, total=12).factors(t, Plan()))


def test_inverse_scaling_falls_with_the_samples_seen():
    # scikit-learn: learning_rate_init / (t_ + 1) ** power_t after every epoch, t_ the samples so far
    assert factors(InverseScaling(0.5), 3, seen=0).tolist() == [1, 1, 1]
    assert factors(InverseScaling(0.5), 3, seen=99) == pytest.approx([0.1, 0.1, 0.1])


def test_inverse_scaling_in_fit_and_partial_fit(data):
    X, y = data
    expected = [0.3 / (1 + 50 * epoch) ** 0.5 for epoch in range(4)]
    nn = make()
    options = {"batch_size": 20, "optimizer": "sgd", "learning_rate": 0.3, "schedule": InverseScaling()}
    got = [*nn.fit(X, y, 2, **options)["learning_rate"], *nn.partial_fit([(X, y)] * 2, **options)["learning_rate"]]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@pytest.mark.parametrize("optimizer", [SGD(0.3), Adam(0.02)], ids=repr)
def test_fit_takes_each_step_at_its_rate(data, schedule, optimizer):
    X, y = data
    nn = make()
    weights, biases = [layer.weights for layer in nn.layers], [layer.biases for layer in nn.layers]
    oracle, states = reference.Network(weights, biases, ["tanh", "softmax"], "cross_entropy"), {}
    history = nn.fit(X, y, 3, 20, optimizer, shuffle=False, schedule=schedule)
    Y, t, name = one_hot(y, 3), 0, type(optimizer).__name__.lower()
    for epoch in range(3):
        plan = Plan(begin=0, total=9, per_epoch=3, seen=50 * epoch)
        rates = optimizer.learning_rate * schedule.factors(np.arange(t, t + 3), plan)
        for i, rate in zip((0, 20, 40), rates, strict=True):
            t += 1
            oracle.step(X[:, i : i + 20], Y[:, i : i + 20], name, t, states, learning_rate=rate)
        assert history["learning_rate"][epoch] == pytest.approx(rates[-1])
    for layer, W in zip(nn.layers, oracle.weights, strict=True):
        np.testing.assert_allclose(layer.weights, W, rtol=1e-10, atol=1e-12)


def test_a_function_of_the_step_is_a_schedule(data):
    X, y = data
    one, other, seen = make(), make(), []

    def halving(t):
        seen.append(t)
        return 0.5**t

    for _ in range(2):
        one.fit(X, y, 2, 20, schedule=halving)
        other.fit(X, y, 2, 20, schedule=Exponential(0.5))
    assert (one._params == other._params).all()
    assert seen == list(range(12))


def test_a_constant_changes_no_bit(data):
    one, other = make(), make()
    one.fit(*data, schedule=Constant())
    other.fit(*data)
    assert one._params.tobytes() == other._params.tobytes()


def test_what_a_function_of_ones_own_raises_at_once_changes_nothing(data):
    nn = make()
    nn.fit(*data, epochs=2, optimizer=Adam(0.01), schedule=Exponential(0.9))
    before = nn._params.tobytes(), nn._memory.moments.tobytes(), nn._memory.taken, nn.optimizer, nn.schedule
    with pytest.raises(ZeroDivisionError):
        nn.fit(*data, epochs=2, optimizer=SGD(0.1), schedule=lambda t: 1 / t)
    assert (nn._params.tobytes(), nn._memory.moments.tobytes(), nn._memory.taken, nn.optimizer, nn.schedule) == before


def test_the_schedule_is_known_whatever_becomes_of_the_optimizer(data):
    def change(run):
        run.optimizer = SGD(0.1)

    nn = make()
    nn.fit(*data, epochs=3, schedule=Exponential(0.9), callbacks=[LambdaCallback(on_epoch_end=change)])
    assert nn.optimizer == SGD(0.1)
    assert nn.schedule == Exponential(0.9)


@pytest.mark.parametrize("other", [SGD(0.1, momentum=0.9), Adam(0.1)])
@pytest.mark.parametrize("schedule", [Cosine(), Cosine(warmup=5), OneCycle()])
def test_a_total_is_that_of_the_fit_whatever_becomes_of_the_optimizer(data, schedule, other):
    def change(run):
        if run.epoch == 1:
            run.optimizer = other

    same, changed = (make() for _ in range(2))
    for nn in (same, changed):
        nn.fit(*data, 3, 20, SGD(0.1))
    rates = same.fit(*data, 5, 20, SGD(0.1), schedule=schedule)["learning_rate"]
    callbacks = [LambdaCallback(on_epoch_end=change)]
    assert changed.fit(*data, 5, 20, SGD(0.1), schedule=schedule, callbacks=callbacks)["learning_rate"] == rates


def test_a_schedule_of_ones_own(data):
    class Twice(schedules.Schedule):
        def factors(self, t, plan):
            assert plan.per_epoch == 3
            return np.full(len(t), 2.0)

    assert make().fit(*data, 1, 20, learning_rate=0.01, schedule=Twice())["learning_rate"] == [0.02]


def test_schedules_are_values():
    assert Cosine(10) == Cosine(10) != Cosine(11)
    assert len({repr(schedule) for schedule in ALL}) == len(ALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cosine(10).total = 3


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle(), Step(every_epochs=1)], ids=repr)
def test_chunks_do_not_say_how_many_there_will_be(data, schedule):
    nn = make()
    before = nn._params.copy()
    with pytest.raises(ValueError, match=r"needs (total|every_steps) here: partial_fit does not know"):
        nn.partial_fit(*data, schedule=schedule)
    assert (nn._params == before).all()
    nn.partial_fit(*data, schedule=Cosine(100))


BAD = {
    "factor": (lambda: Constant(0), ValueError, "factor must be finite, more than 0, got 0"),
    "step": (lambda: Step(), ValueError, "one of 'every_epochs', 'every_steps' must be given, got none"),
    "both": (lambda: Step(1, 1), ValueError, "must be given, got 'every_epochs', 'every_steps'"),
    "every": (lambda: Step(every_steps=0), ValueError, "every_steps must be at least 1, got 0"),
    "growing": (lambda: Step(1, factor=1.5), ValueError, "factor must be finite, more than 0 and at most 1, got 1.5"),
    "decay": (lambda: Exponential(-0.1), ValueError, "decay must be"),
    "warmup": (lambda: Cosine(10, warmup=10), ValueError, "warmup must be less than total, 10, got 10"),
    "final": (lambda: Cosine(10, final=2), ValueError, "final must be .* at most 1"),
    "total": (lambda: Cosine(2.5), TypeError, "total must be a whole number"),
    "cycle": (lambda: OneCycle(1), ValueError, "total must be at least 2"),
    "rise": (lambda: OneCycle(rise=1.0), ValueError, "rise must be .* less than 1"),
    "power": (lambda: InverseScaling("1"), TypeError, "power must be a number"),
    "cycle of a step": (
        lambda: make().fit(np.ones((6, 4)), [0, 1, 2, 0], 1, 4, schedule=OneCycle()),
        ValueError,
        "the number of steps of OneCycle must be at least 2, got 1",
    ),
    "long warmup": (
        lambda: make().fit(np.ones((6, 4)), [0, 1, 2, 0], 2, 2, schedule=Cosine(warmup=4)),
        ValueError,
        "warmup must be less than the steps of the fit, 4, got 4",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_refused(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
