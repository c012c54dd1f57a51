"""Logging that a program configures for itself, in a process where SONDE_AUTO holds it."""
import sys

import pytest

HELD = {"SONDE_AUTO": "1"}


def told(run, source, **env):
    code, out, lines = run("import logging, sys\n" + source, env={**HELD, **env})
    assert code == 0, (out, run.other)
    return out, [x["message"] for x in lines]


CONFIGURED = [
    ("basicConfig", "logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')"),
    ("force, as SGLang does", "logging.basicConfig(level=logging.INFO, format='[%(asctime)s] %(message)s', force=True)"),
    ("to stdout", "logging.basicConfig(stream=sys.stdout, level=logging.INFO)"),
    ("a handler of the root", "logging.getLogger().addHandler(logging.StreamHandler())"),
    ("a handler of the logger", "logging.getLogger('app').addHandler(logging.StreamHandler(sys.stdout))"),
    ("and nothing above it", "h = logging.StreamHandler(); log = logging.getLogger('app'); log.addHandler(h); log.propagate = False"),
    ("dictConfig", "import logging.config\nlogging.config.dictConfig({'version': 1, 'handlers': {'c': {'class': 'logging.StreamHandler'}}, 'root': {'handlers': ['c'], 'level': 'INFO'}})"),
    ("dictConfig, as uvicorn does", "from logging.config import dictConfig\ndictConfig({'version': 1, 'disable_existing_loggers': False, 'handlers': {'c': {'class': "
     "'logging.StreamHandler', 'stream': 'ext://sys.stdout'}}, 'loggers': {'app': {'handlers': ['c'], 'level': 'INFO', 'propagate': False}}})"),
    ("both", "from logging.config import dictConfig\ndictConfig({'version': 1, 'handlers': {'c': {'class': 'logging.StreamHandler'}}, 'root': {'handlers': ['c']}, "
     "'loggers': {'app': {'handlers': ['c'], 'level': 'INFO'}}})"),
    ("fileConfig", "import logging.config\nopen('log.ini', 'w').write('[loggers]\\nkeys=root\\n[handlers]\\nkeys=c\\n[formatters]\\nkeys=\\n[logger_root]\\nlevel=INFO\\nhandlers=c\\n"
     "[handler_c]\\nclass=StreamHandler\\nargs=(sys.stdout,)\\n')\nlogging.config.fileConfig('log.ini')"),
    ("the root cleared", "root = logging.getLogger(); root.handlers.clear(); root.addHandler(logging.StreamHandler(sys.stdout))"),
]


@pytest.mark.parametrize("configure", [c for _, c in CONFIGURED], ids=[n for n, _ in CONFIGURED])
def test_lines_come_out_once_and_in_our_format(run, configure):
    out, messages = told(run, configure + "\nlogging.getLogger('app').info('of the app %d', 1)\nlogging.getLogger('app').warning('again')\n")
    assert messages == ["of the app 1", "again"] and out == "" and run.other == []


def test_files_and_streams_in_memory_stay(run, tmp_path):
    _, messages = told(run, """
import io
memory = io.StringIO()
logging.basicConfig(filename="app.log", level=logging.WARNING, format="%(levelname)s %(message)s")
logging.getLogger().addHandler(logging.StreamHandler(memory))
log = logging.getLogger("app")
log.info("quiet in the file"); log.warning("loud")
assert "loud" in memory.getvalue()
""")
    assert messages == ["quiet in the file", "loud"] and (tmp_path / "app.log").read_text() == "WARNING loud\n"


def test_levels_and_filters_of_a_handler_stay(run):
    _, messages = told(run, """
from logging.config import dictConfig
class Odd(logging.Filter):
    def filter(self, r): return "odd" in r.getMessage()
dictConfig({"version": 1, "filters": {"odd": {"()": Odd}}, "handlers": {"c": {"class": "logging.StreamHandler", "level": "WARNING", "filters": ["odd"]}},
            "loggers": {"app": {"handlers": ["c"], "propagate": False}}})
log = logging.getLogger("app")
log.info("odd, but quiet"); log.warning("odd"); log.warning("even")
""")
    assert messages == ["odd"]


def test_children_and_the_module_functions(run):
    _, messages = told(run, "logging.warning('first')\nlogging.basicConfig(force=True)\nlogging.getLogger('a.b.c').info('second')\nlogging.info('third')\n", DYN_LOG="info")
    assert messages == ["first", "second", "third"]


def test_where_nothing_is_held_programs_do_what_they_did(run):
    code, out, lines = run("""
import logging, sys, sonde.logging
sonde.logging.configure()
logging.basicConfig(stream=sys.stdout, format="plain %(message)s", force=True)
logging.warning("x")
""")
    assert code == 0 and out == "plain x\n" and lines == []


def test_start_up_does_not_import_what_is_not_needed(run):
    out, _ = told(run, "print('logging.config' in sys.modules, 'logging.handlers' in sys.modules)\n")
    assert out == "False False\n"
