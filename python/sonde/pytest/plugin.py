"""The pytest plug-in: a folder, a log and spans for each test, fixtures for processes, a report on failure that names the cause."""
from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import os
import pathlib
from typing import Any, Callable, Dict, Generator, Iterator, List, Optional

import pytest

from .. import _life, _trace
from . import folder, report
from .faults import Faults
from .ports import free_port as _free_port
from .process import ManagedProcess, default_name
from .server import SondeServer
from .state import State

if "wrapper" not in inspect.signature(pytest.hookimpl.__call__).parameters:
    raise pytest.UsageError("the plug-in of sonde needs pluggy 1.2 or later: pip install -U pluggy, or run pytest with -p no:sonde")

_STATE = pytest.StashKey[State]()
_ROOT = pytest.StashKey[pathlib.Path]()
_NAMES = pytest.StashKey[Dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sonde", "evidence of each test")
    group.addoption("--sonde-dir", metavar="DIR", default=None, help="folder of the tests' folders (DYN_TEST_OUTPUT_PATH, else test-results)")
    group.addoption("--sonde-keep", choices=("all", "failed", "none"), default="all", help="which tests' folders stay (default: all)")
    group.addoption("--sonde-log-level", metavar="LEVEL", default="INFO", help="of test.log.txt (default: INFO)")


def _level(config: pytest.Config) -> int:
    word = str(config.getoption("--sonde-log-level")).upper()
    level = logging.getLevelName(word)
    if not isinstance(level, int):
        raise pytest.UsageError(f"--sonde-log-level {word}: a level of the logging module is wanted, as DEBUG or INFO")
    return level


def pytest_configure(config: pytest.Config) -> None:
    _level(config)
    given = config.getoption("--sonde-dir") or os.environ.get("DYN_TEST_OUTPUT_PATH") or "test-results"
    config.stash[_ROOT] = pathlib.Path(str(given)).absolute()  # now: a test may leave the directory
    _life.init("pytest")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: List[pytest.Item]) -> None:
    # of all that was collected, before a choice is made (-k, --lf), and in every worker of xdist alike
    session.stash[_NAMES] = folder.names_of(items)


# ---- a test's life --------------------------------------------------------------------------------------------------------------
def _folder_of(item: pytest.Item) -> pathlib.Path:
    plain, root = folder.folder_name(item.name), item.config.stash[_ROOT]
    try:
        return folder.make(root, item.session.stash.get(_NAMES, {}).get(item.nodeid, plain), item.nodeid, earlier=plain)
    except OSError as e:
        pytest.exit(f"the tests' folders cannot be made: {e}; choose another --sonde-dir", returncode=int(pytest.ExitCode.USAGE_ERROR))


def _kept(item: pytest.Item, failed: bool) -> bool:
    keep = item.config.getoption("--sonde-keep")
    return bool(keep == "all" or (keep == "failed" and failed))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    state = State(_folder_of(item), item.nodeid, _level(item.config))
    item.stash[_STATE] = state
    if _kept(item, failed=True):
        item.user_properties.append(("sonde_dir", str(state.folder)))  # JUnit's <property>
    try:
        return (yield)
    finally:
        state.end()
        if state.outcome == "passed":
            report.remember(item.config.stash[_ROOT], state)
        flaky = state.attempt > 1
        if not _kept(item, state.outcome in ("failed", "interrupted") or flaky):
            folder.drop(state.folder, state.nodeid)


