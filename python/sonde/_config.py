"""The configuration dump: everything that decided how this process runs, as one JSON object (docs/operations.md, `sonde config diff`)."""
from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import math
import os
import platform
import sys
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Type

from . import _sonde

__all__ = ["add_dump_argument", "config_hash", "dump_config", "dump_config_text", "register_encoder"]

_DEPTH_MAX = 32
_INT_BITS = 1024
_encoders: Dict[type, Callable[[Any], Any]] = {}


def register_encoder(cls: Type[Any], encode: Optional[Callable[[Any], Any]] = None) -> Any:
    """encode(value) says what stands for objects of that class and of those below it: anything that can be dumped. Without encode: a
    decorator."""
    if encode is None:
        return lambda fn: register_encoder(cls, fn)
    _encoders[cls] = encode
    return encode


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__qualname__}>"


def _encoder(value: Any) -> Optional[Callable[[Any], Any]]:
    for cls in type(value).__mro__:
        if cls in _encoders:
            return _encoders[cls]
    return None


def _fields(value: Any) -> Any:
    """The members of what is made of members; None: it is not."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, argparse.Namespace):
        return vars(value)
    for name in ("model_fields", "__fields__"):  # pydantic 2 and 1
        members = getattr(type(value), name, None)
        if isinstance(members, Mapping) and hasattr(type(value), "dict"):
            return {**{k: getattr(value, k) for k in members}, **(getattr(value, "__pydantic_extra__", None) or {})}
    return None


def _plain(value: Any, above: Tuple[int, ...] = ()) -> Any:
    """As JSON knows it; what it cannot be told as is told as text."""
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, int) and not isinstance(value, enum.Enum):
        return int(value) if value.bit_length() <= _INT_BITS else hex(value)  # longer ones have no decimal digits
    if isinstance(value, float) and not isinstance(value, enum.Enum):
        return float(value) if math.isfinite(value) else _text(value)
    if len(above) >= _DEPTH_MAX or id(value) in above:
        return f"<{type(value).__qualname__}, told above>" if id(value) in above else _text(value)
    inner = above + (id(value),)
    encode = _encoder(value)
    if encode is not None:
        return _plain(encode(value), inner)
    if isinstance(value, enum.Enum) or isinstance(value, (str, os.PathLike)):
        return _text(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if callable(getattr(type(value), "get_secret_value", None)):  # pydantic's secrets
        return "<REDACTED>"
    members = _fields(value)
    if members is None and isinstance(value, Mapping):
        members = value
    if members is not None:
        return {_text(k): _plain_safe(v, inner) for k, v in members.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain_safe(v, inner) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, (list, tuple)):
        return [_plain_safe(v, inner) for v in value]
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", _text(value))
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict) and own:
        from ._log import warning
        warning("a value of the configuration has no encoder: its attributes are told", type=f"{type(value).__module__}.{type(value).__qualname__}")
        return {k: _plain_safe(v, inner) for k, v in own.items()}
    return _text(value)


def _plain_safe(value: Any, above: Tuple[int, ...] = ()) -> Any:
    try:
        return _plain(value, above)
    except Exception as e:
        return f"<{type(value).__qualname__}: {type(e).__name__} while telling it>"


def _json(value: Any) -> str:
    # Surrogates cannot leave: their place is taken by "?".
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


def _packages() -> Dict[str, str]:
    from importlib.metadata import distributions
    out: Dict[str, str] = {}
    for d in distributions():
        try:
            out[d.metadata["Name"] or "?"] = d.version
        except Exception:  # a folder that is broken
            continue
    return out


def _version_of(packages: Mapping[str, str], module: str) -> Optional[str]:
    loaded = getattr(sys.modules.get(module), "__version__", None)
    return str(loaded) if loaded else packages.get(module)


def _runtime() -> Dict[str, Any]:
    v = sys.version_info
    return {"python_version": sys.version, "python_version_info": {"major": v.major, "minor": v.minor, "micro": v.micro},
            "python_executable": sys.executable, "python_implementation": platform.python_implementation(),
            "command_line_args": [_text(a) for a in sys.argv]}


def _from(config: Any, parser: argparse.ArgumentParser) -> Dict[str, str]:
    """Where each argument comes from, as far as the values tell."""
    return {k: "default" if v == parser.get_default(k) else "command line" for k, v in vars(config).items()}


def _dump(config: Any, path: Optional[str], parser: Optional[argparse.ArgumentParser], redact: Sequence[str], prefixes: Optional[Sequence[str]],
          include_sensitive: bool, gpu: bool, extra: Dict[str, Any], as_text: bool) -> Optional[str]:
    packages: Dict[str, str] = {}
    try:
        told = None if config is None else _plain(config)
        if told is not None and not isinstance(told, dict):
            told = {"value": told}
        more = {k: _plain_safe(v) for k, v in extra.items()}
        packages = _packages()
        for engine in ("vllm", "sglang"):
            version = _version_of(packages, engine)
            if version:
                more.setdefault(f"{engine}_version", version)
        if parser is not None and isinstance(config, argparse.Namespace):
            more["config_from"] = _from(config, parser)
    except Exception as e:
        told, more = None, {"error": f"{type(e).__name__}: {_text(e)}"}
    version = _version_of(packages, "dynamo") or packages.get("ai-dynamo")
    return _sonde.config_dump(path, None if told is None else _json(told), version, _json(packages), _json(_runtime()), _json(more),
                              tuple(redact), None if prefixes is None else tuple(prefixes), include_sensitive, gpu, as_text)


def dump_config(config: Any = None, path: Optional["str | os.PathLike[str]"] = None, *, parser: Optional[argparse.ArgumentParser] = None,
                redact: Sequence[str] = (), prefixes: Optional[Sequence[str]] = None, include_sensitive: bool = False, gpu: bool = True,
                **extra: Any) -> None:
    """Writes system, environment, config, settings of libsonde with their provenance, Python, GPUs and packages as JSON to path (an INFO
    record names it), or as one DEBUG record. Never raises: what cannot be told is told as text, what cannot be written is a record.

    config: a mapping, dataclass, pydantic model, argparse.Namespace, or anything register_encoder() knows. parser: adds config_from, which
    tells of each argument whether it is the default. redact: more parts of names whose values are hidden. prefixes: of the environment
    variables, in place of the usual ones. Further keywords become keys at the top.
    """
    try:
        _dump(config, None if path is None else os.path.abspath(os.fspath(path)), parser, redact, prefixes, include_sensitive, gpu, extra, False)
    except Exception as e:
        from ._log import error
        error("the configuration was not dumped", **{"error": f"{type(e).__name__}: {_text(e)}"})


def dump_config_text(config: Any = None, **more: Any) -> str:
    """The same as text; keywords as for dump_config()."""
    known = {k: more.pop(k, d) for k, d in (("parser", None), ("redact", ()), ("prefixes", None), ("include_sensitive", False), ("gpu", True))}
    return _dump(config, None, extra=more, as_text=True, **known) or "{}"


def config_hash() -> str:
    """16 hex digits over the configuration of the last dump: equal in processes of one configuration."""
    return _sonde.config_hash()


def add_dump_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --dump-config-to PATH; afterwards sonde.dump_config(args, args.dump_config_to)."""
    parser.add_argument("--dump-config-to", metavar="PATH", default=None, help="write the configuration of this process to that file, as JSON")
