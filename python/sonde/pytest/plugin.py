"""The pytest plug-in: a folder, a log and spans for each test, fixtures for processes, a report on failure that names the cause."""
from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import pathlib
import shlex
import zlib
from typing import Any, Callable, Dict, Generator, Iterator, List, Optional

import pytest

from .. import _life, _trace
from . import folder, logs
from .faults import Faults
from .process import ManagedProcess, free_port as _free_port
from .server import SondeServer, _seconds

if "wrapper" not in inspect.signature(pytest.hookimpl.__call__).parameters:
    raise pytest.UsageError("the plug-in of sonde needs pluggy 1.2 or later: pip install -U pluggy, or run pytest with -p no:sonde")

_FOLDER, _NODEID = pytest.StashKey[pathlib.Path](), pytest.StashKey[str]()
_STATE = pytest.StashKey["State"]()


class State:
    """What is kept of a test while it runs."""

    def __init__(self, path: pathlib.Path, nodeid: str, level: int) -> None:
        self.folder, self.nodeid = path, nodeid
        self.processes: List[ManagedProcess] = []
        self.server: Optional[SondeServer] = None
        self.failed = False
        self.log = logs.TestLog(path, nodeid, level)
        self.span = _trace.start_span(nodeid, parent=None)
        self.span.set_attribute("test.case.name", nodeid)
        self.story: List[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sonde", "evidence of each test")
    group.addoption("--sonde-dir", metavar="DIR", default=None, help="folder of the tests' folders (DYN_TEST_OUTPUT_PATH, else test-results)")
    group.addoption("--sonde-keep", choices=("all", "failed", "none"), default="all", help="which tests' folders stay (default: all)")
    group.addoption("--sonde-log-level", metavar="LEVEL", default="INFO", help="of test.log.txt (default: INFO)")


def _root(config: pytest.Config) -> pathlib.Path:
    given = config.getoption("--sonde-dir") or os.environ.get("DYN_TEST_OUTPUT_PATH") or "test-results"
    return pathlib.Path(str(given)).absolute()


def _level(config: pytest.Config) -> int:
    word = str(config.getoption("--sonde-log-level")).upper()
    level = logging.getLevelName(word)
    if not isinstance(level, int):
        raise pytest.UsageError(f"--sonde-log-level {word}: a level of the logging module is wanted, as DEBUG or INFO")
    return level


def pytest_configure(config: pytest.Config) -> None:
    _level(config)
    _life.init("pytest")


class _Names:
    """Folder names, once per session: the same in every worker of xdist, which all collect all tests."""

    def __init__(self) -> None:
        self.names: Dict[str, str] = {}

    def of(self, item: pytest.Item) -> str:
        if item.nodeid not in self.names:
            self.names.update(folder.names_of(item.session.items))
        return self.names.get(item.nodeid, folder.folder_name(item.name))


_names = _Names()


# ---- a test's life --------------------------------------------------------------------------------------------------------------
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    path = folder.make(_root(item.config), _names.of(item), item.nodeid)
    state = State(path, item.nodeid, _level(item.config))
    item.stash[_STATE] = state
    item.user_properties.append(("sonde_dir", str(path)))  # JUnit's <property>
    root = logging.getLogger()
    before = root.level
    root.addHandler(state.log)
    if state.log.level < (root.level or logging.WARNING):
        root.setLevel(state.log.level)
    try:
        return (yield)
    finally:
        root.removeHandler(state.log)
        root.setLevel(before)
        state.span.set_status("error" if state.failed else "ok")
        state.span.end()
        state.log.close()
        _finish(item, state)


def _finish(item: pytest.Item, state: State) -> None:
    if not state.failed:
        _remember(_root(item.config), state)
    keep = item.config.getoption("--sonde-keep")
    if keep == "none" or (keep == "failed" and not state.failed):
        folder.drop(state.folder, state.nodeid)


def _phase(item: pytest.Item, name: str) -> "contextlib.AbstractContextManager[Any]":
    state = item.stash.get(_STATE, None)
    return contextlib.nullcontext() if state is None else _trace.span(name, parent=state.span)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
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
    report = yield
    state = item.stash.get(_STATE, None)
    if state is None:
        return report
    if report.failed:
        state.failed = True
        logging.getLogger("sonde.test").error("%s of %s failed: %s", report.when, item.nodeid, _reason(call))
        text = _report(item, state)
        report.sections.append((f"sonde: {state.folder}", text))
        (state.folder / "report.txt").write_text(text)
        _extras(item, report, state)
    return report


def _reason(call: pytest.CallInfo[None]) -> str:
    return call.excinfo.exconly(tryshort=True).splitlines()[0] if call.excinfo else "?"


def _extras(item: pytest.Item, report: pytest.TestReport, state: State) -> None:
    html = item.config.pluginmanager.getplugin("html")
    if html is None:
        return
    with contextlib.suppress(ImportError):
        from pytest_html import extras  # type: ignore[import-not-found, import-untyped, unused-ignore]
        setattr(report, "extras", [*getattr(report, "extras", []), extras.url(state.folder.as_uri(), name="logs")])


# ---- the report -------------------------------------------------------------------------------------------------------------------
def _report(item: pytest.Item, state: State) -> str:
    parts: List[str] = []
    deaths = [d for d in (p.died() for p in state.processes) if d]
    if deaths:
        parts.append("\n".join(deaths))
    purpose = logs.faults(state.folder)
    if purpose:
        parts.append("faults injected by the test:\n" + "\n".join(f"  {line}" for line in purpose))
    errors = [e for e in logs.error_lines(state.folder) if not e.text.startswith("[TEST]") or "sonde.test" not in e.text]
    if errors:
        parts.append("error lines, in order of time:\n" + "\n".join(f"  {e}" for e in errors))
    if state.server is not None:
        parts += _requests(state.server)
    changed = logs.differences(_recall(_root(item.config), state), logs.shapes(state.folder))
    if changed:
        parts.append("what differs from the last run that passed:\n" + "\n".join(f"  {line}" for line in changed))
    parts.append(f"to open it: sonde results {shlex.quote(str(state.folder))}")
    if state.server is not None:
        parts.append(f"its requests, spans and records: sonde serve --data {shlex.quote(str(state.folder / 'sonde-data'))}")
    return "\n\n".join(parts)


def _requests(server: SondeServer) -> List[str]:
    try:
        known = server.requests(200)
    except Exception as e:  # the server may be what failed
        return [f"the requests cannot be told: {e}"]
    bad = [r for r in known if str(r.get("status")) == "error"][:5]
    slow = sorted((r for r in known if r not in bad), key=lambda r: -float(r.get("duration_ms") or 0))[:5]
    out: List[str] = []
    for title, chosen in (("failed requests", bad), ("slowest requests", slow)):
        if chosen:
            out.append(f"{title}:\n" + "\n".join(_one_request(server, r) for r in chosen))
    return out


def _one_request(server: SondeServer, r: Dict[str, Any]) -> str:
    id = str(r.get("request_id") or r.get("trace_id"))
    line = f"  {id}  {float(r.get('duration_ms') or 0):.1f} ms  {r.get('status') or ''} {r.get('verdict') or ''}".rstrip()
    with contextlib.suppress(Exception):
        failure = server.request(id, 1).get("failure") if r.get("status") == "error" else None
        if failure:
            line += f"\n    {failure.get('service') or failure.get('where')}: {failure.get('what')}: {failure.get('why')}"
    phases = r.get("phases") or []
    if phases:
        line += "\n    " + ", ".join(f"{p.get('name')} {_seconds(p) * 1000:.1f} ms" for p in phases)
    return line


def _memory(root: pathlib.Path, state: State) -> pathlib.Path:
    return root / ".sonde" / f"{zlib.crc32(state.nodeid.encode()):08x}.json"


def _remember(root: pathlib.Path, state: State) -> None:
    path = _memory(root, state)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"nodeid": state.nodeid, "shapes": logs.shapes(state.folder)}))


def _recall(root: pathlib.Path, state: State) -> Optional[Dict[str, int]]:
    try:
        found = json.loads(_memory(root, state).read_text())
        return dict(found["shapes"]) if found["nodeid"] == state.nodeid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
        taken = {p.name for p in state.processes}
        p = ManagedProcess(command, state.folder, name, env=given, cwd=cwd, echo=echo, file_limit=file_limit) if name not in taken else None
        if p is None:
            raise ValueError(f"managed_process: a process of this test is called {name!r} already")
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
    """Faults on purpose: kill, crash, frozen, pause, slow_network, disk_full; each is marked in the logs."""
    f = Faults()
    yield f
    f.close()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """free_port(): a TCP port that no other test gets, in any worker of xdist."""
    return _free_port