def _phase(item: pytest.Item, name: str) -> "contextlib.AbstractContextManager[Any]":
    state = item.stash.get(_STATE, None)
    return contextlib.nullcontext() if state is None else _trace.span(name, parent=state.span)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    state = item.stash.get(_STATE, None)
    if state is not None:
        if state.set_up:
            state.begin()  # the test runs once more
        state.set_up = True
    with _phase(item, "setup"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _phase(item, "call"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _phase(item, "teardown"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    result = yield
    state = item.stash.get(_STATE, None)
    if state is None:
        return result
    state.saw(result.when, result.outcome, _reason(call))
    if result.failed:
        logging.getLogger("sonde.test").error("%s of %s failed: %s", result.when, item.nodeid, _reason(call))
        text = report.of_failure(item.config.stash[_ROOT], state, _kept(item, failed=True))
        result.sections.append((f"sonde: {state.folder}", report.write(state.folder / "report.txt", text)))
        if _kept(item, failed=True):
            _extras(item, result, state)
    elif result.when == "call" and state.outcome == "passed" and state.attempt > 1:
        result.sections.append((report.FLAKY, report.write(state.folder / "flaky.txt", report.of_flaky(state))))
    return result


def _reason(call: pytest.CallInfo[None]) -> str:
    lines = call.excinfo.exconly(tryshort=True).splitlines() if call.excinfo else []
    return lines[0] if lines else "?"


def _extras(item: pytest.Item, result: pytest.TestReport, state: State) -> None:
    html = item.config.pluginmanager.getplugin("html")
    if html is None:
        return
    with contextlib.suppress(ImportError):
        from pytest_html import extras  # type: ignore[import-not-found, import-untyped, unused-ignore]
        setattr(result, "extras", [*getattr(result, "extras", []), extras.url(state.folder.as_uri(), name="logs")])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    flaky = [text for r in terminalreporter.stats.get("passed", []) for title, text in getattr(r, "sections", []) if title == report.FLAKY]
    if flaky:
        terminalreporter.section("sonde: flaky tests")
        terminalreporter.write_line("\n\n".join(flaky))


# ---- fixtures ---------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def sonde_dir(request: pytest.FixtureRequest) -> pathlib.Path:
    """The test's own folder."""
    return request.node.stash[_STATE].folder  # type: ignore[no-any-return]


@pytest.fixture
def managed_process(request: pytest.FixtureRequest) -> Iterator[Callable[..., ManagedProcess]]:
    """managed_process(command, name=None, *, ready_url=None, ready_port=None, ready_log=None, timeout=60, env=None, cwd=None, echo=False,
    file_limit=None): starts a command; its output goes into <folder>/<name>.log.txt; ended with everything it started when the test ends.
    When the test also uses sonde_server, its spans and records go there."""
    state: State = request.node.stash[_STATE]
    if "sonde_server" in request.fixturenames:
        request.getfixturevalue("sonde_server")  # it must be there before the processes and end after them

    def start(command: Any, name: Optional[str] = None, *, ready_url: Optional[str] = None, ready_port: Optional[int] = None,
              ready_log: Optional[str] = None, timeout: float = 60.0, env: Optional[Dict[str, str]] = None, cwd: Any = None, echo: bool = False,
              file_limit: Optional[int] = None) -> ManagedProcess:
        given = {**(state.server.env if state.server else {}), **(env or {})}
        taken = {folder.folder_name(p.name) for p in state.processes}
        if name is not None and folder.folder_name(name) in taken:
            raise ValueError(f"managed_process: a process of this test is called {name!r} already")
        plain = name or default_name(command)
        names = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        p = ManagedProcess(command, state.folder, next(n for n in names if folder.folder_name(n) not in taken), env=given, cwd=cwd, echo=echo,
                           file_limit=file_limit)
        state.processes.append(p)
        return p.wait_ready(url=ready_url, port=ready_port, log=ready_log, timeout=timeout) if ready_url or ready_port or ready_log else p

    yield start
    for p in reversed(state.processes):
        p.stop()


@pytest.fixture
def sonde_server(request: pytest.FixtureRequest) -> Iterator[SondeServer]:
    """A private `sonde serve` on free ports, with a store in the test's folder. Skips the test where the program is not installed."""
    state: State = request.node.stash[_STATE]
    try:
        state.server = SondeServer(state.folder)
    except FileNotFoundError as e:
        pytest.skip(str(e))
    yield state.server
    state.server.stop()


@pytest.fixture
def faults() -> Iterator[Faults]:
    """Faults on purpose: kill, crash, terminate, freeze, thaw, frozen, pause, slow_network, disk_full; each is marked in the logs."""
    f = Faults()
    yield f
    f.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """free_port(): a TCP port that no other test gets, in any worker of xdist."""
    return _free_port
