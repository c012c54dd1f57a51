"""libsonde in other people's programs: installed, built against with pkg-config, and a good guest there."""
import ctypes
import gzip
import http.server
import json
import mmap
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import threading
import time

import pytest

from conftest import ROOT

HERE = pathlib.Path(__file__).resolve().parent / "libsonde"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
KINDS = ["shared", "static"]


class Installed:
    """`meson install` into a DESTDIR, and programs built against what lies there."""

    def __init__(self, build, tmp):
        self.build, self.tmp, self.dest = build, tmp, tmp / "dest"
        subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", str(self.dest)],
                       check=True, capture_output=True)
        found = list(self.dest.rglob("sonde.pc"))
        assert len(found) == 1, found
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(found[0].parent), PKG_CONFIG_SYSROOT_DIR=str(self.dest))
        self.libdir = found[0].parent.parent

    def flags(self, *what):
        out = subprocess.run(["pkg-config", *what, "sonde"], env=self.env, check=True, capture_output=True, text=True)
        return out.stdout.split()

    def compile(self, name, source, compiler="gcc", standard="c11", kind="shared", extra=()):
        out = self.tmp / name
        if kind == "static":
            libs = ["-l:libsonde.a" if f == "-lsonde" else f for f in self.flags("--libs", "--static")]
        else:
            libs = self.flags("--libs")
        argv = [compiler, f"-std={standard}", *WARNINGS, "-O2", "-g", *extra, *self.flags("--cflags"), str(HERE / source), "-o",
                str(out), *libs, "-pthread", "-ldl", f"-Wl,-rpath,{self.libdir}"]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", f"{' '.join(argv)}\n{done.stderr}"
        return str(out)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    build = pathlib.Path(os.environ.get("SONDE_BUILD", ROOT / "build"))
    options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", str(build)], check=True,
                                        capture_output=True).stdout)
    if any(o["name"] == "b_sanitize" and o["value"] not in ("none", [], "") for o in options):
        pytest.skip("programs outside the build cannot be linked with a sanitized library")
    return Installed(build, tmp_path_factory.mktemp("libsonde"))


@pytest.fixture(scope="module")
def guest(installed):
    """Paths of the host program by kind of the library."""
    return {kind: installed.compile(f"guest-{kind}", "guest.c", kind=kind) for kind in KINDS}


