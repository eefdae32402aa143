"""What the table of features says of cmlp is shown by a test that is there."""

import ast
import re
from pathlib import Path

import pytest

import cmlp

DOCS = Path(__file__).parent.parent / "docs"
FEATURES = (DOCS / "features.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in FEATURES.splitlines() if line.startswith("| ")]
OURS = {feature: ours for feature, ours, *_ in ROWS[1:]}


def links(text):
    """Names, and the files that they link to."""
    return re.findall(r"\[(\w+)\]\(([^)]+)\)", text)


def functions(path):
    """Names of a module's functions."""
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_there_is_a_table():
    assert ROWS[0][:3] == ["", "cmlp", "scikit-learn"]
    assert len(OURS) == len(ROWS) - 1 > 30
    assert {len(row) for row in ROWS} == {7}
    assert OURS["activations"].startswith(f"{len(cmlp.activations.ACTIVATIONS)}: ")


@pytest.mark.parametrize("feature", OURS)
def test_what_is_there_is_shown_by_a_test_of_its_name(feature):
    named = links(OURS[feature])
    assert (not named) == (OURS[feature] == "no")
    for name, target in named:
        assert target.startswith("../tests/test_")
        assert name.startswith("test_")
        assert name in functions(DOCS / target)
