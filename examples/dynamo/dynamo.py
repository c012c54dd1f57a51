#!/usr/bin/env python3
"""A real NVIDIA Dynamo that tells Sonde what it does: frontend, prefill worker and decode worker with the simulated engine, no GPU.

    dynamo.py --dir DIR --otlp http://127.0.0.1:4317 --sonde http://127.0.0.1:3100 [--count N] [--seconds S]

Installs Dynamo from PyPI into DIR/venv on first use (about 0.7 GB), makes a toy model in DIR/model, starts the three processes on
free loopback ports with traces and logs exported over gRPC, sends requests demo-1 … demo-N, kills the decode worker in the middle
of the request lost-1, starts it again, sends two more, and says what to look at. Then waits for Ctrl-C, or until S seconds after
its start, and stops what it started. What the processes print is in DIR/logs.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

VERSION = "1.6.1"
# ai-dynamo's own list of dependencies pulls in what needs a GPU; these are the ones that the simulated engine imports.
DYNAMO = [f"ai-dynamo=={VERSION}", f"ai-dynamo-runtime=={VERSION}"]
IMPORTS = ["aiohttp", "certifi", "jinja2", "kubernetes", "msgspec", "prometheus-client", "pydantic<=2.13.5", "pyzmq", "redis", "tokenizers", "tqdm",
           "transformers", "typing-extensions", "uvloop", "zstandard"]
MODEL = "tiny"


def say(text):
    print(text, flush=True)


# ---- installation ----------------------------------------------------------------------------------------------------
def install(root):
    """The virtual environment's Python, with Dynamo in it."""
    python = root / "venv" / "bin" / "python"
    probe = f"import importlib.metadata as m, dynamo.mocker, dynamo.frontend; assert m.version('ai-dynamo') == '{VERSION}'"
    if python.exists() and subprocess.run([python, "-c", probe], capture_output=True).returncode == 0:
        return python
    say(f"installing Dynamo {VERSION} from PyPI into {root / 'venv'} (once, some minutes) …")
    base = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    subprocess.run([base, "-m", "venv", "--clear", root / "venv"], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *IMPORTS], check=True)
    subprocess.run([*pip, "--no-deps", *DYNAMO], check=True)
    return python


def byte_alphabet():
    """The 256 characters that stand for bytes in a byte-level vocabulary: printable ones for themselves, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256))
    return [chr(b) if b in printable else chr(0x100 + next(others)) for b in range(256)]


def make_model(folder):
    """Configuration and tokenizer of a model without weights; the simulated engine needs no more. A token is a byte, or two or three
    letters: the engine draws token ids between 1000 and 2000 at random, and single bytes would not make text."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [(a, b) for a in letters for b in letters]
    triples = [(a + b, c) for c in letters[:3] for a, b in pairs]
    tokens = special + byte_alphabet() + [a + b for a, b in pairs + triples]
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    marks = [dict(id=i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for i, s in enumerate(special)]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
             "byte_fallback": False, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [f"{a} {b}" for a, b in pairs + triples]}
    template = ("{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
                "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    files = {
        "tokenizer.json": {"version": "1.0", "truncation": None, "padding": None, "added_tokens": marks, "normalizer": None,
                           "pre_tokenizer": bytes_, "post_processor": None, "decoder": bytes_, "model": model},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": special[0], "eos_token": special[2],
                                  "model_max_length": 16384, "chat_template": template},
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": [2]},
        "config.json": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": len(tokens), "bos_token_id": 0,
                        "eos_token_id": 2, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
                        "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 16384, "rms_norm_eps": 1e-6,
                        "rope_theta": 1e4, "torch_dtype": "bfloat16"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- the processes -------------------------------------------------------------------------------------------------------