@pytest.fixture
def rings():
    """A directory for ring files, in shared memory as usual."""
    path = pathlib.Path(f"/dev/shm/sonde-guest-{os.getpid()}-{random.randrange(1 << 32):08x}")
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def run(program, *arguments, rings, timeout=60, **more):
    env = {"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(rings), **more.pop("env", {})}
    return subprocess.run([program, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=timeout, **more)


def messages(text):
    return re.findall(r" INFO \S+: (.*)", text)


def inspect(installed, path, jsonl=True):
    argv = [str(installed.build / "sonde"), "inspect", "ring", *(["--json"] if jsonl else []), str(path)]
    out = subprocess.run(argv, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()] if jsonl else out.stdout


# ---- packaging --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
def test_hosts_in_c(installed, rings, standard, kind):
    program = installed.compile(f"host-{standard}-{kind}", "guest.c", standard=standard, kind=kind)
    out = run(program, "lines", 3, rings=rings)
    assert out.returncode == 0 and messages(out.stderr) == ["line i=0", "line i=1", "line i=2"], out


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_hosts_in_cxx(installed, rings, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    program = installed.compile(f"host-{compiler}", "headers.cc", compiler=compiler, standard="c++17")
    out = run(program, rings=rings)
    assert out.returncode == 0, out
    assert messages(out.stderr) == ['from C++ worker="w-1" n=1 f=0.5 b=true', 'empty text="" list=[]'] and " WARN work: " in out.stderr


def test_clang_and_warnings_of_others(installed):
    if not shutil.which("clang"):
        pytest.skip("clang is not installed")
    installed.compile("host-clang", "guest.c", compiler="clang",
                      extra=["-Wno-gnu-zero-variadic-macro-arguments"])


LIBRARIES = ["libsonde", "libsonde-net"]


def library(installed, name):
    return next(installed.libdir.glob(f"{name}.so.*.*"))


@pytest.mark.parametrize("name", LIBRARIES)
def test_library_is_self_contained(installed, name):
    path = str(library(installed, name))
    needed = subprocess.run(["objdump", "-p", path], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"NEEDED\s+(\S+)", needed))
    assert all(re.match(r"(libc|libm|libpthread|ld-linux.*|libdl)\.so", n) for n in names), names
    assert re.search(rf"SONAME\s+{name}\.so\.\d+", needed)
    symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    undefined = re.findall(r" [Uw] (\S+)", symbols)
    assert not [n for n in undefined if "sonde" in n or n.startswith("nghttp2")], undefined
    exported = [n for t, n in re.findall(r" ([A-TV-Z]) (\S+)", symbols) if t != "A"]
    assert exported and all(n.startswith("sonde_") for n in exported), exported
    assert name == "libsonde" or exported == ["sonde_net_part@@SONDE_0"], exported


def test_size(installed):
    """Bounds against growth, in kilobytes of 1000 bytes: 500 for libsonde.so with everything, 220 for the half with sockets, of which
    nghttp2 is 140. (Logs and spans alone, before meters, exporters, status and configuration files, were 263.)"""
    size = {}
    for name in LIBRARIES:
        stripped = installed.tmp / f"stripped-{name}"
        subprocess.run(["strip", "-o", str(stripped), str(library(installed, name))], check=True)
        size[name] = stripped.stat().st_size
    print(size)
    assert size["libsonde"] <= 500_000 and size["libsonde-net"] <= 220_000, size


# ---- the half with sockets -------------------------------------------------------------------------------------------------
class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what is posted. got: [(path, headers, body)]"""

    def do_POST(self):
        self.server.got.append((self.path, dict(self.headers.items()), self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector():
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    s.got = []
    s.env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
             "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{s.server_address[1]}"}
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield s
    s.shutdown()
    s.server_close()


def logs(collector):
    return b"".join(gzip.decompress(body) if {k.lower(): v for k, v in headers.items()}.get("content-encoding") == "gzip" else body
                    for path, headers, body in collector.got if path == "/v1/logs")


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("kind", KINDS)
def test_export(guest, rings, collector, kind, compression):
    out = run(guest[kind], "lines", 3, rings=rings, env={**collector.env, "OTEL_EXPORTER_OTLP_COMPRESSION": compression})
    assert out.returncode == 0 and messages(out.stderr) == ["line i=0", "line i=1", "line i=2"], out
    assert logs(collector).count(b"line") >= 3
    packed = [h for _, h, _ in collector.got if {k.lower(): v for k, v in h.items()}.get("content-encoding") == "gzip"]
    assert bool(packed) == (compression == "gzip")


def test_export_without_zlib(guest, rings, collector, tmp_path):
    (tmp_path / "libz.so.1").write_text("not a library")
    out = run(guest["shared"], "lines", 3, rings=rings,
              env={**collector.env, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "LD_LIBRARY_PATH": str(tmp_path)})
    assert out.returncode == 0 and messages(out.stderr) == ["line i=0", "line i=1", "line i=2"], out
    assert len([line for line in out.stderr.splitlines() if "libz.so.1 is not installed" in line]) == 1, out.stderr
    assert logs(collector).count(b"line") >= 3
    assert not [h for _, h, _ in collector.got if "content-encoding" in {k.lower() for k in h}]


def opened(out, name):
    return [line for line in out.stderr.splitlines() if "calling init" in line and name in line]


def test_sockets_only_when_wanted(guest, rings, collector):
    out = run(guest["shared"], "lines", 1, rings=rings, env={"LD_DEBUG": "files"})
    assert opened(out, "libsonde.so") and not opened(out, "libsonde-net"), out.stderr
    out = run(guest["shared"], "lines", 1, rings=rings, env={"LD_DEBUG": "files", **collector.env})
    assert opened(out, "libsonde-net") and not opened(out, "libssl") and not opened(out, "libz.so"), out.stderr


@pytest.mark.parametrize("instead", ["nothing", "garbage", "another version"])
def test_without_the_half_with_sockets(installed, guest, rings, collector, tmp_path, instead):
    """One line says what is missing; logging goes on; what cannot be exported is counted as dropped."""
    shutil.copy(library(installed, "libsonde"), tmp_path / "libsonde.so.0")
    part = tmp_path / "libsonde-net.so.0"
    if instead == "garbage":
        part.write_text("garbage")
    elif instead == "another version":
        code = "const void *sonde_net_part(unsigned version) { return (void *)0; }"
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(part)], input=code, text=True, check=True)
    # the copy stands before the installed one, whose directory is not looked in for the other half
    out = run(guest["shared"], "exported", 3, rings=rings, env={**collector.env, "LD_PRELOAD": str(tmp_path / "libsonde.so.0")})
    assert out.returncode == 0 and messages(out.stderr) == ["line i=0", "line i=1", "line i=2"], out
    warnings = [line for line in out.stderr.splitlines() if "libsonde-net.so.0 cannot be used" in line]
    assert len(warnings) == 1 and str(part) in warnings[0] and "Install it beside" in warnings[0], out.stderr
    counts = re.fullmatch(r"sent 0 dropped (\d+)\n", out.stdout)  # the exporter's own lines count, too
    assert counts and 3 <= int(counts[1]) <= 6, out.stdout
    assert not collector.got


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("the openssl command is not installed")
    from test_tls import Certificates
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("kind", KINDS)
def test_export_over_tls(installed, guest, rings, certificates, tmp_path, kind, protocol):
    """To a server that wants a certificate of us; a process that just returns from main delivers, too. And refusals are told."""
    from test_tls import TlsServer, get
    server = TlsServer(installed.build / "sonde", tmp_path / "data", "--tls-cert", certificates["good.pem"], "--tls-key",
                       certificates["good.key"], "--tls-client-ca", certificates["ca.pem"])
    port = server.ports["otlp-grpc" if protocol == "grpc" else "otlp-http"]
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_SERVICE_NAME": "guest",
           "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}", "OTEL_EXPORTER_OTLP_CERTIFICATE": certificates["ca.pem"],
           "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certificates["client.pem"],
           "OTEL_EXPORTER_OTLP_CLIENT_KEY": certificates["client.key"]}
    try:
        assert run(guest[kind], "lines", 3, rings=rings, env=env).returncode == 0
        assert run(guest[kind], "life", rings=rings, env=env).returncode == 7
        since = time.time_ns() - 60 * 10**9
        text = get(server, f"/loki/api/v1/query_range?query=%7Bservice_name%3D%22guest%22%7D&start={since}",
                   certificates.context("client"))[1].decode()
        assert text.count('"line"') >= 3 and '"main"' in text, text[:2000]
        out = run(guest[kind], "lines", 3, rings=rings, env={**env, "OTEL_EXPORTER_OTLP_CERTIFICATE": certificates["ca2.pem"]})
        assert "authority unknown here" in out.stderr, out
    finally:
        assert server.stop() == 0


def shared_object(path, code, *options):
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(path), *options], input=code, text=True, check=True)
    return str(path)


def test_resolver_that_hangs(guest, rings, tmp_path):
    """Only the exporter's thread waits for it; the end of the process has its own limit (5 s here)."""
    slow = shared_object(tmp_path / "slow.so", "#include <unistd.h>\nint getaddrinfo(void) { sleep(60); return -3; }",
                         "-fno-builtin")
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4317", "LD_PRELOAD": slow}
    started = time.monotonic()
    out = run(guest["shared"], "lines", 1000, rings=rings, env=env)
    assert time.monotonic() - started < 9, "the process waited for the resolver"
    assert len(messages(out.stderr)) == 1000
    times = re.findall(r"^(\S+)  INFO \S+: line i=", out.stderr, re.M)
    assert times[0][:16] == times[-1][:16] or int(times[-1][17:19]) - int(times[0][17:19]) in (-59, 1), "a call waited"


HOST_WITH_OPENSSL = """
#include <openssl/ssl.h>
#include <sonde/sonde.h>
#include <unistd.h>
int main(void)
{
    SSL_CTX *ours = SSL_CTX_new(TLS_client_method()); /* OpenSSL will take itself apart at exit */
    for (int i = 0; i < 200; i++) {
        SONDE_INFO("line", SONDE_INT("i", i));
        usleep(1000);
    }
    SSL_CTX_free(ours);
    return 0;
}
"""


def test_host_with_openssl(installed, rings, certificates, tmp_path):
    """Its OpenSSL is taken apart at exit while our exporter may be using it: no crash, no hang."""
    from test_tls import TlsServer
    server = TlsServer(installed.build / "sonde", tmp_path / "data", "--tls-cert", certificates["good.pem"], "--tls-key",
                       certificates["good.key"])
    program = str(installed.tmp / "host-openssl")
    subprocess.run(["gcc", "-x", "c", "-", "-o", program, *installed.flags("--cflags", "--libs"), "-lssl", "-lcrypto",
                    f"-Wl,-rpath,{installed.libdir}"], input=HOST_WITH_OPENSSL, text=True, check=True)
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{server.ports['otlp-grpc']}",
           "OTEL_EXPORTER_OTLP_CERTIFICATE": certificates["ca.pem"], "OTEL_BLRP_SCHEDULE_DELAY": "5"}
    try:
        for _ in range(4):
            out = run(program, rings=rings, env=env, timeout=30)
            assert out.returncode == 0 and len(messages(out.stderr)) >= 200, out
    finally:
        assert server.stop() == 0


# ---- life -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_before_main_and_after_exit(guest, rings, kind):
    out = run(guest[kind], "life", rings=rings, env={"GUEST_EARLY": "1"})
    assert out.returncode == 7
    assert messages(out.stderr) == ["constructor n=1", "main n=2", "atexit n=3", "destructor n=4"], out.stderr
    assert list(rings.iterdir()) == []


HELD_BACK = 'suppressed 2 similar records suppressed=2 of="plugin busy"'  # the plug-in is gone when it is told


def test_plugin_with_its_own_copy(installed, guest, rings):
    plugin = installed.compile("plugin.so", "plugin.c", extra=["-shared", "-fPIC"])
    out = run(guest["static"], "plugin", plugin, rings=rings)
    assert out.returncode == 0, out
    assert out.stdout.splitlines() == ["host 1 plugin 1"] * 3
    want = ["host before", "host after"]
    want += [f"{m} i={i}" for i in range(3) for m in ("host meanwhile", "plugin works", "plugin thread", "plugin busy")]
    want += [HELD_BACK] * 3
    assert sorted(messages(out.stderr)) == sorted(want)


@pytest.mark.parametrize("host", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_outlive_a_plugin(installed, guest, rings, host, kind):
    plugin = installed.compile(f"plugin-{kind}.so", "plugin.c", kind=kind, extra=["-shared", "-fPIC"])
    out = run(guest[host], "plugin_thread", plugin, rings=rings)
    assert out.returncode == 0, out
    assert sorted(messages(out.stderr)) == ["host after", "plugin busy i=0", "plugin thread i=0", "plugin works i=0", HELD_BACK]


def test_level_changes_after_a_plugin_has_gone(installed, guest, rings):
    plugin = installed.compile("plugin-level.so", "plugin.c", extra=["-shared", "-fPIC"])
    out = run(guest["shared"], "plugin_level", plugin, rings=rings)
    assert out.returncode == 0, out
    shown = [m for m in messages(out.stderr) if "busy" not in m]
    assert sorted(shown) == sorted(f"plugin {m} i={i}" for i in range(3) for m in ("works", "thread"))
    assert out.stderr.count("DEBUG") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_threads_leave_no_lock(guest, rings, kind):
    out = run(guest[kind], "cancel", rings=rings, timeout=20)
    assert out.returncode == 0, out.returncode
    assert messages(out.stderr) == ["cancelled i=0", "cancelled i=1", "cancelled i=2", "alive", "cancelled i=3", "alive"]


def test_short_processes_do_not_fill_the_directory(guest, rings):
    out = run(guest["shared"], "fork_exit", 100, rings=rings)
    assert out.returncode == 0
    assert len(list(rings.glob("*.ring"))) <= 40


@pytest.mark.parametrize("kind", KINDS)
def test_fork_while_others_log(guest, rings, kind):
    out = run(guest[kind], "fork", 50, rings=rings, env={"SONDE_RING_SIZE": "67108864"}, timeout=120)
    assert out.returncode == 0, out.stdout
    lines = messages(out.stderr)
    for i in range(50):
        assert lines.count(f"parent round={i}") == 1 and lines.count(f"child begins round={i}") == 1, i
    assert len([m for m in lines if m.startswith("child round=")]) == 50 * 99


def test_ten_thousand_short_threads(installed, guest, rings):
    out = run(guest["shared"], "threads", 10000, rings=rings, timeout=120, env={"SONDE_RING_KEEP": "1"})
    assert out.returncode == 0
    assert sorted(int(m.split("=")[1]) for m in messages(out.stderr)) == list(range(10000))
    assert int(re.search(r"grown (-?\d+) KiB", out.stdout)[1]) < 1024, out.stdout
    assert inspect(installed, next(rings.glob("*.ring")))[-1]["threads"] <= 8  # rings are recycled


# ---- ends -------------------------------------------------------------------------------------------------------------
def test_quick_end_leaves_the_ring(installed, guest, rings):
    started = time.monotonic()
    out = run(guest["shared"], "quick_end", rings=rings)
    assert out.returncode == 5 and time.monotonic() - started < 5
    left = list(rings.glob("*.ring"))
    assert len(left) == 1
    assert [e for e in inspect(installed, left[0]) if e["message"] == "last words"][0]["n"] == 1
    notes = subprocess.run(["readelf", "-n", guest["shared"]], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: ([0-9a-f]+)", notes)
    assert not build_id or f", build id {build_id[1]}\n" in inspect(installed, left[0], jsonl=False)


@pytest.mark.parametrize("mode,status", [("crash", signal.SIGSEGV), ("abort", signal.SIGABRT)])
def test_crashes_end_as_before(installed, guest, rings, tmp_path, mode, status):
    resource_limit = resource.getrlimit(resource.RLIMIT_CORE)

    def allow_core():
        resource.setrlimit(resource.RLIMIT_CORE, (resource_limit[1], resource_limit[1]))

    def ended(program, *arguments):
        pid = os.fork()
        if pid == 0:
            try:
                os.chdir(tmp_path)
                allow_core()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                os.execve(program, [program, *arguments], {"SONDE_RING_DIR": str(rings)})
            finally:
                os._exit(127)
        return os.waitpid(pid, 0)[1]

    bare = installed.tmp / f"bare-{mode}"
    code = "int main(void) { volatile int *p = 0; *p = 1; return 0; }" if mode == "crash" else \
        "void abort(void); int main(void) { abort(); }"
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(bare)], input=code, text=True, check=True)
    with_us, without = ended(guest["shared"], mode), ended(str(bare))
    assert os.WIFSIGNALED(with_us) and os.WTERMSIG(with_us) == status
    assert os.WCOREDUMP(with_us) == os.WCOREDUMP(without)
    left = list(rings.glob("*.ring"))
    assert len(left) == 1 and any(e["message"].startswith("about to") for e in inspect(installed, left[0]))


def test_no_handlers_no_mask(guest, rings):
    out = run(guest["shared"], "handlers", rings=rings)
    assert out.returncode == 0, out.stdout


# ---- surroundings -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_without_standard_streams(installed, guest, rings, tmp_path, closed):
    own = tmp_path / "own"
    out = run(guest["shared"], "closed", closed, own, rings=rings, env={"SONDE_RING_KEEP": "1"})
    assert out.returncode == 0, f"{out.returncode}: 2x means that libsonde holds descriptor x"
    assert own.read_text() == "own data\n"
    ring = list(rings.glob("*.ring"))
    assert len(ring) == 1
    events = inspect(installed, ring[0])
    assert len([e for e in events if e["message"] == "line"]) == 500
    if "2" not in closed:
        assert len(messages(out.stderr)) == 500


def test_daemon_that_closes_everything(installed, guest, rings, tmp_path):
    out = run(guest["shared"], "daemon", tmp_path / "own", rings=rings, env={"SONDE_RING_KEEP": "1"})
    assert out.returncode == 0, out.returncode
    ring = max(rings.glob("*.ring"), key=lambda p: p.stat().st_size)
    assert ring.stat().st_size > 2 << 20  # it went on growing
    assert [e for e in inspect(installed, ring) if e["message"] == "another call site"]


def test_daemon_with_a_log_file(guest, rings, tmp_path):
    out = run(guest["shared"], "daemon", tmp_path / "own", rings=rings,
              env={"SONDE_LOG_FILE": str(tmp_path / "log"), "SONDE_RING_SIZE": "67108864"})
    assert out.returncode == 0, out.returncode
    assert len([m for m in messages((tmp_path / "log").read_text()) if m.startswith("line i=")]) == 50000


@pytest.mark.parametrize("closed", ["2", "012"])
def test_log_file_without_standard_streams(guest, rings, tmp_path, closed):
    out = run(guest["shared"], "closed", closed, tmp_path / "own", rings=rings, env={"SONDE_LOG_FILE": str(tmp_path / "log")})
    assert out.returncode == 0, out.returncode
    assert len(messages((tmp_path / "log").read_text())) == 500


def test_log_file_at_its_limit(guest, rings, tmp_path):
    out = run(guest["shared"], "broken", tmp_path / "err", rings=rings, env={"SONDE_LOG_FILE": str(tmp_path / "log")})
    assert out.returncode == 0, out.returncode


@pytest.mark.parametrize("size", [32768, 65536])
def test_small_stacks(guest, rings, size):
    out = run(guest["shared"], "small_stack", size, rings=rings, env={"DYN_LOGGING_JSONL": "1"})
    assert out.returncode == 0, out.returncode
    assert [json.loads(line)["a"] for line in out.stderr.splitlines()] == [0, 1, 2, 3]


def check_fallback(out, n):
    assert out.returncode == 0, out
    assert len(messages(out.stderr)) == n
    warnings = [line for line in out.stderr.splitlines() if "survive" in line]
    assert len(warnings) == 1 and warnings[0].startswith("sonde: "), out.stderr[:2000]


@pytest.mark.parametrize("where", ["/proc/sonde-rings", "/dev/null/rings"])
def test_ring_directory_that_cannot_be_written(guest, where):
    check_fallback(run(guest["shared"], "lines", 5000, rings=where), 5000)


def test_full_ring_directory(guest, tmp_path):
    mount = ("mount -t tmpfs -o size=256k none \"$SONDE_RING_DIR\" && "
             "dd if=/dev/zero of=\"$SONDE_RING_DIR/full\" bs=4k count=63 2>/dev/null; exec \"$@\"")
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    out = run("unshare", "-m", "sh", "-c", mount, "sh", guest["shared"], "lines", 5000, rings=tmp_path)
    check_fallback(out, 5000)


@pytest.mark.parametrize("limit", [4096, 1 << 20, 2 << 20])
def test_file_size_limit(guest, rings, limit):
    """No SIGXFSZ, at the start or when the ring grows."""
    out = run(guest["shared"], "file_limit", limit, rings=rings)
    assert out.returncode == 0, out.returncode
    lost = sum(int(n) for n in re.findall(r"lost \d+ records? between .*?\blost=(\d+)", out.stderr))
    assert len([m for m in messages(out.stderr) if m.startswith("line i=")]) + lost == 20000


@pytest.mark.parametrize("what", ["pipe", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_broken_standard_error(guest, rings, tmp_path, kind, what):
    """Neither SIGPIPE nor SIGXFSZ ends the host."""
    out = run(guest[kind], "broken", "pipe" if what == "pipe" else tmp_path / "err", rings=rings)
    assert out.returncode == 0, out.returncode


def test_idle_costs_nothing(guest, rings):
    out = run(guest["shared"], "idle", 10, rings=rings)
    assert out.returncode == 0
    assert float(out.stdout) < 0.001, f"{float(out.stdout):.4%} of a core"


# ---- order, loss, kill -9 -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("threads", [4, 32])
def test_order_across_threads(guest, rings, threads):
    """In time order up to the backend's longest wait (10 ms), in the order of sending within a thread."""
    each = 80000 // threads
    out = run(guest["shared"], "order", threads, each, rings=rings, env={"SONDE_RING_SIZE": "67108864"}, timeout=120)
    assert out.returncode == 0
    following, latest, late = [0] * threads, 0, 0
    for line in re.findall(r"^(\S+)  INFO \S+: order t=(\d+) i=(\d+)$", out.stderr, re.M):
        hms, micro = line[0][11:19].split(":"), int(line[0][20:26])
        now = ((int(hms[0]) * 60 + int(hms[1])) * 60 + int(hms[2])) * 1000000 + micro
        thread, i = int(line[1]), int(line[2])
        assert i == following[thread], f"thread {thread}: {i} after {following[thread] - 1}"
        following[thread] += 1
        late = max(late, latest - now)
        latest = max(latest, now)
    assert following == [each] * threads
    assert late <= 10000, f"a line came {late} us too late"


@pytest.mark.parametrize("size", [262144, 8388608])
def test_burst_counts_each_loss(guest, rings, tmp_path, size):
    env = {"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(rings), "SONDE_RING_SIZE": str(size)}
    with open(tmp_path / "lines", "wb") as err:
        out = subprocess.run([guest["shared"], "burst", "1000000"], env=env, stdout=subprocess.PIPE, stderr=err, timeout=180)
    assert out.returncode == 0
    lost = int(out.stdout)
    written, before, told = 0, -1, 0
    with open(tmp_path / "lines", encoding="utf-8") as lines:
        for line in lines:
            at = line.find(": burst i=")
            if at > 0:
                i = int(line[at + 10:].split(" ", 1)[0])
                assert i > before
                before = i
                written += 1
            elif "lost" in line:
                told += int(re.search(r"\blost=(\d+)", line)[1])
    assert written + lost == 1000000, (written, lost)
    assert told == lost, (told, lost)


@pytest.mark.parametrize("threads", [4, 64])
def test_kill_9_loses_one_record_a_thread(installed, guest, rings, tmp_path, threads):
    random.seed(threads)
    counted = 0
    for round_ in range(30):
        shared = tmp_path / "progress"
        shared.write_bytes(bytes(64 * 8))
        env = {"SONDE_RING_DIR": str(rings)}
        host = subprocess.Popen([guest["shared"], "killed", str(threads), str(shared)], env=env, stderr=subprocess.DEVNULL)
        with open(shared, "r+b") as f, mmap.mmap(f.fileno(), 512) as done:
            deadline = time.monotonic() + 30
            while min(struct.unpack(f"{threads}q", done[:threads * 8])) < 100 and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(random.random() * 0.1)
            host.kill()
            host.wait()
            finished = struct.unpack(f"{threads}q", done[:threads * 8])
        path = next(rings.glob(f"*-{host.pid}.ring"))
        events = inspect(installed, path)
        tail = events[-1]
        assert tail["damaged"] == 0 and tail["torn"] <= threads, tail
        seen = {}
        for e in events:
            if e["message"] == "work":
                seen.setdefault(e["t"], []).append(e["i"])
        missing = 0
        for t in range(threads):
            # A record is in the ring before its call returns, so at most one is there that was not noted.
            assert seen[t][-1] <= finished[t] + 1 and seen[t] == sorted(set(seen[t])), (round_, t)
            missing += max(finished[t], seen[t][-1]) - seen[t][0] + 1 - len(seen[t])
        assert missing <= tail["lost"], (round_, missing, tail)  # a loss was counted (a busy machine: the ring was full)
        counted += tail["lost"] > 0
        if sum(finished) < 30000:  # less than the ring holds: nothing was overwritten
            assert all(seen[t][0] == 1 for t in range(threads)), round_
        path.unlink()
    assert counted <= 10, "rings ran full in so many rounds that little was tested"


# ---- instruction counts -------------------------------------------------------------------------------------------------
def test_instruction_counts(installed, guest, rings, tmp_path):
    """What a call costs in instructions, as recorded in counts.json, with a tenth to spare: counts do not depend on the machine's
    load. After a deliberate change: SONDE_COUNTS=write."""
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")

    def total(what, n):
        out = tmp_path / f"{what}-{n}"
        done = run("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=count_*", guest["shared"],
                   "counts", what, n, rings=rings, timeout=120,
                   env={"SONDE_FLIGHT_LEVEL": "off", **({"OTEL_TRACES_SAMPLER": "always_off"} if what == "dropped" else {})})
        assert done.returncode == 0, done.stderr
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])

    got = {what: (total(what, 1100) - total(what, 100)) / 1000 for what in ("enabled", "disabled", "span", "attributes", "dropped")}
    record = HERE / "counts.json"
    if os.environ.get("SONDE_COUNTS") == "write":
        record.write_text(json.dumps(got, indent=1) + "\n")
    want = json.loads(record.read_text())
    for what, n in got.items():
        assert n <= want[what] * 1.1, f"{what}: {n:.1f} instructions a call, recorded {want[what]:.1f}"
    print(got)
