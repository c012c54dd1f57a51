"""Counters, gauges and histograms whose updates cost well below a microsecond, exposed as Prometheus text or OpenMetrics.

    from sonde import metrics, status
    endpoint = metrics.runtime().namespace("prod").component("decode").endpoint("generate")
    requests = endpoint.metrics.create_intcountervec("requests_total", "requests by model", ["model"])
    requests.inc({"model": "llama"})
    status.start("127.0.0.1:0"); status.metrics(metrics.runtime())

Names get the prefix dynamo_component_, labels dynamo_namespace, dynamo_component, dynamo_endpoint by position. Registries live as long
as the process. Several processes: share() writes each process's page into a folder, merged() adds them up; engines that use
prometheus_client are shown as they are by bridge().
"""
from __future__ import annotations

import atexit
import os
import re
import threading
from typing import Any, Callable, Dict, Generic, Iterable, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from . import _sonde
from ._life import init

__all__ = ["Counter", "CounterVec", "Gauge", "GaugeVec", "Histogram", "HistogramVec", "IntCounter", "IntCounterVec", "IntGauge", "IntGaugeVec",
           "Metrics", "Registry", "PREFIX", "bridge", "buckets", "merged", "runtime", "share", "text"]

PREFIX = "dynamo_component_"
Labels = Mapping[str, str]
_AUTOMATIC = ("dynamo_namespace", "dynamo_component", "dynamo_endpoint")
_LEVELS = ("namespace", "component", "endpoint")
M = TypeVar("M")


def _sanitised(text: str, other: str) -> str:
    return re.sub(other, "_", text)


def _metric_name(name: str) -> str:
    out = _sanitised(name, "[^A-Za-z0-9_:]")
    return out if re.match("[A-Za-z_]", out) else "_" + out


def _label_name(name: str) -> str:
    out = _sanitised(name, "[^A-Za-z0-9_]")
    if out.startswith("__"):
        out = out.lstrip("_")
        return out if re.match("[A-Za-z]", out) else "_" + out
    return out if re.match("[A-Za-z_]", out) else "_" + out


class _Metric(Generic[M]):
    """What all metrics can tell of themselves."""

    def __init__(self, handle: M, name: str, const: Dict[str, str], variable: Sequence[str]) -> None:
        self._h, self._name, self._const, self._variable = handle, name, const, list(variable)

    def name(self) -> str:
        """The full name as it is exposed."""
        return self._name

    def const_labels(self) -> Dict[str, str]:
        """The labels that do not change, the automatic ones included."""
        return dict(self._const)

    def variable_labels(self) -> list[str]:
        """The names of the labels that an update gives; [] for all but vectors."""
        return list(self._variable)

    def __repr__(self) -> str:
        return f"<sonde.metrics.{type(self).__name__} {self._name} {self._const}>"


class _Direct(_Metric[M]):
    """Methods of the native object are the object's own attributes: no Python frame per update."""

    _methods: Tuple[str, ...] = ()

    def __init__(self, handle: M, name: str, const: Dict[str, str], variable: Sequence[str]) -> None:
        super().__init__(handle, name, const, variable)
        for method in self._methods:
            setattr(self, method, getattr(handle, method))


_COUNTER = ("inc", "inc_by", "get")
_GAUGE = ("set", "inc", "dec", "inc_by", "dec_by", "add", "sub", "get")
_HISTOGRAM = ("observe", "sum", "count", "quantile")


class Counter(_Direct[_sonde.Counter]):
    """A sum that grows: inc(), inc_by(amount), get()."""

    _methods = _COUNTER
    inc: Callable[[], None]
    inc_by: Callable[[float], None]
    get: Callable[[], float]


class IntCounter(_Direct[_sonde.IntCounter]):
    """A count: inc(), inc_by(n), get()."""

    _methods = _COUNTER
    inc: Callable[[], None]
    inc_by: Callable[[int], None]
    get: Callable[[], int]


