"""The schema: what a record may hold, and that each fault is named by its field."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from reports.record import FIELDS, Key, Record

GOOD: dict[str, Any] = {
    "case": "ada/native/forward/float32/nchw/k2s2p0/4x64x112x112",
    "method": "ada",
    "implementation": "native",
    "direction": "forward",
    "kernel": [2, 2],
    "stride": [2, 2],
    "padding": [0, 0],
    "ceil_mode": False,
    "shape": [4, 64, 112, 112],
    "dtype": "float32",
    "layout": "nchw",
    "device": "cpu",
    "probe": "latency",
    "metric": "time",
    "unit": "s",
    "clock": "cold",
    "protocol": None,
    "image": None,
    "status": "ok",
    "reason": None,
    "value": 2e-3,
    "samples": [3e-3, 1e-3, 2e-3, 9.0],
    "kept": [True, True, True, False],
    "stop": "precise",
    "measurement": {"threads": 2, "verified": True},
    "warnings": [],
    "machine": "cpu-1",
    "commit": None,
    "dirty": None,
    "version": "0.1",
    "time": "2025-01-02T03:04:05+00:00",
    "command": "runner.py bench --method ada --kernel 2",
    "bytes": 16056320,
}
RETENTION = {
    "probe": "retention",
    "metric": "psnr",
    "unit": "dB",
    "clock": None,
    "protocol": "P1",
    "image": "cat",
}
SCALAR = {"samples": None, "kept": None, "stop": None}


def test_a_record_survives_the_round_trip_as_one_ascii_line() -> None:
    record = Record(**{**GOOD, "reason": "naïve\u2028<b>", "status": "failed", "value": None, **SCALAR})
    line = record.to_json()
    assert "\n" not in line
    assert line.isascii()
    assert Record.from_json(line) == record
    assert Record.from_json(line.encode()) == record
    assert set(json.loads(line)) == set(FIELDS)


def test_key_is_what_resume_compares() -> None:
    assert Record(**GOOD).key == Key(GOOD["case"], "latency", "time", "cold", None, None)
    assert Record(**{**GOOD, **RETENTION, **SCALAR}).key[3:] == (None, "P1", "cat")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("schema", {"schema": 0}),
        ("case", {"case": ""}),
        ("case", {"case": "two\nlines"}),
        ("method", {"method": None}),
        ("implementation", {"implementation": "fast"}),
        ("direction", {"direction": "sideways"}),
        ("layout", {"layout": "nhwc"}),
        ("kernel", {"kernel": [0, 2]}),
        ("kernel", {"kernel": (2, 2)}),
        ("kernel", {"kernel": [2.0, 2.0]}),
        ("stride, padding", {"stride": [2]}),
        ("padding", {"padding": [True, False]}),
        ("shape", {"shape": [-1]}),
        ("ceil_mode", {"ceil_mode": 0}),
        ("probe", {"probe": "speed"}),
        ("metric", {"metric": "psnr"}),
        ("unit", {"unit": "ms"}),
        ("clock", {"clock": None}),
        ("clock", {"clock": "warm"}),
        ("protocol", {"protocol": "P1"}),
        ("image", {"image": "cat"}),
        ("clock", {**RETENTION, **SCALAR, "clock": "cold"}),
        ("protocol", {**RETENTION, **SCALAR, "protocol": None}),
        ("image", {**RETENTION, **SCALAR, "image": "a/b.png"}),
        ("status", {"status": "good"}),
        ("reason", {"reason": "why"}),
        ("reason", {"status": "failed", "value": None, **SCALAR}),
        ("value", {"status": "failed", "reason": "r"}),
        ("samples", {"status": "incorrect", "reason": "r", "value": None}),
        ("value", {"value": None}),
        ("value", {"value": math.nan}),
        ("value", {"value": math.inf, **SCALAR}),
        ("value", {"value": "1"}),
        ("value", {"value": 2.1e-3}),
        ("samples", {"samples": [1e-3, math.nan, 2e-3, 3e-3]}),
        ("samples", {"samples": [1e-3, "2", 2e-3, 3e-3]}),
        ("samples, kept", {"kept": None}),
        ("kept", {"kept": [True]}),
        ("kept", {"kept": [1, 1, 1, 0]}),
        ("kept", {"kept": [False] * 4}),
        ("stop", {"stop": "bored"}),
        ("measurement", {"measurement": None}),
        ("measurement", {"measurement": {1: 2}}),
        ("warnings", {"warnings": "few samples"}),
        ("warnings", {"warnings": [1]}),
        ("machine", {"machine": ""}),
        ("command", {"command": "a\nb"}),
        ("dirty", {"dirty": "yes"}),
        ("bytes", {"bytes": -1}),
        ("bytes", {"bytes": 1.5}),
        ("time", {"time": "yesterday"}),
        ("time", {"time": "2025-01-02T03:04:05"}),
        ("time", {"time": "2025-01-02T03:04:05+02:00"}),
    ],
)
def test_each_fault_is_refused_and_named(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        Record(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "ms"}, "unit: expected 's' for time, got 'ms'"),
        ({"image": "cat"}, "image: expected null for probe latency, got 'cat'"),
        ({"clock": ["cold"]}, "clock: expected one of cold, hot, graph, host, got ['cold']"),
        ({"reason": "why"}, "reason: expected null for status ok, got 'why'"),
        ({"value": None}, "value: expected a finite number for status ok, got None"),
        ({"status": "oom", "reason": "r", "value": None}, "samples: expected null for status oom, got [0.003,"),
        ({"shape": [-1]}, "shape: expected a list, each a whole number from 0 on, got [-1]"),
    ],
)
def test_a_refusal_says_what_was_expected_and_why_there(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        Record(**{**GOOD, **changes})


def test_a_final_z_is_utc() -> None:
    assert Record(**{**GOOD, "time": "2025-01-02T03:04:05Z"}).time.endswith("Z")


def test_measurement_that_is_no_json_is_refused_on_writing() -> None:
    for content in ({"x": math.nan}, {"x": object()}):
        with pytest.raises(ValueError, match=r"^measurement: "):
            replace(Record(**GOOD), measurement=content).to_json()


def test_reading_names_what_is_wrong() -> None:
    good = {"schema": 1, **GOOD}
    without = {name: value for name, value in good.items() if name != "metric"}
    for line, message in [
        ("{", "^record: expected one JSON object"),
        ("[1]", "^record: expected one JSON object, got list"),
        ("{}", "^schema: "),
        (json.dumps(without), "^metric: .*missing"),
        (json.dumps({**good, "schema": 2}), "^schema: .*newer"),
        (json.dumps({**good, "value": math.nan}), "NaN is not JSON"),
    ]:
        with pytest.raises(ValueError, match=message):
            Record.from_json(line)
    assert Record.from_json(json.dumps({**good, "colour": "red"})) == Record(**GOOD)


def test_importing_the_schema_and_the_package_is_light() -> None:
    code = (
        "import sys, reports, reports.record, reports.store;"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'seaborn', 'jinja2', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
