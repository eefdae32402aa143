"""scikit-learn's estimators: its own checks, its numbers, and what it lacks."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from cmlp import MLPClassifier, MLPRegressor


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
