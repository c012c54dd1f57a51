"""Logging stays with libsonde although other code configures it.

SGLang calls logging.basicConfig(force=True), uvicorn and vLLM call dictConfig, many programs add a StreamHandler: each would take
its lines away. Where hold() was called, a handler that writes to the console gives way to libsonde's, with its level and its filters;
files, sockets and queues stay as they are. Nothing is imported for it that the program does not import.
"""
from __future__ import annotations

import functools
import logging
import sys
from typing import Any, Optional

from .logging import Handler

_prefix: Optional[str] = None  # None: nothing is held
_add_handler = logging.Logger.addHandler
_basic_config = logging.basicConfig


def is_console(handler: logging.Handler) -> bool:
    """Whether it writes to stdout or stderr."""
    stream = getattr(handler, "stream", None) if isinstance(handler, logging.StreamHandler) else None
    if stream is None or isinstance(handler, logging.FileHandler):
        return False
    if any(stream is s for s in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        return True
    try:
        return bool(stream.fileno() in (1, 2))
    except Exception:  # a stream in memory
        return False


def _instead(handler: logging.Handler) -> Handler:
    ours = Handler(_prefix or "", handler.level)
    ours.filters = list(handler.filters)
    return ours


@functools.wraps(_add_handler)
def _held_add_handler(self: logging.Logger, handler: logging.Handler) -> None:
    _add_handler(self, _instead(handler) if is_console(handler) else handler)


@functools.wraps(_basic_config)
def _held_basic_config(**options: Any) -> None:
    """As if libsonde's handler were not there: files that are asked for are opened."""
    root = logging.getLogger()
    if all(isinstance(h, Handler) for h in root.handlers):
        for handler in list(root.handlers):
            root.removeHandler(handler)
    try:
        _basic_config(**options)
    finally:
        _take_back()


def _take_back() -> None:
    """Behind a configuration: libsonde's handler at the root again, whose level is libsonde's business; other handlers keep to the
    level that was asked for."""
    root = logging.getLogger()
    for logger in [root, *(x for x in list(root.manager.loggerDict.values()) if isinstance(x, logging.Logger))]:
        for handler in list(logger.handlers):
            if is_console(handler):
                logger.removeHandler(handler)
                _add_handler(logger, _instead(handler))
    for handler in root.handlers:
        if isinstance(handler, Handler):
            handler.setLevel(logging.NOTSET)
        elif handler.level < root.level:
            handler.setLevel(root.level)
    if not any(isinstance(h, Handler) for h in root.handlers):
        _add_handler(root, Handler(_prefix or ""))
    root.setLevel(1)


def _hold_config(module: Any) -> None:
    """logging.config, once it is there."""
    configure, file_config = module.DictConfigurator.configure, module.fileConfig

    @functools.wraps(configure)
    def held_configure(self: Any) -> None:
        try:
            configure(self)
        finally:
            _take_back()

    @functools.wraps(file_config)
    def held_file_config(*args: Any, **options: Any) -> None:
        try:
            file_config(*args, **options)
        finally:
            _take_back()

    module.DictConfigurator.configure, module.fileConfig = held_configure, held_file_config


class _Watch:
    """Waits for the import of logging.config, which costs as much as all of libsonde's."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name != "logging.config":
            return None
        sys.meta_path.remove(_Watch)
        from importlib.machinery import PathFinder
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                _hold_config(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def hold(prefix: str = "") -> None:
    """From now on, for good. prefix: of the messages that come through handlers made here."""
    global _prefix
    first, _prefix = _prefix is None, prefix
    if not first:
        return
    setattr(logging.Logger, "addHandler", _held_add_handler)
    setattr(logging, "basicConfig", _held_basic_config)
    if "logging.config" in sys.modules:
        _hold_config(sys.modules["logging.config"])
    else:
        sys.meta_path.insert(0, _Watch)
