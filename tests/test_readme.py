"""The README does what it says. As a program, prints one of its commands: `python tests/test_readme.py 0`."""

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """The README's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_runs_as_it_stands(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 12
    exec(example.replace("range(200)", "range(51)"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [f"Epoch:  {epoch}" for epoch in range(0, 51, 10)]
    assert float(lines[-1].removeprefix("Accuracy ")) > 0.45


def test_losses_of_ones_own_are_learnt(capsys):
    text = (ROOT / "docs" / "own_losses.md").read_text(encoding="utf-8")
    masked, policy = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(masked, {})
    exec(policy, {})
    error, reward = map(float, capsys.readouterr().out.split())
    assert error < 0.05
    assert reward > 0.9


def test_there_are_two_commands():
    install, test = (command.strip() for command in blocks("sh")[:2])
    assert install.endswith("cmlp train data/images.csv.gz")
    assert test.endswith("pytest")


def test_every_file_it_links_to_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_tables_are_what_was_measured():
    spec = spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    report = module_from_spec(spec)
    spec.loader.exec_module(report)
    figures = json.loads(report.RESULTS.read_text())
    assert report.BEGIN in README
    assert report.BEGIN_MORE in README
    assert report.with_tables(README, figures) == README
    beside = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert report.BEGIN_OTHERS in beside
    assert report.BEGIN_AIMS in beside
    assert report.BEGIN_ANSWERS in beside
    assert report.with_tables(beside, figures) == beside
    assert not [key for key, entry in figures["workloads"].items() if "cmlp" in entry["wrong"]]


if __name__ == "__main__":
    print(blocks("sh")[int(sys.argv[1])].strip())
