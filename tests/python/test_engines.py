"""The engines' own loggers, as their packages set them up. Runs where they can be imported (make check-engines installs them)."""
import importlib.util

import pytest

HEAD = "import logging, os, sys, types\n"
VLLM = """
import argparse
from vllm.logger import configure_logging_from_args, init_logger
configure_logging_from_args(argparse.Namespace())
log = init_logger("vllm.v1.engine.core")
"""
SGLANG = """
from sglang.srt.server_args import prepare_server_args
from sglang.srt.utils.common import configure_logger
try:
    prepare_server_args(["--model-path", "/none", "--device", "cpu"])      # sets logging up, then looks for the model
except BaseException as e:
    print(type(e).__name__)
configure_logger(types.SimpleNamespace(log_level="info"), prefix=" TP0")
log = logging.getLogger("sglang.srt.managers.scheduler")
"""
SPEAKS = """
import sonde
def step():
    with sonde.request({"x-request-id": "r-1"}), sonde.span("generate"):
        log.info("batch of %d", 3)
step()
log.debug("unseen")
"""
OTHERS = """
import uvicorn.config
uvicorn.config.Config(app=None)                  # sets its loggers up, as uvicorn.run() does
access = logging.getLogger("uvicorn.access")
for path in ("/v1/chat/completions", "/health"): access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4", "GET", path, "1.1", 200)
logging.getLogger("app").warning("of the app")
"""
ENGINES = [("vllm", VLLM, "vllm.v1.engine.core.step"), ("sglang", SGLANG, "sglang.srt.managers.scheduler.step")]


@pytest.fixture(params=ENGINES, ids=[e[0] for e in ENGINES])
def engine(request):
    if importlib.util.find_spec(request.param[0]) is None:
        pytest.skip(f"{request.param[0]} is not installed: make check-engines")
    return request.param


def the_line(lines, target):
    (line,) = [x for x in lines if x["message"] == "batch of 3"]
    assert (line["level"], line["target"], line["x_request_id"], line["span_name"]) == ("INFO", target, "r-1", "generate")
    assert "trace_id" in line and line["file"].endswith("program.py")
    assert not [x for x in lines if x["message"] == "unseen"]


def test_the_configuration_that_we_make_is_what_it_reads(run, engine):
    name, source, target = engine
    code, out, lines = run(f"{HEAD}import sonde.engines\nos.environ.update(sonde.engines.{name}().environment)\n{source}{SPEAKS}", timeout=300)
    assert code == 0 and "batch of 3" not in out + "\n".join(run.other), (out, run.other)
    the_line(lines, target)


def test_in_process(run, engine):
    name, source, target = engine
    code, out, lines = run(f"{HEAD}{source}import logging.config, sonde.engines\nlogging.config.dictConfig(sonde.engines.{name}().config)\n{SPEAKS}", timeout=300)
    assert code == 0 and "batch of 3" not in out + "\n".join(run.other), (out, run.other)
    the_line(lines, target)


def test_untouched_code_with_the_switch(run, engine):
    _, source, target = engine
    code, out, lines = run(HEAD + source + SPEAKS + OTHERS, env={"SONDE_AUTO": "1"}, timeout=300)
    assert code == 0, (out, run.other)
    the_line(lines, target)
    told = [x["message"] for x in lines]
    assert told.count("of the app") == 1 and told.count('1.2.3.4 - "GET /v1/chat/completions HTTP/1.1" 200') == 1
    assert not any("/health" in m for m in told)
    assert not any("of the app" in x or "/v1/chat" in x for x in [out, *run.other])


def test_tensorrt_llm(run):
    if importlib.util.find_spec("tensorrt_llm") is None:
        pytest.skip("tensorrt_llm is not installed: PyPI has its source alone, built with CUDA")
    code, out, lines = run("import sonde.engines, os\nos.environ.update(sonde.engines.trtllm().environment)\nfrom tensorrt_llm.logger import logger\nlogger.info('x')\n",
                           env={"SONDE_AUTO": "1"}, timeout=300)
    assert code == 0 and any("x" in x["message"] for x in lines), (out, run.other)