class Dynamo:
    def __init__(self, root, otlp):
        self.root, self.running = root, {}
        self.python = install(root)
        make_model(root / "model")
        self.port, bootstrap = free_port(), free_port()
        shutil.rmtree(root / "discovery", ignore_errors=True)
        (root / "logs").mkdir(exist_ok=True)
        loopback = ["DYN_TCP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", "DYN_EVENT_PLANE_HOST", "DYN_SYSTEM_HOST"]
        self.env = {**os.environ, **dict.fromkeys(loopback, "127.0.0.1"), "DYN_FILE_KV": str(root / "discovery"), "DYN_LOGGING_JSONL": "1",
                    "DYN_LOG": os.environ.get("DYN_LOG", "info"), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
                    "OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": otlp, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": otlp,
                    "OTEL_BSP_SCHEDULE_DELAY": "500", "OTEL_BLRP_SCHEDULE_DELAY": "500"}  # 5 s of spans would die with a killed worker
        worker = ["dynamo.mocker", "--model-path", str(root / "model"), "--model-name", MODEL, "--num-workers", "1"]
        self.programs = {
            "frontend": ["dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(self.port)],
            "prefill": [*worker, "--disaggregation-mode", "prefill", "--bootstrap-ports", str(bootstrap)],
            "decode": [*worker, "--disaggregation-mode", "decode"],
        }
        for name in self.programs:
            self.start(name)

    def start(self, name):
        service = {"frontend": "dynamo-frontend", "prefill": "dynamo-worker-prefill", "decode": "dynamo-worker-decode"}[name]
        planes = ["--discovery-backend", "file", "--request-plane", "tcp", "--event-plane", "zmq"]
        with open(self.root / "logs" / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen([self.python, "-m", *self.programs[name], *planes], stdout=log, stderr=log, start_new_session=True,
                                                  env={**self.env, "OTEL_SERVICE_NAME": service})

    def kill(self, name):
        """As the out-of-memory killer would. A process of the group at most, so that nothing of it is left."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()

    def wait_until_served(self, seconds=90):
        """Until a request goes through; returns false if that does not happen in time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if any(p.poll() is not None for p in self.running.values()):
                return False
            try:
                if self.chat("warm-up", tokens=1, timeout=10)[0] == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.3)
        return False

    def chat(self, request_id, tokens=24, stream=False, timeout=60, on_piece=None):
        """(status, milliseconds, the event that says error or the last line)"""
        words = "where did the time of this request go " * (1 + sum(request_id.encode()) % 12)
        body = {"model": MODEL, "stream": stream, "max_tokens": tokens, "ignore_eos": True, "messages": [{"role": "user", "content": words}]}
        began, pieces, last = time.monotonic(), 0, b""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json", "x-request-id": request_id})
            r = c.getresponse()
            for line in r:
                pieces += 1
                if line.strip() and b'"error"' not in last and not last.startswith(b"event: error"):
                    last = line.strip()
                if on_piece:
                    on_piece(pieces)
            return r.status, (time.monotonic() - began) * 1e3, last.decode(errors="replace")
        finally:
            c.close()

    def stop(self):
        for p in self.running.values():
            if p.poll() is None:
                p.terminate()
        until = time.monotonic() + 12
        for p in self.running.values():
            try:
                p.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()


# ---- the demonstration ----------------------------------------------------------------------------------------------------
def send(dynamo, count):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = {f"demo-{i}": pool.submit(dynamo.chat, f"demo-{i}", stream=i % 2 == 0) for i in range(1, count + 1)}
    for name, job in jobs.items():
        status, ms, _ = job.result()
        say(f"  {name:<8} {status} {ms:7.1f} ms")


def lose_worker(dynamo):
    """A long streamed request; the decode worker dies after some of its tokens."""

    def on_piece(n):
        if n == 60:  # a token makes two lines
            dynamo.kill("decode")

    try:
        status, ms, last = dynamo.chat("lost-1", tokens=400, stream=True, on_piece=on_piece)
        say(f"  lost-1   {status} {ms:7.1f} ms, ended with: {last[:160]}")
    except (OSError, http.client.HTTPException) as e:
        say(f"  lost-1   broken off: {e}")
    if dynamo.running["decode"].poll() is None:  # the answer was over before it
        dynamo.kill("decode")


def wait_for_request(sonde, request_id, seconds=20):
    host, port = sonde.split("//", 1)[1].rsplit(":", 1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            c = http.client.HTTPConnection(host, int(port), timeout=3)
            c.request("GET", f"/api/sonde/v1/requests/{request_id}")
            if c.getresponse().status == 200:
                return True
        except OSError:
            pass
        finally:
            c.close()
        time.sleep(0.3)
    return False


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", default="build/dynamo", type=pathlib.Path)
    p.add_argument("--otlp", default="http://127.0.0.1:4317")
    p.add_argument("--sonde", default="http://127.0.0.1:3100")
    p.add_argument("--program", default="build/sonde", help="how to call sonde, for the printed commands")
    p.add_argument("--count", default=10, type=int)
    p.add_argument("--seconds", default=0, type=int, help="stop by itself after that long; 0: Ctrl-C")
    a = p.parse_args()
    began = time.monotonic()

    def leave(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    a.dir.mkdir(parents=True, exist_ok=True)
    dynamo = None
    try:
        dynamo = Dynamo(a.dir.resolve(), a.otlp)
        say("starting frontend, prefill and decode worker …")
        if not dynamo.wait_until_served():
            say(f"Dynamo did not come up; see {dynamo.root / 'logs'}")
            return 1
        say(f"Dynamo serves the model {MODEL} on http://127.0.0.1:{dynamo.port}")
        send(dynamo, a.count)
        time.sleep(1)  # until what the decode worker did is exported
        lose_worker(dynamo)
        dynamo.start("decode")
        recovered = dynamo.wait_until_served(60)
        for i in (1, 2) if recovered else ():  # a 503 here: Dynamo still tries the dead worker in turn with the new one
            status, ms, _ = dynamo.chat(f"after-{i}")
            say(f"  after-{i}  {status} {ms:7.1f} ms")
        complete = wait_for_request(a.sonde, "lost-1")
        option = "" if a.sonde == "http://127.0.0.1:3100" else f"--url {a.sonde} "
        say(f"""
  Sonde      {a.sonde}{'' if complete else '   (the request lost-1 has not arrived there yet)'}

  Look at:
    {a.program} request {option}demo-7      prefill and decode overlap: where did its time go?
    {a.program} request {option}lost-1      its decode worker was killed: what failed, when, and which lines say why
    {a.program} logs {option}'{{service_name=~"dynamo-.*"}} |= "disconnect"'

  Send your own:
    curl -s http://127.0.0.1:{dynamo.port}/v1/chat/completions -H 'content-type: application/json' -H 'x-request-id: mine-1' \\
      -d '{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "hello"}}]}}'

  {f'Stops by itself after {a.seconds} s.' if a.seconds else 'Ctrl-C stops everything.'}""")
        while not a.seconds or time.monotonic() - began < a.seconds:
            time.sleep(0.2)
    except KeyboardInterrupt:
        say("\nstopping …")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if dynamo:
            dynamo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
