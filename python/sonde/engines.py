"""vLLM, SGLang and TensorRT-LLM: the logging configuration each of them takes, so that their lines come out like all others, in the
chosen format and with the ids of the request.

    os.environ.update(sonde.engines.vllm().environment)      # before the engine is imported
    logging.config.dictConfig(sonde.engines.vllm().config)   # in process
"""
from __future__ import annotations

import json
import logging
import os
import tempfile
import zlib
from dataclasses import dataclass, field
from typing import Any, Dict, Optional

_TRUE = ("1", "true", "on", "yes")
_PYTHON = {"trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL"}
_TRTLLM = {"trace": "TRACE", "debug": "VERBOSE", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR", "critical": "ERROR"}


@dataclass
class EngineLogging:
    """What makes an engine log through libsonde."""

    environment: Dict[str, str] = field(default_factory=dict)  # to be set before the engine is imported
    config: Dict[str, Any] = field(default_factory=dict)       # for logging.config.dictConfig; {} where the engine has none


def default_level() -> str:
    """The level that DYN_LOG gives to what no directive names: "info,x=debug" is info."""
    for part in os.environ.get("DYN_LOG", "").split(","):
        word = part.strip().lower()
        if word in _PYTHON:
            return word
    return "info"


class NoHealthChecks(logging.Filter):
    """Leaves out the DEBUG records with which an engine tells of each health check, and access lines of health paths."""

    _PATHS = ("/health", "/live", "/metrics", "/ping")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG and record.name == "vllm.v1.engine.async_llm":
            return "health" not in record.getMessage().lower()
        if record.name == "uvicorn.access":
            args = record.args
            path = str(args[2]) if isinstance(args, tuple) and len(args) > 2 else record.getMessage()
            return not path.split("?")[0].rstrip("/").endswith(self._PATHS)
        return True


def _config(loggers: tuple[str, ...], level: str) -> Dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"no_health_checks": {"()": "sonde.engines.NoHealthChecks"}},
        "handlers": {"sonde": {"class": "sonde.logging.Handler", "filters": ["no_health_checks"]}},
        "loggers": {name: {"handlers": ["sonde"], "level": level, "propagate": False} for name in loggers},
    }


def _written(config: Dict[str, Any], name: str) -> str:
    directory = os.path.join(tempfile.gettempdir(), f"sonde-{os.getuid()}")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    text = json.dumps(config)
    path = os.path.join(directory, f"{name}-{zlib.crc32(text.encode()):08x}.json")  # one file for all processes of one configuration
    if not os.path.exists(path):
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(f.name, path)
    return path


def vllm(level: Optional[str] = None, file: bool = True) -> EngineLogging:
    """vLLM: VLLM_LOGGING_CONFIG_PATH with a file of the configuration (file=True), and VLLM_CONFIGURE_LOGGING=1. level: one of
    logging's names; VLLM_LOGGING_LEVEL wins, else DYN_LOG's default."""
    chosen = (os.environ.get("VLLM_LOGGING_LEVEL") or level or _PYTHON[default_level()]).upper()
    config = _config(("vllm",), chosen)
    environment = {"VLLM_CONFIGURE_LOGGING": "1"}
    if file:
        environment["VLLM_LOGGING_CONFIG_PATH"] = _written(config, "vllm")
    return EngineLogging(environment, config)


def sglang(level: Optional[str] = None, file: bool = True) -> EngineLogging:
    """SGLang: SGLANG_LOGGING_CONFIG_PATH. level as for vllm()."""
    config = _config(("sglang", "gpu_memory_service"), (level or _PYTHON[default_level()]).upper())
    return EngineLogging({"SGLANG_LOGGING_CONFIG_PATH": _written(config, "sglang")} if file else {}, config)


def trtllm(level: Optional[str] = None) -> EngineLogging:
    """TensorRT-LLM reads TLLM_LOG_LEVEL once, when it is imported; its Python side logs through the logger TRT-LLM."""
    chosen = os.environ.get("TLLM_LOG_LEVEL") or level or _TRTLLM[default_level()]
    return EngineLogging({"TLLM_LOG_LEVEL": chosen}, _config(("TRT-LLM",), "DEBUG" if chosen in ("TRACE", "VERBOSE") else chosen))


def _truthy(name: str) -> bool:
    return os.environ.get(name, "").lower() in _TRUE


def configure_loggers() -> None:
    """The engines' loggers in this process, those that exist and those to come: no handlers of their own, records go to the root."""
    for skip, names in (("DYN_SKIP_VLLM_LOG_FORMATTING", ("vllm",)), ("DYN_SKIP_SGLANG_LOG_FORMATTING", ("sglang", "gpu_memory_service")),
                        ("DYN_SKIP_TRTLLM_LOG_FORMATTING", ("TRT-LLM",))):
        if _truthy(skip):
            continue
        for name in names:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
    for name in ("vllm.v1.engine.async_llm", "uvicorn.access"):  # at these loggers, so that no other record asks the filter
        logger = logging.getLogger(name)
        if not any(isinstance(f, NoHealthChecks) for f in logger.filters):
            logger.addFilter(NoHealthChecks())
    if not _truthy("DYN_SKIP_VLLM_LOG_FORMATTING"):
        os.environ.update({k: v for k, v in vllm().environment.items() if k not in os.environ})
    if not _truthy("DYN_SKIP_SGLANG_LOG_FORMATTING"):
        os.environ.update({k: v for k, v in sglang().environment.items() if k not in os.environ})