class Gauge(_Direct[_sonde.Gauge]):
    """A value that goes up and down: set(v), inc(), dec(), add(v), sub(v), get()."""

    _methods = _GAUGE
    set: Callable[[float], None]
    inc: Callable[[], None]
    dec: Callable[[], None]
    inc_by: Callable[[float], None]
    dec_by: Callable[[float], None]
    add: Callable[[float], None]
    sub: Callable[[float], None]
    get: Callable[[], float]


class IntGauge(_Direct[_sonde.IntGauge]):
    """A whole number that goes up and down."""

    _methods = _GAUGE
    set: Callable[[int], None]
    inc: Callable[[], None]
    dec: Callable[[], None]
    inc_by: Callable[[int], None]
    dec_by: Callable[[int], None]
    add: Callable[[int], None]
    sub: Callable[[int], None]
    get: Callable[[], int]


class Histogram(_Direct[_sonde.Histogram]):
    """observe(v); sum(), count() and quantile(q) tell what was observed."""

    _methods = _HISTOGRAM
    observe: Callable[[float], None]
    sum: Callable[[], float]
    count: Callable[[], int]
    quantile: Callable[[float], float]


class CounterVec(_Direct[_sonde.CounterVec]):
    """A Counter for each set of labels: inc({"model": "m"}), inc_by(2.5, {"model": "m"})."""

    _methods = _COUNTER
    inc: Callable[[Labels], None]
    inc_by: Callable[[float, Labels], None]
    get: Callable[[Labels], float]


class IntCounterVec(_Direct[_sonde.IntCounterVec]):
    """An IntCounter for each set of labels."""

    _methods = _COUNTER
    inc: Callable[[Labels], None]
    inc_by: Callable[[int, Labels], None]
    get: Callable[[Labels], int]


class GaugeVec(_Direct[_sonde.GaugeVec]):
    """A Gauge for each set of labels: set(1.5, {"model": "m"})."""

    _methods = _GAUGE
    set: Callable[[float, Labels], None]
    inc: Callable[[Labels], None]
    dec: Callable[[Labels], None]
    inc_by: Callable[[float, Labels], None]
    dec_by: Callable[[float, Labels], None]
    add: Callable[[float, Labels], None]
    sub: Callable[[float, Labels], None]
    get: Callable[[Labels], float]


class IntGaugeVec(_Direct[_sonde.IntGaugeVec]):
    """An IntGauge for each set of labels."""

    _methods = _GAUGE
    set: Callable[[int, Labels], None]
    inc: Callable[[Labels], None]
    dec: Callable[[Labels], None]
    inc_by: Callable[[int, Labels], None]
    dec_by: Callable[[int, Labels], None]
    add: Callable[[int, Labels], None]
    sub: Callable[[int, Labels], None]
    get: Callable[[Labels], int]


class HistogramVec(_Direct[_sonde.HistogramVec]):
    """A Histogram for each set of labels: observe(0.2, {"model": "m"})."""

    _methods = _HISTOGRAM
    observe: Callable[[float, Labels], None]
    sum: Callable[[Labels], float]
    count: Callable[[Labels], int]
    quantile: Callable[[float, Labels], float]


_TYPES: Dict[type, int] = {Counter: 1, CounterVec: 2, IntCounter: 3, IntCounterVec: 4, Gauge: 5, GaugeVec: 6, IntGauge: 7, IntGaugeVec: 8,
                           Histogram: 9, HistogramVec: 10}
ConstLabels = Optional[Union[Mapping[str, str], Iterable[Tuple[str, str]]]]
W = TypeVar("W", bound=_Metric[Any])


