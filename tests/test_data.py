"""Reading CSV files, good and bad, and splitting samples."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cmlp import _csv
from cmlp.data import load_csv, train_test_split

IMAGES = Path(__file__).parent.parent / "data" / "images.csv.gz"
COMPRESS = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.bz2": bz2.compress, ".csv.xz": lzma.compress}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes text or bytes to a file and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(params=[1, 1 << 23], ids=["a row per block", "one block"])
def block(request, monkeypatch):
    """Read a file a row at a time, and all at once."""
    monkeypatch.setattr(_csv, "_BLOCK", request.param)


def check(loaded, X, y, names):
    """The law of every good file: values, dtypes (those of X and y), names and memory order."""
    for got, expected in zip(loaded[:2], (X, y), strict=True):
        if expected is None:
            assert got is None
        else:
            np.testing.assert_array_equal(got, expected, strict=True)
    assert loaded[0].T.flags.c_contiguous
    assert loaded[2] == names


PIXELS = np.array([[0, 20], [255, 40]], np.uint8)
LABELS = np.array([7, 300])
TABLES = {  # text, label, names; all hold PIXELS and LABELS
    "label first": ("label,a,b\n7,0,255\n300,20,40\n", "label", ["a", "b"]),
    "label last": ("a,b,label\n0,255,7\n20,40,300\n", "label", ["a", "b"]),
    "label between": ("a,label,b\n0,7,255\n20,300,40\n", "label", ["a", "b"]),
    "other name": ("a,b,digit\n0,255,7\n20,40,300\n", "digit", ["a", "b"]),
    "by position": ("a,b,digit\n0,255,7\n20,40,300\n", 2, ["a", "b"]),
    "from the end": ("a,b,digit\n0,255,7\n20,40,300\n", -1, ["a", "b"]),
    "numpy position": ("a,b,digit\n0,255,7\n20,40,300\n", np.int64(2), ["a", "b"]),
    "numbers for names": ("label,0,1\n7,0,255\n300,20,40\n", "label", ["0", "1"]),
    "no header": ("7,0,255\n300,20,40\n", 0, ["0", "1"]),
    "no header, from the end": ("0,255,7\n20,40,300\n", -1, ["0", "1"]),
    "index name empty": (",a,b\n7,0,255\n300,20,40\n", 0, ["a", "b"]),
    "quotes": ('"label","a","b, c"\n"7",0,"255"\n300,20,40\n', "label", ["a", "b, c"]),
    "quotes, no header": ('"7","0","255"\n"300","20","40"\n', 0, ["0", "1"]),
    "two lines in a name": ('label,"a\nb",c\n7,0,255\n300,20,40\n', "label", ["a\nb", "c"]),
    "spaces": ("label , a,b\n7, 0 ,255\n300,20,40 \n", "label", ["a", "b"]),
    "blank lines": ("\n  \nlabel,a,b\n\n7,0,255\n   \n300,20,40\n\n\n", "label", ["a", "b"]),
    "blank lines, no header": ("\n7,0,255\n\n300,20,40\n\n", 0, ["0", "1"]),
    "no last newline": ("label,a,b\n7,0,255\n300,20,40", "label", ["a", "b"]),
    "Windows": ("label,a,b\r\n7,0,255\r\n300,20,40\r\n", "label", ["a", "b"]),
    "byte order mark": ("\ufefflabel,a,b\n7,0,255\n300,20,40\n", "label", ["a", "b"]),
    "byte order mark, no header": ("\ufeff7,0,255\n300,20,40\n", 0, ["0", "1"]),
    "spellings": ("label,a,b\n7.0,-0.0,+255\n3e2,2e1,040.\n", "label", ["a", "b"]),
    "accents": ("étiquette,ä,b\n7,0,255\n300,20,40\n", "étiquette", ["ä", "b"]),
}


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("text", "label", "names"), TABLES.values(), ids=TABLES)
def test_tables(write, text, label, names):
    check(load_csv(write(text), label), PIXELS, LABELS, names)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("header", ["label,a,b\n", ""])
def test_compressions(write, suffix, header):
    path = write(COMPRESS[suffix](f"{header}7,0,255\n300,20,40\n".encode()), "table" + suffix)
    names = ["a", "b"] if header else ["0", "1"]
    check(load_csv(str(path), "label" if header else 0), PIXELS, LABELS, names)


def test_suffix_in_capitals(write):
    path = write(gzip.compress(b"label,a,b\n7,0,255\n300,20,40\n"), "TABLE.CSV.GZ")
    check(load_csv(path), PIXELS, LABELS, ["a", "b"])


def test_a_header_of_numbers(write):
    path = write("2020,2021\n0,255\n20,40\n")
    check(load_csv(path, None, header=True), PIXELS, None, ["2020", "2021"])
    assert load_csv(path, None)[0].shape == load_csv(path, None, header=False)[0].shape == (2, 3)
    with pytest.raises(ValueError, match=r"line 1, column 0 .*'a'"):
        load_csv(write("a,b\n0,255\n"), None, header=False)


@pytest.mark.parametrize(("header", "names"), [("a,b\n", ["a", "b"]), ("", ["0", "1"])])
def test_no_label(write, header, names):
    check(load_csv(write(header + "0,255\n20,40\n"), label=None), PIXELS, None, names)


def test_one_column(write):
    check(load_csv(write("1\n\n2\n"), label=None), np.array([[1, 2]], np.uint8), None, ["0"])


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("cell", ["256", "-1", "0.5", "-0.25", "65536", "1e30", "18446744073709551617"])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_one_value_makes_all_float(write, cell, row):
    rows = ["255", "1", "2"]
    rows[row] = cell
    X, y, _ = load_csv(write("label,a\n" + "".join(f"3,{value}\n" for value in rows)))
    np.testing.assert_array_equal(X, np.array([rows], float).astype(np.float32), strict=True)
    assert y.dtype == np.int64


@pytest.mark.usefixtures("block")
def test_float64_keeps_what_float32_cannot_tell_apart(write):
    path = write("label,a,b\n1000000000.5,1700000001,1e-60\n0,1700000002,1e300\n")
    X, y, _ = load_csv(path, dtype="float64")
    np.testing.assert_array_equal(X, [[1700000001.0, 1700000002.0], [1e-60, 1e300]], strict=True)
    np.testing.assert_array_equal(y, [1000000000.5, 0.0], strict=True)
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float64', got 'int8'"):
        load_csv(path, dtype="int8")


def test_float64_is_the_nearest_number(write, rng):
    numbers = rng.normal(size=2000) * 10.0 ** rng.integers(-30, 30, 2000)
    X, _, _ = load_csv(write("x\n" + "".join(f"{value!r}\n" for value in numbers.tolist())), None, "float64")
    np.testing.assert_array_equal(X[0], numbers, strict=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("header", ["a,b\n", ""])
def test_a_pipe_is_read_once(tmp_path, header):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text(f"{header}1,2\n3,4\n"))
    writer.start()
    X, _, _ = load_csv(path, label=None)
    writer.join()
    np.testing.assert_array_equal(X, [[1, 3], [2, 4]])


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        *[("0 9", "int64"), ("-1 1", "int64"), ("5.0 1e3", "int64"), ("9007199254740991 0", "int64")],
        *[("0.5 1", "float32"), ("1 -0.1", "float32"), ("1e30 0", "float32")],
    ],
)
def test_label_dtype(write, cells, dtype):
    X, y, _ = load_csv(write("y,a\n" + "".join(f"{cell},7\n" for cell in cells.split())), "y")
    np.testing.assert_array_equal(y, np.array(cells.split(), float).astype(dtype), strict=True)
    assert X.dtype == np.uint8


NAMES = ["setosa", "Versicolor, red", "vir\u00f6nica", "TRUE", "7"]


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("cell", ["30", "0.5"])
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("header", [True, False])
def test_labels_may_be_text(write, cell, position, header):
    rows = [["1", "2"], [cell, "4"], ["5", "6"], ["7", "8"], ["9", "10"]]
    table = pd.DataFrame(rows, columns=["a", "b"])
    table.insert(position, "kind", [f" {name}" for name in NAMES])
    path = write(table.to_csv(index=False, header=header))
    X, y, names = load_csv(path, "kind" if header else position)
    np.testing.assert_array_equal(X, np.array(rows, np.float64).T)
    assert X.dtype == (np.uint8 if cell == "30" else np.float32)
    assert y.tolist() == NAMES
    assert y.dtype.kind == "U"
    assert names == (["a", "b"] if header else ["0", "1"])
    if not header:
        assert load_csv(path, position - 3)[1].tolist() == NAMES


WIDE = 'id,a,day,label,b\nx1,1,"Monday, late",7,2\n"a ""r"" R",3, ,300,4\n'


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("settings", "values", "names"),
    [
        ({"columns": ["b", "a"]}, [[2, 1], [4, 3]], ["b", "a"]),
        ({"columns": ("a",), "label": None}, [[1], [3]], ["a"]),
        ({"columns": ["label", "b"], "label": 1}, [[7, 2], [300, 4]], ["label", "b"]),
        ({"ignore": ["id", 2, "nothing"]}, [[1, 2], [3, 4]], ["a", "b"]),
        ({"ignore": ["day", -5], "label": None}, [[1, 7, 2], [3, 300, 4]], ["a", "label", "b"]),
    ],
)
def test_columns_are_chosen(write, settings, values, names):
    X, y, found = load_csv(write(WIDE), **settings)
    np.testing.assert_array_equal(X, np.array(values).T)
    assert X.dtype == (np.uint8 if np.max(values) < 256 else np.float32)
    assert X.T.flags.c_contiguous
    assert found == names
    labels = {"label": [7, 300], 1: [1, 3], None: None}[settings.get("label", "label")]
    assert (y if y is None else y.tolist()) == labels


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (WIDE, {}, "line 2, column 'id': expected a number, got 'x1'"),
        (WIDE, {"columns": ["a", "day"]}, "line 2, column 'day': expected a number, got 'Monday, late'"),
        (WIDE + "x,5,1,,6\n", {"columns": ["a"]}, "line 4, column 'label': the cell is empty"),
        (WIDE + "x,5,1,8\n", {"columns": ["a"]}, "line 4, column 'b': expected 5 cells, got 4"),
        (WIDE + "x,5,1,8,6,6\n", {"columns": ["a"]}, "line 4, after column 'b': expected 5 cells, got 6"),
        (WIDE + "TRUE,True,r,8,6\n", {"columns": ["a"]}, "line 4, column 'a': expected a number, got 'True'"),
        (
            WIDE,
            {"columns": ["a", "label"]},
            "must be different, and others than the label's, got ['a', 'label']",
        ),
        (WIDE, {"columns": ["a", "a"]}, "columns must be different, and others than the label's, got ['a', 'a']"),
        (WIDE, {"columns": ["c"]}, "no column 'c' in ['id', 'a', 'day', 'label', 'b']"),
        (WIDE + 'x,5,"a\nb",8,6\n', {"columns": ["a"]}, "without line breaks"),
        (WIDE, {"ignore": [5]}, "positions of columns are from -5 to 4, got 5"),
        (WIDE, {"ignore": [0, 1, 2, 4]}, "no column is left to be a feature"),
        (WIDE, {"columns": []}, "no column is left to be a feature"),
        ("a\n1\n", {"label": None, "ignore": [0]}, "no column is left to be a feature"),
        ("a\n1\n", {"label": None, "columns": ["b"]}, "no column 'b' in ['a']"),
        # Of pandas' short rows one has a cell that is no text, and one of two that make up for each other is empty.
        (WIDE.replace("x1,1,", "").replace(",2\n", "\n"), {"ignore": ["id", "day"]}, "line 2, column "),
        ("label,a,day\n1,2,x,7\n0,3\n", {"ignore": ["day"]}, "line 2, after column 'day': expected 3 cells, got 4"),
        ("label,a,day\n1,2,x\n1,2\n0,3,,7\n", {"ignore": ["day"]}, "line 3, column 'day': expected 3 cells, got 2"),
        ("label,a,day,b\n1,2\n0,3,x,7\n", {"ignore": ["day", "b"]}, "line 2, column 'day': expected 4 cells, got 2"),
        ("label,a\r1,2\r", {}, r"line 1: expected lines that end in \n or \r\n, got \r alone"),
        ("1,2,3\n", {"label": 0, "columns": ["a"]}, "expected 1 features, as were asked for, got 2, without names"),
        ("1,2,x,4\n5,6,y,8\n", {"label": "kind"}, "no column 'kind' in ['1', '2', 'x', '4']; a row without a header"),
    ],
)
def test_choices_that_cannot_be_met(write, text, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_csv(write(text), **settings)


@pytest.mark.parametrize("name", ["columns", "ignore"])
def test_a_column_alone_is_no_list(write, name):
    with pytest.raises(TypeError, match=f"{name} must be a list of columns, got 'id'"):
        load_csv(write(WIDE), **{name: "id"})
    with pytest.raises(TypeError, match=rf"{name} must hold names.* of columns, got 1\.5"):
        load_csv(write(WIDE), **{name: [1.5]})


def test_blanks_around_names_do_not_count(write):
    path = write(" label , a,b ,c\nyes ,1,2,3\nyes,4,5,6\n")
    for settings in ({"columns": [" a", "b"], "label": " label"}, {"columns": ["a", "b "]}, {"ignore": [" c"]}):
        X, y, names = load_csv(path, **settings)
        assert (X.tolist(), y.tolist(), names) == ([[1, 4], [2, 5]], ["yes", "yes"], ["a", "b"])


def test_a_column_left_out_does_not_make_a_header(write):
    path = write("r0,1.5,2.5,1\nr1,3.5,4.5,0\n")
    for place in (0, -4):
        X, y, names = load_csv(path, 3, ignore=[place])
        assert (X.tolist(), y.tolist(), names) == ([[1.5, 3.5], [2.5, 4.5]], [1, 0], ["0", "1"])
    assert load_csv(write("r,a,b,c\nr1,3.5,4.5,0\n"), 3, ignore=[0])[2] == ["a", "b"]


def test_the_names_that_are_asked_for_make_a_header(write):
    X, _, names = load_csv(write("1,0,2\n3,4,5\n"), None, columns=["0", "1"])
    assert (X.tolist(), names) == ([[4], [3]], ["0", "1"])


def test_a_first_label_of_text_above_one_that_looks_like_a_number(write):
    path = write("K,0.1,0.2\n1,0.3,0.4\n2,0.5,0.6\n")
    X, y, names = load_csv(path, 0, text_labels=True)
    assert (X.shape, y.tolist(), names) == ((2, 3), ["K", "1", "2"], ["0", "1"])
    X, y, names = load_csv(path, 0)  # it may as well be the name of labels 1 and 2
    assert (X.shape, y.tolist(), names) == ((2, 2), [1, 2], ["0.1", "0.2"])


def test_text_labels_without_labels(write):
    assert load_csv(write(WIDE), None, ignore=["id", "day"], text_labels=True)[1] is None


def test_a_header_that_counts(write):
    path = write("0,1,2,3\n4,5,6,7\n")
    assert load_csv(path, None)[0].shape == (4, 1)
    assert load_csv(path, None, header=False)[0].shape == (4, 2)
    assert load_csv(path, "3")[1].tolist() == [7]
    assert load_csv(write("0,1,2\n4,5,6\n"), None)[0].shape == (3, 2)


@pytest.mark.usefixtures("block")
def test_labels_that_look_like_numbers_may_be_text(write):
    path = write("label,a\n01,1\n1,2\nA,3\n")
    assert load_csv(path, text_labels=True)[1].tolist() == ["01", "1", "A"]
    with pytest.raises(ValueError, match="line 4, column 'label': expected a number, got 'A'"):
        load_csv(path)


def test_a_row_that_has_no_label(write, monkeypatch):
    monkeypatch.setattr(_csv, "_BLOCK", 20)
    with pytest.raises(ValueError, match=r"line 4, column 1 .*: expected 2 cells, got 1"):
        load_csv(write("1e3,dog\n 3 ,cat\n 3 ,dog\n255\n 3 ,dog\n"), 1)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_header_of_a_label_alone(write, suffix):
    text = b"label,0,1\n7,2,3\n8,4,5\n"
    X, y, names = load_csv(write(gzip.compress(text) if suffix else text, "table.csv" + suffix), 0)
    assert (X.tolist(), y.tolist(), names) == ([[2, 4], [3, 5]], [7, 8], ["0", "1"])
    X, y, names = load_csv(write("ash,0,1\n"), -3)
    assert (X.tolist(), y.tolist(), names) == ([[0], [1]], ["ash"], ["0", "1"])


def test_a_header_is_told_from_a_row_with_a_name(write):
    path = write("1,2,kind\n3,4,setosa\n")
    assert load_csv(path, 2)[1].tolist() == ["kind", "setosa"]
    assert load_csv(path, 2, header=True)[1].tolist() == ["setosa"]
    assert load_csv(path, "kind")[2] == ["1", "2"]


HUGE = "1" * 60
FAULTS = {  # content, what the message must hold besides the file's name; label="label"
    "short row": ("label,a,b\n1,2,3\n4,5\n", ["line 3,", "'b'", "expected 3", "got 2"]),
    "short last row": ("label,a,b\n1,2,3\n4,5", ["line 3,", "'b'", "expected 3", "got 2"]),
    "short first row": ("label,a,b\n1\n4,5,6\n", ["line 2,", "'a'", "expected 3", "got 1"]),
    "all rows short": ("label,a,b\n1,2\n4,5\n", ["line 2,", "'b'", "expected 3", "got 2"]),
    "long row": ("label,a,b\n1,2,3\n4,5,6,7\n1,2,3\n", ["line 3,", "after", "'b'", "expected 3", "got 4"]),
    "long first row": ("label,a,b\n1,2,3,4\n5,6,7\n", ["line 2,", "after", "'b'", "expected 3", "got 4"]),
    "all rows long": ("label,a,b\n1,2,3,4\n5,6,7,8\n", ["line 2,", "after", "'b'", "expected 3", "got 4"]),
    "comma at the end": ("label,a,b\n1,2,3\n4,5,6,\n", ["line 3,", "after", "'b'", "expected 3", "got 4"]),
    "long and short": ("label,a,b\n1,2,3,4\n5,6\n", ["line 2,", "expected 3", "got 4"]),
    "text": ("label,a,b\n1,2,3\n4,five,6\n", ["line 3,", "'a'", "'five'"]),
    "text after blank lines": ("\nlabel,a,b\n\n1,2,3\n \n4,five,6\n", ["line 6,", "'a'", "'five'"]),
    "text after a long name": ('label,"a\nb",c\n1,2,3\n4,five,6\n', ["line 4,", r"'a\nb'", "'five'"]),
    "thousands": ('label,a,b\n1,2,"3,000"\n', ["line 2,", "'b'", "'3,000'"]),
    "hexadecimal": ("label,a,b\n1,0x10,3\n", ["line 2,", "'a'", "'0x10'"]),
    "Python's number": ("label,a,b\n1,1_0,3\n", ["line 2,", "'a'", "'1_0'"]),
    "Arabic digit": ("label,a,b\n1,\u0665,3\n", ["line 2,", "'a'", "\u0665"]),
    "true": ("label,a,b\n1,True,3\n", ["line 2,", "'a'", "'True'"]),
    "TRUE": ("label,a,b\n1,2,TRUE\n3,4,TRUE\n", ["line 2,", "'b'", "'TRUE'"]),
    "false": ("label,a,b\n1,false,3\n", ["line 2,", "'a'", "'false'"]),
    "open quote": ('label,a,b\n1,"2,3\n4,5,6\n', ["line 2,", "'a'"]),
    "empty cell": ("label,a,b\n1,2,\n4,5,6\n", ["line 2,", "'b'", "empty"]),
    "empty cells": ("label,a,b\n1,2,3\n,,\n", ["line 3,", "'label'", "empty"]),
    "NaN": ("label,a,b\n1,2,3\n4,nan,6\n", ["line 3,", "'a'", "'nan'"]),
    "missing": ("label,a,b\n1,NA,3\n", ["line 2,", "'a'", "'NA'"]),
    "infinity": ("label,a,b\n1,2,3\n4,5,inf\n", ["line 3,", "'b'", "finite", "'inf'"]),
    "minus infinity": ("label,a,b\n1,2,-inf\n", ["line 2,", "'b'", "finite", "'-inf'"]),
    "too large": ("label,a,b\n1,2,1e39\n", ["line 2,", "'b'", "float32", "'1e39'"]),
    "far too large": ("label,a,b\n1,2,1e400\n", ["line 2,", "'b'", "float32", "'1e400'"]),
    "too large, of many digits": (f"label,a,b\n1,2,{HUGE}\n", ["line 2,", "'b'", "float32"]),
    "label is text": ("label,a,b\n1,2,3\ncat,5,6\n", ["line 3,", "'label'", "'cat'"]),
    "label is a number": ("label,a,b\ncat,2,3\n1,dog,6\n", ["line 3,", "'a'", "expected a number, got 'dog'"]),
    "label is text, short row": ("label,a,b\ncat,2,3\ndog,5\n", ["line 3,", "'b'", "expected 3", "got 2"]),
    "label is text, long row": ("label,a,b\ncat,2,3\ndog,5,6,7\n", ["line 3,", "after", "'b'", "expected 3", "got 4"]),
    "label is text, true": ("a,label,b\n1,a,TRUE\n2,aar,TRUE\n", ["line 2,", "'b'", "'TRUE'"]),
    "label is text, NaN": ("label,a,b\ncat,2,3\nnan,nan,1\n", ["line 3,", "'a'", "'nan'"]),
    "label is text, none": ("label,a,b\ncat,2,3\n ,5,6\n", ["line 3,", "'label'", "empty"]),
    "label is empty": ("label,a,b\n,2,3\n", ["line 2,", "'label'", "empty"]),
    "label is infinite": ("label,a,b\ninf,2,3\n", ["line 2,", "'label'", "finite"]),
    "label is too large": ("label,a,b\n1e39,2,3\n", ["line 2,", "'label'", "float32"]),
    "no such column": ("digit,a,b\n1,2,3\n", ["no column 'label' in ['digit', 'a', 'b']"]),
    "twice": ("label,a,label\n1,2,3\n", ["two", "'label'"]),
    "no header": ("1,2,3\n4,5,6\n", ["header", "'label'", "position"]),
    "one column": ("label\n1\n", ["only column"]),
    "other marks": ("label;a\n1;2\n", ["only column", "it has ';', where a comma is expected"]),
    "empty file": ("", ["empty"]),
    "blank file": ("\n \n\n", ["empty"]),
    "header only": ("label,a,b\n", ["header", "no row"]),
    "header and blank lines": ("label,a,b\n\n \n", ["header", "no row"]),
    "Latin-1 header": ("label,é,b\n1,2,3\n".encode("latin-1"), ["line 1:", "UTF-8"]),
    "Latin-1 cell": ("label,a,b\n1,2,3\n4,é,6\n".encode("latin-1"), ["line 3:", "UTF-8"]),
    "UTF-16": ("label,a,b\n1,2,3\n".encode("utf-16"), ["line 1:", "UTF-8"]),
    "picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ["line 1:", "UTF-8"]),
}


def check_message(error, path, parts):
    """The law of every error: one line that begins with the file's name and holds the parts."""
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(("content", "parts"), FAULTS.values(), ids=FAULTS)
def test_faults(write, content, parts):
    path = write(content)
    with pytest.raises(ValueError, match=re.escape(path.name)) as caught:
        load_csv(path)
    check_message(caught.value, path, parts)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2,3\n4,five,6\n", ["line 2,", "column 1 (from 0)", "'five'"]),
        ("1,2,3\n4,5\n", ["line 2,", "column 2 (from 0)", "got 2"]),
        ("1,2,3\n4,5,6,7\n", ["line 2,", "after column 2 (from 0)", "got 4"]),
        (",,\n4,5,6\n", ["line 1,", "column 0 (from 0)", "empty"]),
        ("1,,3\n4,5,6\n", ["line 1,", "column 1 (from 0)", "empty"]),
        ("nan,2,3\n4,5,6\n", ["line 1,", "column 0 (from 0)", "'nan'"]),
    ],
)
def test_faults_without_header(write, text, parts):
    path = write(text)
    with pytest.raises(ValueError, match="line") as caught:
        load_csv(path, label=0)
    check_message(caught.value, path, parts)


