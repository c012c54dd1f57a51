"""Settings: flag > environment > file > default, through the program; and what is made from their tables: help, man, completion, docs."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, Server


@pytest.fixture
def run(sonde_program, tmp_path):
    """Runs `sonde ARGS…` in a directory of its own, without variables of ours: (exit code, stdout, stderr)."""

    def go(*args, env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SONDE_")}
        p = subprocess.run([str(sonde_program), *map(str, args)], capture_output=True, text=True, timeout=30, cwd=tmp_path,
                           env={**clean, **(env or {})})
        return p.returncode, p.stdout, p.stderr

    return go


def settings_of(run, *args, env=None):
    code, out, err = run("env", *args, "-o", "json", env=env)
    assert code == 0, err
    return {s["flag"]: s for group in json.loads(out) for s in group["settings"] if s["flag"]}  # libsonde's have none


def commands(run):
    names = re.findall(r"^  sonde (\S+)", run("help")[1], re.M)
    assert {"serve", "logs", "env", "completion"} <= set(names)
    return names


# ---- layers -----------------------------------------------------------------------------------------------------------
def test_each_layer_wins_over_the_next(run, tmp_path):
    (tmp_path / "s.toml").write_text('threads = 3\nquery_threads = 3\nretention = "3d"\n')
    got = settings_of(run, "serve", "--config", "s.toml", "--threads", "5",
                      env={"SONDE_THREADS": "4", "SONDE_QUERY_THREADS": "4", "SONDE_INFLIGHT": ""})
    assert {k: (got[k]["value"], got[k]["from"], got[k]["origin"]) for k in ("threads", "query-threads", "retention", "inflight")} == {
        "threads": ("5", "flag", "flag --threads"),
        "query-threads": ("4", "environment", "environment SONDE_QUERY_THREADS"),
        "retention": ("3d", "file", "s.toml:3"),
        "inflight": ("256MiB", "default", "default"),
    }


def test_the_environment_names_the_file(run, tmp_path):
    (tmp_path / "a.toml").write_text("threads = 3\n")
    (tmp_path / "b.toml").write_text("threads = 4\n")
    assert settings_of(run, "serve", env={"SONDE_CONFIG": "a.toml"})["threads"]["origin"] == "a.toml:1"
    assert settings_of(run, "serve", "--config", "b.toml", env={"SONDE_CONFIG": "a.toml"})["threads"]["value"] == "4"
    (tmp_path / "sonde.toml").write_text("threads = 9\n")  # none is looked for
    assert settings_of(run, "serve")["threads"]["value"] == "2"


def test_a_server_obeys_its_file(sonde_program, tmp_path):
    (tmp_path / "s.toml").write_text('otlp_http = "off"\ndiscover_service = true\nhttp = "127.0.0.1:1"\n')
    class Filed(Server):
        def start(self):
            argv = [self.program, "serve", "--config", str(tmp_path / "s.toml"), "--data", self.data, "--http", "127.0.0.1:0",
                    "--otlp-grpc", "off"]
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True)
            line = self.process.stdout.readline()
            assert "otlp" not in line, line
            self.ports = {"http": int(re.search(r"http://127\.0\.0\.1:(\d+)", line).group(1))}

    s = Filed(sonde_program, tmp_path / "data")
    try:
        assert s.call("/ready")[0] == 200
    finally:
        assert s.stop() == 0


@pytest.mark.parametrize("text, message", [
    ("threads = ", "s.toml: line 1, column 11: expected a value, found the end of the text"),
    ("\nthreads = 'two'", "s.toml: line 2, column 1: threads must be an integer; found a string"),
    ("threads = 65", "s.toml: line 1, column 1: threads: 65 is out of bounds: 1 to 64 are accepted"),
    ("retention = '7 days'", "s.toml: line 1, column 1: retention: \"7 days\" is not a duration; write 500ms, 5s, 2m, 1h or 7d"),
    ("otlp_gprc = 'x'", "s.toml: line 1, column 1: there is no setting \"otlp_gprc\"; did you mean otlp_grpc? Accepted: data, http, "),
    ("config = 'x'", "s.toml: line 1, column 1: there is no setting \"config\". Accepted: data, http, "),
    (None, "cannot read s.toml: No such file or directory"),
])
def test_a_wrong_file_ends_the_start(run, tmp_path, text, message):
    if text is not None:
        (tmp_path / "s.toml").write_text(text)
    for command in (("serve",), ("env", "serve")):
        code, out, err = run(*command, "--config", "s.toml")
        assert code == 2 and out == "" and err.startswith("sonde: " + message), err
    assert not (tmp_path / "sonde-data").exists()


def test_near_misses_are_asked_about(run):
    assert "did you mean --retention?" in run("serve", "--retentoin", "1d")[2]
    assert "did you mean serve?" in run("srve")[2]
    code, _, err = run("logs", "-o", "xml")
    assert code == 2 and err == 'sonde: option -o: "xml" is not accepted; write one of text json jsonl\n'


@pytest.mark.parametrize("line, message", [
    ("requests --foo", "unknown option --foo; `sonde help requests` lists the options"),
    ("requests --url 127.0.0.1:3100", "--url 127.0.0.1:3100: write http://HOST:PORT or https://HOST:PORT"),
    ("requests --url http://host:port", "--url http://host:port: write http://HOST:PORT or https://HOST:PORT"),
    ("requests --limit 99999999999999999999", 'option --limit: "99999999999999999999" is too large a whole number'),
    ("metrics up --range 999999w", 'option --range: "999999w" is too long a duration; write 500ms, 5s, 2m, 1h or 7d'),
    ("config dump --pid self", 'option --pid: "self" is not the number of a process'),
    ("man serv", 'there is no command "serv"; did you mean serve? `sonde help` lists them'),
    ("version 2", 'version takes no argument "2"'),
])
def test_a_wrong_line_is_told_what_and_where(run, line, message):
    code, out, err = run(*line.split())
    assert (code, out, err) == (2, "", f"sonde: {message}\n")


def test_a_server_that_is_none_of_ours(server, cli):
    url = server.url() + "/behind/a/path"
    code, _, err = cli("requests", "--url", url)
    assert code == 3 and err.startswith(f"sonde: {url} answers, but not as a Sonde server: HTTP 404"), err


# ---- env --------------------------------------------------------------------------------------------------------------
def test_env_tells_every_setting(run):
    code, out, _ = run("env", env={"SONDE_URL": "http://elsewhere:1"})
    assert code == 0
    assert re.search(r"^sonde serve$", out, re.M) and re.search(r"^sonde requests, request, trace and logs$", out, re.M)
    assert re.search(r"^  --url +http://elsewhere:1 +environment SONDE_URL +the server to ask$", out, re.M)
    for name in ("serve", "logs"):
        flags = re.findall(r"^  (--?[a-z-]+)", run("help", name)[1].split("\nOptions\n")[1], re.M)
        told = re.findall(r"^  (--?[a-z-]+)", run("env", name)[1], re.M)
        assert flags == told and len(flags) > 5
    for s in settings_of(run).values():
        assert s["about"] and s["type"] and s["accepted"] and s["from"] == "default"
    secrets = {"SONDE_DEBUG_TOKEN": "geheim", "OTEL_EXPORTER_OTLP_HEADERS": "a=geheim", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:geheim@h:1",
               "SONDE_OTLP_TRACES_ENDPOINTS": "http://h:2;headers=k%3Dgeheim;timeout=5", "DYN_HEALTH_CHECK_PAYLOAD": '{"api_key":"geheim"}'}
    for words in (("env",), ("env", "libsonde"), ("env", "-o", "json"), ("env", "libsonde", "-o", "json")):
        code, out, err = run(*words, env=secrets)
        assert code == 0 and "geheim" not in out + err and "<REDACTED>" in out, words
    assert run("env", "nothing")[0] == 2 and run("env", "-o", "xml")[0] == 2


# ---- docs -------------------------------------------------------------------------------------------------------------
def test_the_settings_page_is_fresh(run):
    code, out, _ = run("help", "--markdown")
    assert code == 0
    assert (ROOT / "docs/settings.md").read_text() == out, "docs/settings.md is older than the tables: run make docs"


def test_the_file_of_the_settings_page_holds_the_defaults(run, tmp_path):
    page = (ROOT / "docs/settings.md").read_text()
    (tmp_path / "s.toml").write_text(re.search(r"```toml\n(.*?)```", page, re.S).group(1))
    plain, filed = settings_of(run, "serve"), settings_of(run, "serve", "--config", "s.toml")
    assert len(plain) > 10
    for flag, s in filed.items():
        if flag != "config":
            assert s["from"] == "file" and s["value"] == plain[flag]["value"], flag


# ---- manual -----------------------------------------------------------------------------------------------------------
def test_every_command_has_a_page(run, tmp_path):
    assert run("man", "--dir", tmp_path / "man1")[0] == 0
    assert {p.name for p in (tmp_path / "man1").iterdir()} == {"sonde.1", *(f"sonde-{c}.1" for c in commands(run))}
    assert (tmp_path / "man1/sonde-serve.1").read_text() == run("man", "serve")[1]
    assert run("man", "nothing")[0] == 2


def test_pages_are_good_roff(run):
    if not shutil.which("groff"):
        pytest.skip("needs groff, which is not on this machine")
    for args in [(), *((c,) for c in commands(run))]:
        page = run("man", *args)[1]
        p = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=200n"], input=page, capture_output=True, text=True)
        assert p.returncode == 0 and p.stderr == "", (args, p.stderr)
        text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", p.stdout)
        assert "EXIT STATUS" in text and "\\" not in text.replace("\\e", ""), args
        if args == ("serve",):
            for s in settings_of(run, "serve").values():
                assert f"--{s['flag']}" in text and (not s["env"] or s["env"] in text) and (not s["key"] or s["key"] in text), s["flag"]


# ---- completion -------------------------------------------------------------------------------------------------------
@pytest.fixture
def complete(sonde_program, tmp_path):
    """What bash offers for a command line whose last word is being typed."""
    script = tmp_path / "sonde.bash"
    script.write_text(subprocess.run([str(sonde_program), "completion", "bash"], capture_output=True, text=True, check=True).stdout)

    def go(*words):
        quoted = " ".join(f"'{w}'" for w in words)
        # compopt works only while completion runs; here the function is called by hand
        p = subprocess.run(["bash", "-c", f"compopt() {{ :; }}; source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _sonde; "
                            'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True, cwd=tmp_path)
        assert p.returncode == 0 and p.stderr == "", p.stderr
        return p.stdout.split()

    return go


def test_bash_completes(run, complete, tmp_path):
    (tmp_path / "some.toml").write_text("")
    (tmp_path / "somewhere").mkdir()
    assert set(complete("sonde", "")) == {*commands(run), "help"}
    assert complete("sonde", "req") == ["requests", "request"]
    assert complete("sonde", "serve", "--otlp") == ["--otlp-grpc", "--otlp-http"]
    assert complete("sonde", "logs", "-o", "js") == ["json", "jsonl"]
    assert complete("sonde", "logs", "--color", "") == ["auto", "always", "never"]
    assert sorted(complete("sonde", "serve", "--config", "some")) == ["some.toml", "somewhere"]
    assert complete("sonde", "serve", "--data", "some") == ["somewhere"]
    assert complete("sonde", "serve", "--http", "") == []
    assert complete("sonde", "inspect", "") == ["wal", "part", "ring"]
    assert "some.toml" in complete("sonde", "inspect", "wal", "some")
    assert complete("sonde", "completion", "z") == ["zsh"]
    assert complete("sonde", "env", "ser") == complete("sonde", "help", "ser") == ["serve"]
    for c in commands(run):
        flags = re.findall(r"^  (--?[a-z-]+)", (run("help", c)[1].split("\nOptions\n") + [""])[1], re.M)
        assert complete("sonde", c, "-") == [*flags, "--help"], c


@pytest.mark.parametrize("shell, check", [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])])
def test_completion_is_good_shell(run, tmp_path, shell, check):
    code, out, _ = run("completion", shell)
    assert code == 0
    for s in settings_of(run).values():
        assert re.search(rf"-(l |s )?{re.escape(s['flag'])}\b", out), s["flag"]
    if not shutil.which(check[0]):
        pytest.skip(f"needs {shell}, which is not on this machine")
    (tmp_path / "script").write_text(out)
    p = subprocess.run([*check, str(tmp_path / "script")], capture_output=True, text=True)
    assert p.returncode == 0 and p.stderr == "", p.stderr


def test_completion_of_an_unknown_shell(run):
    code, out, err = run("completion", "tcsh")
    assert code == 2 and out == "" and "bash, zsh or fish" in err
