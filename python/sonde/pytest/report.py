"""What a failing test's section of the report says, and what differs between its runs."""
from __future__ import annotations

import contextlib
import json
import pathlib
import shlex
import zlib
from typing import Any, Dict, List, Optional

from . import folder, logs
from .server import SondeServer, _seconds
from .state import State

FLAKY = "sonde: flaky"


def write(path: pathlib.Path, text: str) -> str:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return text


def _list(title: str, lines: List[Any]) -> List[str]:
    return [f"{title}:\n" + "\n".join(f"  {line}" for line in lines)] if lines else []


def of_failure(root: pathlib.Path, state: State, kept: bool) -> str:
    """Which processes died, what was broken on purpose, the error lines of all, failed and slow requests, what is new, how to open it."""
    parts: List[str] = []
    deaths = [d for d in (p.died() or p.ended_well() for p in state.processes) if d]
    if deaths:
        parts.append("\n".join(deaths))
    parts += _list("faults injected by the test", logs.faults(state.folder))
    parts += _list("error lines, in order of time",
                   [e for e in logs.error_lines(state.folder) if not e.text.startswith("[TEST]") or "sonde.test" not in e.text])
    server = state.server if state.server is not None and state.server.running else None
    if server is not None:
        parts += _requests(server)
    passed = _recall(root, state)
    if passed:
        parts += _list("what differs from the last run that passed", logs.differences(passed, logs.shapes(state.folder)))
    if kept:
        parts.append(f"to open it: sonde results {shlex.quote(str(state.folder))}")
        if state.server is not None:
            parts.append(f"its requests, spans and records: sonde serve --data {shlex.quote(str(state.folder / 'sonde-data'))}")
    return "\n\n".join(parts)


def of_flaky(state: State) -> str:
    """What the attempt before, which failed, said and this one, which passed, did not; and the other way round."""
    changed = logs.differences(logs.shapes(state.folder), logs.shapes(state.folder / f"{folder.ATTEMPT}{state.attempt - 1}"))
    return f"{state.nodeid} passed at attempt {state.attempt}; what only the attempt before said (+), and what it did not say (-):\n" + (
        "\n".join(changed) or "nothing: the logs of both say the same")


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
    phases: Dict[str, float] = {}
    for p in r.get("phases") or []:
        phases[str(p.get("name"))] = phases.get(str(p.get("name")), 0.0) + _seconds(p) * 1000
    if phases:
        line += "\n    " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in phases.items() if ms >= 0.05 or len(phases) == 1)
    return line


# ---- the last run that passed -----------------------------------------------------------------------------------------------------
def _memory(root: pathlib.Path, nodeid: str) -> pathlib.Path:
    return root / ".sonde" / f"{zlib.crc32(nodeid.encode(errors='backslashreplace')):08x}.json"


def remember(root: pathlib.Path, state: State) -> None:
    path = _memory(root, state.nodeid)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps({"nodeid": state.nodeid, "shapes": logs.shapes(state.folder)}))


def _recall(root: pathlib.Path, state: State) -> Optional[Dict[str, int]]:
    try:
        found = json.loads(_memory(root, state.nodeid).read_text(encoding="utf-8"))
        return dict(found["shapes"]) if found["nodeid"] == state.nodeid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