def test_faults_in_one_column(write):
    path = write('1\n\n""\n2\n')
    with pytest.raises(ValueError, match=r"line 3, column 0 .*empty"):
        load_csv(path, label=None)


def test_quote_open_to_the_end(write):
    path = write('label,a\n1,"2')
    with pytest.raises(ValueError, match=r"after line 1: .*EOF") as caught:
        load_csv(path)
    check_message(caught.value, path, [])


def test_fault_deep_in_a_file(write):
    rows = [f"{i % 10},{i % 256},{i % 7}" for i in range(20_000)]
    rows[17_654] = "1,2,x"
    with pytest.raises(ValueError, match=r"deep\.csv: line 17656, column 'b': expected a number, got 'x'$"):
        load_csv(write("label,a,b\n" + "\n".join(rows), "deep.csv"))


def test_message_stays_short(write):
    path = write("digit," + ",".join(f"pixel{i}" for i in range(784)) + "\n" + "1," * 784 + "1\n")
    with pytest.raises(ValueError, match="no column 'label'") as caught:
        load_csv(path)
    check_message(caught.value, path, ["'digit', 'pixel0'", "..."])
    path = write("label,a\n1," + "x" * 5000 + "\n")
    with pytest.raises(ValueError, match="'a'") as caught:
        load_csv(path)
    check_message(caught.value, path, ["line 2,", "xxx...xxx"])