class Metrics:
    """Makes the metrics of one registry. Names of metrics and labels are sanitised ("my-metric.x" → "my_metric_x"); ValueError tells
    what was refused: an automatic or doubled label, a name that is there with other help, type or labels, buckets out of order."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry

    def _new(self, cls: "type[W]", name: str, description: str, variable: Optional[Sequence[str]], labels: ConstLabels,
             bounds: Optional[Sequence[float]] = None, unit: Optional[str] = None, max_series: int = 0) -> W:
        r = self._registry
        const = dict(labels or {})
        names = None if variable is None else tuple(_label_name(n) for n in variable)
        h = r._h.create(_TYPES[cls], name, description, const, names, None if bounds is None else tuple(bounds), unit, max_series)
        told = {**r.labels(), **{_label_name(k): v for k, v in const.items()}}
        return cls(h, r.prefix + _metric_name(name), told, names or ())

    def create_counter(self, name: str, description: str, labels: ConstLabels = None, *, unit: Optional[str] = None) -> Counter:
        """labels: constant ones."""
        return self._new(Counter, name, description, None, labels, unit=unit)

    def create_intcounter(self, name: str, description: str, labels: ConstLabels = None, *, unit: Optional[str] = None) -> IntCounter:
        return self._new(IntCounter, name, description, None, labels, unit=unit)

    def create_gauge(self, name: str, description: str, labels: ConstLabels = None, *, unit: Optional[str] = None) -> Gauge:
        return self._new(Gauge, name, description, None, labels, unit=unit)

    def create_intgauge(self, name: str, description: str, labels: ConstLabels = None, *, unit: Optional[str] = None) -> IntGauge:
        return self._new(IntGauge, name, description, None, labels, unit=unit)

    def create_histogram(self, name: str, description: str, labels: ConstLabels = None, *, buckets: Optional[Sequence[float]] = None,
                         unit: Optional[str] = None) -> Histogram:
        """buckets: upper bounds, ascending; default .005 … 10."""
        return self._new(Histogram, name, description, None, labels, buckets, unit)

    def create_countervec(self, name: str, description: str, label_names: Sequence[str], const_labels: ConstLabels = None, *,
                          unit: Optional[str] = None, max_series: int = 0) -> CounterVec:
        """label_names: the labels that each update gives. max_series: label sets beyond (2000) share one series "__overflow__"."""
        return self._new(CounterVec, name, description, label_names, const_labels, None, unit, max_series)

    def create_intcountervec(self, name: str, description: str, label_names: Sequence[str], const_labels: ConstLabels = None, *,
                             unit: Optional[str] = None, max_series: int = 0) -> IntCounterVec:
        return self._new(IntCounterVec, name, description, label_names, const_labels, None, unit, max_series)

    def create_gaugevec(self, name: str, description: str, label_names: Sequence[str], const_labels: ConstLabels = None, *,
                        unit: Optional[str] = None, max_series: int = 0) -> GaugeVec:
        return self._new(GaugeVec, name, description, label_names, const_labels, None, unit, max_series)

    def create_intgaugevec(self, name: str, description: str, label_names: Sequence[str], const_labels: ConstLabels = None, *,
                           unit: Optional[str] = None, max_series: int = 0) -> IntGaugeVec:
        return self._new(IntGaugeVec, name, description, label_names, const_labels, None, unit, max_series)

    def create_histogramvec(self, name: str, description: str, label_names: Sequence[str], const_labels: ConstLabels = None, *,
                            buckets: Optional[Sequence[float]] = None, unit: Optional[str] = None, max_series: int = 0) -> HistogramVec:
        return self._new(HistogramVec, name, description, label_names, const_labels, buckets, unit, max_series)

    def register_callback(self, fn: Callable[[], object]) -> None:
        """fn() runs before each page, on the thread that asks for it; what it raises is logged and the page goes on."""
        _watch_end()
        self._registry._h.callback(fn)

    def register_prometheus_expfmt_callback(self, fn: Callable[[], Union[str, bytes, None]]) -> None:
        """fn() returns text in exposition format, which is appended to each page."""
        _watch_end()
        self._registry._h.callback(fn, True)


class Registry:
    """A root (runtime()), or a namespace, component or endpoint below it. What is made here shows on the pages of all above, too."""

    def __init__(self, prefix: str = PREFIX, *, _handle: Optional[_sonde.Registry] = None, _names: Tuple[str, ...] = (),
                 _extra: Optional[Dict[str, str]] = None) -> None:
        self._h = _handle if _handle is not None else _sonde.Registry(prefix)
        self._names, self._extra, self.prefix = _names, dict(_extra or {}), prefix
        self.metrics = Metrics(self)

    def child(self, name: str) -> "Registry":
        """The registry of that name below; the same one when asked again."""
        return Registry(self.prefix, _handle=self._h.child(name), _names=self._names + (name,), _extra=self._extra)

    def namespace(self, name: str) -> "Registry":
        """The namespace of that name; its metrics get dynamo_namespace. Namespaces within one shift what the next levels are called."""
        return self.child(name)

    def component(self, name: str) -> "Registry":
        """The component of that name; its metrics get dynamo_component as well."""
        return self.child(name)

    def endpoint(self, name: str) -> "Registry":
        """The endpoint of that name; its metrics get dynamo_endpoint as well."""
        return self.child(name)

    def name(self) -> str:
        """Its own name; "" for a root."""
        return self._names[-1] if self._names else ""

    def label(self, name: str, value: str) -> None:
        """One more automatic label, for metrics made from now on here and in children made from now on."""
        self._h.label(name, value)
        self._extra[_label_name(name)] = value

    def labels(self) -> Dict[str, str]:
        """The automatic labels of its metrics."""
        return {**dict(zip(_AUTOMATIC, map(_label_name, self._names))), **self._extra}

    def add_process(self) -> None:
        """process_cpu_seconds_total and its family, uptime, and what libsonde lost and sent; on the root, once."""
        self._h.add_process()

    def text(self, accept: Optional[str] = None) -> Tuple[bytes, str]:
        """The page and its content type, in the form that an HTTP Accept header asks for."""
        return self._h.text(accept)


_root: Optional[Registry] = None
_lock = threading.Lock()


def runtime() -> Registry:
    """The root registry of this process."""
    global _root
    with _lock:
        if _root is None:
            init()  # what the environment asks to export goes from now on
            _root = Registry()
        return _root


def text(accept: Optional[str] = None) -> Tuple[bytes, str]:
    """The page of runtime() and its content type."""
    return runtime().text(accept)


def buckets(low: float, high: float, count: int, env_prefix: Optional[str] = None) -> list[float]:
    """Dynamo's bucket bounds: 0, then even steps of the logarithm up to high, two significant digits. env_prefix: <it>_MIN, _MAX and
    _COUNT win. ValueError when there are none."""
    out = _sonde.buckets(low, high, count, env_prefix)
    if not out:
        raise ValueError(f"no buckets from {low} to {high} in {count}: 0 < low < high and count up to 512 are needed")
    return out


_ends = False


def _watch_end() -> None:
    """Callbacks must not be called while Python goes away."""
    global _ends
    if not _ends:
        _ends = True
        atexit.register(_sonde.over)


def bridge(registry: Any = None, to: Optional[Registry] = None) -> None:
    """Shows what prometheus_client holds (a CollectorRegistry; None: its global one) on the page of `to` (None: runtime()), unchanged.

    With PROMETHEUS_MULTIPROC_DIR set and no registry given, it is what all processes wrote there (its multi-process mode).
    """
    import prometheus_client

    def page() -> bytes:
        source = registry
        if source is None:
            source = prometheus_client.REGISTRY
            if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
                from prometheus_client import multiprocess
                source = prometheus_client.CollectorRegistry()
                multiprocess.MultiProcessCollector(source)
        return bytes(prometheus_client.generate_latest(source))

    (to or runtime()).metrics.register_prometheus_expfmt_callback(page)


# ---- several processes --------------------------------------------------------------------------------------------------------
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{.*\})? ([^ ]+)$")


class _Page:
    """Samples of a text page: (family, type, help) and (sample, labels) → value."""

    def __init__(self, page: str = "") -> None:
        self.families: Dict[str, Tuple[str, str]] = {}
        self.values: Dict[str, Dict[Tuple[str, str], float]] = {}
        help_of: Dict[str, str] = {}
        family = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                name, _, rest = line[7:].partition(" ")
                help_of[name] = rest
            elif line.startswith("# TYPE "):
                family, _, kind = line[7:].partition(" ")
                self.families[family] = (kind, help_of.get(family, ""))
                self.values.setdefault(family, {})
            else:
                m = _SAMPLE.match(line)
                if m and family:
                    self.values[family][m.group(1), m.group(2) or ""] = float(m.group(3))

    def add(self, other: "_Page", pid: str, alive: bool) -> None:
        """Counters and histograms are summed; a gauge gets the label pid, and is gone with its process."""
        for family, (kind, told) in other.families.items():
            gauge = kind not in ("counter", "histogram")
            if gauge and not alive:
                continue
            self.families.setdefault(family, (kind, told))
            into = self.values.setdefault(family, {})
            for (sample, labels), v in other.values[family].items():
                if gauge:
                    labels = f'{labels[:-1]},pid="{pid}"}}' if labels else f'{{pid="{pid}"}}'
                into[sample, labels] = into.get((sample, labels), 0.0) + v

    def less(self, before: "_Page") -> None:
        """Without what a forked process took over from its parent."""
        for family, (kind, _) in self.families.items():
            if kind in ("counter", "histogram"):
                for key, v in before.values.get(family, {}).items():
                    if key in self.values[family]:
                        self.values[family][key] -= v

    def text(self) -> str:
        out = []
        for family in sorted(self.families):
            kind, told = self.families[family]
            out.append(f"# HELP {family} {told}\n# TYPE {family} {kind}\n")
            out.extend(f"{sample}{labels} {v:.17g}\n" for (sample, labels), v in self.values[family].items())
        return "".join(out)


class _Share:
    """Writes this process's page into the folder, now and then and at its end."""

    def __init__(self, registry: Registry, directory: str, seconds: float) -> None:
        self.registry, self.directory, self.seconds = registry, directory, seconds
        self.before = _Page()
        self.start()
        atexit.register(self.write)
        os.register_at_fork(after_in_child=self.forked)
        from multiprocessing import util  # its processes leave without atexit
        util.register_after_fork(self, lambda share: util.Finalize(None, share.write, exitpriority=1))

    def start(self) -> None:
        self.stop = threading.Event()
        threading.Thread(target=self.run, args=(self.stop,), name="sonde-share", daemon=True).start()

    def forked(self) -> None:
        self.before = _Page(self.registry.text()[0].decode())
        self.start()

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self.seconds):
            self.write()

    def write(self) -> None:
        page = _Page(self.registry.text()[0].decode())
        page.less(self.before)
        path = os.path.join(self.directory, f"{os.getpid()}.prom")
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as f:
                f.write(page.text())
            os.replace(f"{path}.new", path)
        except OSError as e:
            from ._log import warning
            warning("the metrics of this process cannot be shared", path=path, error=str(e))


def share(directory: Optional[str] = None, registry: Optional[Registry] = None, seconds: float = 1.0) -> Callable[[], None]:
    """Writes the page of this process, and of those it forks, to DIRECTORY/PID.prom every so many seconds and at exit. directory: default
    SONDE_METRICS_DIR, to be empty when the first process starts. Returns what writes it at once (os._exit() asks nobody)."""
    where = directory or os.environ.get("SONDE_METRICS_DIR")
    if not where:
        raise ValueError("share(): no folder given, and SONDE_METRICS_DIR is not set")
    os.makedirs(where, exist_ok=True)
    return _Share(registry or runtime(), where, seconds).write


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def merged(directory: Optional[str] = None) -> str:
    """The pages of all processes that share() as one: counters and histograms summed, those of dead processes included; gauges with the
    label pid. Fit for register_prometheus_expfmt_callback() of a registry of its own."""
    where = directory or os.environ["SONDE_METRICS_DIR"]
    out = _Page()
    for name in sorted(os.listdir(where)):
        pid, dot, kind = name.partition(".")
        if kind == "prom" and pid.isdigit():
            with open(os.path.join(where, name), encoding="utf-8") as f:
                out.add(_Page(f.read()), pid, _alive(int(pid)))
    return out.text()
