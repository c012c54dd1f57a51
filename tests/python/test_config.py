"""The configuration dump."""
import argparse
import collections
import dataclasses
import enum
import json
import pathlib
import sys

import pytest

import sonde


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Inner:
    a: int = 1
    api_key: str = "hush"


@dataclasses.dataclass
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    path: pathlib.Path = pathlib.Path("/x")


class Plain:
    def __init__(self):
        self.x = {3, 1, 2}


class Hostile:
    def __str__(self):
        raise RuntimeError("no")
    __repr__ = __str__

    @property
    def __dict__(self):
        raise RuntimeError("no")


def dumped(config, **more):
    return json.loads(sonde.dump_config_text(config, gpu=False, **more))


@pytest.mark.parametrize("value,want", [
    ({"a": 1, "é": "ü", 3: None}, {"a": 1, "é": "ü", "3": None}),
    (Outer(), {"inner": {"a": 1, "api_key": "<REDACTED>"}, "path": "/x"}),
    (argparse.Namespace(model="m", sizes=(1, 2)), {"model": "m", "sizes": [1, 2]}),
    ({"e": Color.RED, "l": Level.LOW}, {"e": str(Color.RED), "l": str(Level.LOW)}),
    ({"s": {"b", "a"}, "f": frozenset([2, 1])}, {"s": ["a", "b"], "f": [1, 2]}),
    ({"nan": float("nan"), "inf": float("inf"), "f": 1.5}, {"nan": "nan", "inf": "inf", "f": 1.5}),
    ({"b": b"x\xff", "u": "\ud800"}, {"b": "x\ufffd", "u": "?"}),
    ({"o": Plain()}, {"o": {"x": [1, 2, 3]}}),
    ({"fn": dumped, "c": Plain}, {"fn": "dumped", "c": "Plain"}),
    (collections.OrderedDict(z=1), {"z": 1}),
    ([1, 2], {"value": [1, 2]}),
])
def test_values(value, want):
    assert dumped(value)["config"] == want


def test_pydantic():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        name: str = "m"
        color: Color = Color.RED
        inner: dict = {"password": "p"}

    assert dumped(Model())["config"] == {"name": "m", "color": str(Color.RED), "inner": {"password": "<REDACTED>"}}


def test_secrets_of_pydantic():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        credentials: pydantic.SecretStr = pydantic.SecretStr("hidden")

    assert dumped(Model())["config"] == {"credentials": "<REDACTED>"}


def test_what_cannot_be_told_does_not_raise():
    assert dumped({"huge": 10**5000, "large": 2**64})["config"] == {"huge": hex(10**5000), "large": 2**64}
    loop = {}
    loop["me"] = loop
    assert "told above" in dumped(loop)["config"]["me"]
    deep = []
    for _ in range(500):
        deep = [deep]
    out = dumped({"deep": deep, "bad": Hostile(), "good": 1})["config"]
    assert out["good"] == 1 and "Hostile" in out["bad"]


def test_registered_encoders():
    class Device:
        pass

    class Gpu(Device):
        pass

    @sonde.register_encoder(Device)
    def encode(d):
        return {"device": type(d).__name__}

    assert dumped({"d": Gpu()})["config"] == {"d": {"device": "Gpu"}}


def test_keys_and_provenance(monkeypatch):
    monkeypatch.setenv("DYN_SOMETHING", "1")
    monkeypatch.setenv("HF_TOKEN", "hush")
    parser = argparse.ArgumentParser()
    sonde.add_dump_argument(parser)
    parser.add_argument("--tp", type=int, default=1)
    parser.add_argument("--model", default="m")
    args = parser.parse_args(["--tp", "2"])
    out = dumped(args, parser=parser, engine={"password": "x"})
    assert {"system_info", "environment", "config", "runtime_info", "dynamo_version", "gpu_info", "installed_packages", "settings", "config_hash"} <= set(out)
    assert out["environment"]["DYN_SOMETHING"] == "1" and out["environment"]["HF_TOKEN"] == "<REDACTED>"
    assert out["runtime_info"]["python_version_info"] == dict(zip(("major", "minor", "micro"), sys.version_info[:3]))
    assert out["installed_packages"]["pytest"] and out["dynamo_version"] == "0.0.0+unknown" and "vllm_version" not in out
    assert out["config_from"] == {"tp": "command line", "model": "default", "dump_config_to": "default"}
    assert out["engine"] == {"password": "<REDACTED>"}
    assert dumped({}, include_sensitive=True)["environment"]["HF_TOKEN"] == "hush"
    assert "DYN_SOMETHING" not in dumped({}, prefixes=["XYZ_"])["environment"]
    assert dumped({"odd": 1}, redact=["ODD"])["config"] == {"odd": "<REDACTED>"}
    assert len(sonde.config_hash()) == 16


def test_files_and_records(run, tmp_path):
    target, blocked = tmp_path / "a" / "b" / "dump.json", tmp_path / "file"
    blocked.write_text("")
    code, _, lines = run(f"""
import sonde
sonde.dump_config({{"a": 1}}, {str(target)!r}, gpu=False, extra_key=5)
sonde.dump_config({{"a": 1}}, {str(blocked / 'x')!r}, gpu=False)
sonde.dump_config({{"a": 2}}, gpu=False)
""", env={"DYN_LOG": "debug"})
    assert code == 0, run.other
    text = target.read_text()
    out = json.loads(text)
    assert out["config"] == {"a": 1} and out["extra_key"] == 5 and list(out) == sorted(out) and "\n" not in text.strip() and '": ' not in text.replace('\\"', "")[:50]
    told = [(x["level"], x["message"]) for x in lines]
    assert any(level == "INFO" and str(target) in message + json.dumps(lines[i]) for i, (level, message) in enumerate(told))
    assert any(level == "ERROR" for level, _ in told)
    assert any(level == "INFO" and m.startswith("CONFIG_DUMP: {") for level, m in told)
    assert any(level == "DEBUG" and m.startswith("CONFIG_DUMP: {") and '"a":2' in m for level, m in told)