@pytest.mark.parametrize("case", ["no such column", "one column"])
def test_a_note_says_how_to_do_without_labels(write, case):
    # It is no part of the message, which the command prints: its users have nothing that could be None.
    with pytest.raises(ValueError, match="column") as caught:
        load_csv(write(FAULTS[case][0]))
    assert "label=None" in "".join(caught.value.__notes__)
    assert "label=None" not in str(caught.value)


@pytest.mark.parametrize("label", [3, -4, 99])
@pytest.mark.parametrize("header", ["label,a,b\n", ""])
def test_position_out_of_range(write, label, header):
    path = write(header + "1,2,3\n")
    with pytest.raises(ValueError, match="from -3 to 2") as caught:
        load_csv(path, label)
    check_message(caught.value, path, [f"got {label}"])


@pytest.mark.parametrize("label", [1.0, True, False, ["label"], b"label"])
def test_label_of_another_type(write, label):
    with pytest.raises(TypeError, match="name or position"):
        load_csv(write("label,a,b\n1,2,3\n"), label)


WHOLE = b"label,a\n" + b"1,2\n" * 20_000


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix != ".csv"])
@pytest.mark.parametrize("damage", ["none", "half", "tail", "middle"])
def test_damaged_compression(write, suffix, damage):
    packed = WHOLE if damage == "none" else COMPRESS[suffix](WHOLE)
    if damage in ("half", "tail"):
        packed = packed[: len(packed) // 2] if damage == "half" else packed[:-6]
    if damage == "middle":
        packed = packed[: len(packed) // 2] + b"????" + packed[len(packed) // 2 + 4 :]
    path = write(packed, "table" + suffix)
    with pytest.raises(ValueError, match="not a whole") as caught:
        load_csv(path)
    check_message(caught.value, path, [Path(suffix).suffix])


def test_missing_file(tmp_path):
    path = tmp_path / "nowhere.csv"
    with pytest.raises(FileNotFoundError, match=re.escape("nowhere.csv")):
        load_csv(path)


@pytest.mark.parametrize("name", ["folder", "folder.csv.gz"])
def test_directory(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="directory") as caught:
        load_csv(tmp_path / name)
    check_message(caught.value, tmp_path / name, [])


def test_without_pandas(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for text in (
        "label,a,b\n7,0,255\n300,20,40\n",
        "label,a,b\r\n7,0,255\r\n300,20,40\r\n",
        "\nlabel,a,b\n7,0,255\n300,20,40\n\n",
    ):
        for end in text, text.rstrip():
            check(load_csv(write(end.encode())), PIXELS, LABELS, ["a", "b"])
    with pytest.raises(ValueError, match="line 3, column 'a': the cell is empty"):
        load_csv(write("label,a\n1,2\n3,\n"))
    with pytest.raises(ImportError, match=re.escape('pip install "cmlp[cli]"')):
        load_csv(write("label,a\n1,2.5\n"))


SPELLINGS = ["0", "00", "-0", "007", "-7", "255", "256", "-255", str(2**53), str(1 - 2**53), str(2**63), str(-(2**70))]
NO_NUMBERS = ["", "-", "--1", "1-", "1-2", "-1-2", "1 2", "0x1", "1_0", "\N{SUPERSCRIPT TWO}"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("cell", SPELLINGS)
def test_whole_numbers_are_read_as_python_does(write, cell, end):
    path = write(f"label,a{end}{cell},1{end}2,{cell}{end}".encode())
    X, y, _ = load_csv(path, dtype="float64")
    values = np.array([[1, int(cell)]])
    np.testing.assert_array_equal(X, values.astype(np.uint8 if 0 <= int(cell) <= 255 else np.float64), strict=True)
    np.testing.assert_array_equal(y, np.array([int(cell), 2], np.int64 if abs(int(cell)) < 2**53 else np.float64))


def test_threads_that_read_at_once_leave_the_warnings_alone(write, monkeypatch):
    monkeypatch.setattr(_csv, "_BLOCK", 1)
    path = write("label,a\n" + "1,2\n" * 200)
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert all(X.shape == (1, 200) for X, _, _ in pool.map(load_csv, [path] * 20))
    assert warnings.filters == before


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_other_cells_among_whole_numbers(write, cell):
    with pytest.raises(ValueError, match="line 3, column 'b'"):
        load_csv(write(f"label,a,b\n1,2,3\n4,5,{cell}\n7,8,9\n"))


@pytest.mark.parametrize("cells", ["1\n2,3,4", "1,2,3\n4", "1,2\n\n3,4\n5"])
def test_rows_of_whole_numbers_are_told_apart(write, cells):
    """Rows that are too short and too long, but right on the whole."""
    with pytest.raises(ValueError, match=r"line \d, .*expected 2 cells, got \d"):
        load_csv(write(f"label,a\n{cells}\n"))


@pytest.mark.parametrize("label", [0, "y", -1])
def test_columns_of_whole_numbers_are_chosen(write, label):
    path = write("y,a,b,c,z\n1,2,3,4,5\n6,7,8,9,10\n")
    X, y, names = load_csv(path, label, columns=["c", "a"])
    assert (X.tolist(), y.tolist(), names) == ([[4, 9], [2, 7]], [1, 6] if label != -1 else [5, 10], ["c", "a"])


def test_images():
    readme = (IMAGES.parent / "README.md").read_text(encoding="utf-8")
    content = IMAGES.read_bytes()
    assert f"`{hashlib.sha256(content).hexdigest()}`" in readme
    assert f"{len(content):,} bytes" in readme
    X, y, names = load_csv(IMAGES)
    assert (X.shape, X.dtype, X.T.flags.c_contiguous) == ((784, 42000), np.uint8, True)
    assert (X.min(), X.max(), y.dtype) == (0, 255, np.int64)
    assert "| images | " + " | ".join(map(str, np.bincount(y))) + " |" in readme
    assert names == [f"pixel{i}" for i in range(784)]


# ---- train_test_split: sample i is the column (i, i + m, ...), and its label is i


def numbered(n, m, dtype="int64", order="F"):
    return np.array(np.arange(n * m).reshape(n, m), dtype, order=order), np.arange(m)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_split_permutes(dtype, order):
    X, y = numbered(3, 50, order=order)
    X = X.astype(dtype)
    before = X.copy()
    X.flags.writeable = y.flags.writeable = False
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=12, rng=1)
    assert (X_train.shape, X_test.shape, y_train.shape, y_test.shape) == ((3, 38), (3, 12), (38,), (12,))
    drawn = np.concatenate([y_train, y_test])
    assert sorted(drawn) == list(range(50))
    assert (drawn != np.arange(50)).any()
    np.testing.assert_array_equal(np.hstack([X_train, X_test]), before[:, drawn], strict=True)
    np.testing.assert_array_equal(X, before)
    assert X_train.T.flags.c_contiguous
    assert X_test.T.flags.c_contiguous
    assert not np.shares_memory(X_train, X)


def test_split_of_targets():
    X, labels = numbered(2, 20)
    one_hot = np.eye(20, dtype=np.float32)
    _, _, y_train, y_test = train_test_split(X, labels, test_size=5, rng=3)
    _, _, Y_train, Y_test = train_test_split(X, one_hot, test_size=5, rng=3)
    np.testing.assert_array_equal(Y_train, one_hot[:, y_train], strict=True)
    np.testing.assert_array_equal(Y_test, one_hot[:, y_test], strict=True)


def test_split_takes_the_last_of_the_order():
    X, y = numbered(2, 30)
    order = np.random.default_rng(5).permutation(30)
    _, _, y_train, y_test = train_test_split(X, y, test_size=4, rng=5)
    np.testing.assert_array_equal(y_train, order[:-4])
    np.testing.assert_array_equal(y_test, order[-4:])


def test_split_of_the_notebook():
    X, y = numbered(1, 1500)
    _, X_test, _, y_test = train_test_split(X, y)
    assert X_test.shape == (1, 1000)
    assert (X_test[0] == y_test).all()


def test_split_seeds():
    X, y = numbered(2, 100)
    first, again, other = (train_test_split(X, y, 10, rng)[3] for rng in (7, np.random.default_rng(7), 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    rng = np.random.default_rng(7)
    one, two = (train_test_split(X, y, 10, rng)[3] for _ in range(2))
    assert (one != two).any()
    assert any((train_test_split(X, y, 50)[3] != train_test_split(X, y, 50)[3]).any() for _ in range(3))


@pytest.mark.parametrize(
    ("test_size", "count"),
    [
        *[(1, 1), (9, 9), (np.int32(3), 3), (0.1, 1), (0.3, 3), (0.25, 2), (np.float32(0.5), 5)],
        *[(size, None) for size in (0, -1, 10, 11, 0.0, 0.04, 0.96, 1.0, 1.5, -0.5, np.nan, np.inf)],
    ],
)
def test_split_sizes(test_size, count):
    X, y = numbered(2, 10)
    if count is None:
        with pytest.raises(ValueError, match="test_size must"):
            train_test_split(X, y, test_size, rng=0)
    else:
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size, rng=0)
        assert (X_test.shape, y_test.shape) == ((2, count), (count,))
        assert (X_train.shape, y_train.shape) == ((2, 10 - count), (10 - count,))


def test_split_size_of_another_type():
    with pytest.raises(TypeError):
        train_test_split(*numbered(2, 10), test_size="half")


@pytest.mark.parametrize(
    ("x_shape", "y_shape", "message"),
    [
        ((10,), (10,), r"X must .* got \(10,\)"),
        ((2, 5, 10), (10,), r"X must .* got \(2, 5, 10\)"),
        ((2, 10), (9,), r"y must .*\(10,\).* got \(9,\)"),
        ((2, 10), (10, 2), r"y must .*\(n_outputs, 10\).* got \(10, 2\)"),
        ((2, 10), (), r"y must .* got \(\)"),
        ((2, 10), (1, 1, 10), r"y must .* got \(1, 1, 10\)"),
    ],
)
def test_split_shapes(x_shape, y_shape, message):
    with pytest.raises(ValueError, match=message):
        train_test_split(np.zeros(x_shape), np.zeros(y_shape), test_size=3)


@pytest.mark.parametrize("name", ["X", "y"])
def test_split_of_masked_arrays_is_refused(name):
    arrays = {"X": np.ones((2, 5)), "y": np.arange(5.0)}
    arrays[name] = np.ma.masked_equal(arrays[name], 1)
    with pytest.raises(TypeError, match=f"{name} is masked: replace what is masked"):
        train_test_split(**arrays, test_size=2)


def test_split_of_sparse_arrays_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X is sparse, and train_test_split splits arrays: X.toarray\(\), perhaps"):
        train_test_split(sparse.eye_array(5, format="csr"), np.arange(5), test_size=2)


def test_split_takes_lists():
    X_train, X_test, y_train, y_test = train_test_split([[1, 2, 3]], ["a", "b", "c"], test_size=1, rng=0)
    pairs = zip(np.hstack([X_train, X_test])[0], np.hstack([y_train, y_test]), strict=True)
    assert sorted(pairs) == [(1, "a"), (2, "b"), (3, "c")]


def test_split_copies_once():
    X, y = numbered(784, 10_000, "uint8")
    X = np.asarray(X.T, order="C").T
    tracemalloc.start()
    try:
        split = train_test_split(X, y, rng=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(part.nbytes for part in split) == X.nbytes + y.nbytes
    assert peak < 1.1 * (X.nbytes + y.nbytes)
