"""Requests through the middlewares, in processes of their own whose spans are read from the console exporter."""
import importlib.util

import pytest


def needs(*modules):
    return pytest.mark.skipif(any(importlib.util.find_spec(m) is None for m in modules), reason=f"{', '.join(modules)} not installed")


@needs("starlette", "httpx")
def test_asgi(go):
    out, spans, lines = go("""
import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
async def chat(request):
    sonde.info("inside")
    return PlainTextResponse("ok", headers={"x-request-id": "theirs"})
async def broken(request): raise RuntimeError("oops")
async def parts(request):
    async def gen():
        yield b"a"
        sonde.info("in the stream")
        yield b"b"
    return StreamingResponse(gen())
app = sonde.middleware.ASGI(Starlette(routes=[Route("/chat", chat), Route("/broken", broken), Route("/parts", parts), Route("/health", chat)]))
async def main():
    t = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=t, base_url="http://x") as c:
        r = await c.get("/chat?a=1", headers={"traceparent": TP, "X-Request-Id": "r-1"}); print(r.headers.get_list("x-request-id"))
        r = await c.get("/chat"); print(len(r.headers["x-request-id"]))
        r = await c.get("/broken"); print(r.status_code)
        r = await c.get("/parts"); print(r.text)
        r = await c.get("/health"); print("x-request-id" in r.headers and r.headers["x-request-id"])
    outside = Starlette(routes=[Route("/broken", broken)])
    outside.add_middleware(sonde.middleware.ASGI)      # what answers 500 is outside of ours
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outside, raise_app_exceptions=False), base_url="http://x") as c:
        r = await c.get("/broken"); print(r.status_code)
asyncio.run(main())
""")
    assert out.split("\n")[:6] == ["['r-1']", "36", "500", "ab", "theirs", "500"]
    again = spans.pop()
    assert (again["attributes"]["http.response.status_code"], again["status"]["code"]) == ("500", 2)
    assert [(s["name"], s["kind"], s["attributes"]["uri"], s["attributes"].get("http.response.status_code")) for s in spans] == [
        ("http-request", 2, "/chat?a=1", "200"), ("http-request", 2, "/chat", "200"), ("http-request", 2, "/broken", "500"), ("http-request", 2, "/parts", "200")]
    assert spans[0]["traceId"] == "a" * 32 and spans[0]["parentSpanId"] == "b" * 16 and spans[1]["traceId"] != "a" * 32
    assert spans[2]["status"]["code"] == 2 and spans[2]["events"][0]["name"] == "exception"
    inside = [x for x in lines if x["message"] in ("inside", "in the stream")]
    assert inside[0]["x_request_id"] == "r-1" and inside[0]["trace_id"] == "a" * 32 and inside[2]["span_id"] == spans[3]["spanId"]


@needs("aiohttp")
def test_aiohttp(go):
    out, spans, lines = go("""
import aiohttp
from aiohttp import web
async def chat(request):
    sonde.info("inside", id=request.headers["x-request-id"])
    return web.json_response({})
async def gone(request): raise web.HTTPGone()
async def broken(request): raise RuntimeError("oops")
async def main():
    app = web.Application(middlewares=[sonde.middleware.aiohttp_server()])
    app.add_routes([web.get("/chat", chat), web.get("/gone", gone), web.get("/broken", broken)])
    runner = web.AppRunner(app); await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession(trace_configs=[sonde.middleware.aiohttp_client()]) as c:
        with sonde.request({"traceparent": TP, "x-request-id": "r-1"}), sonde.span("frontend"):
            async with c.get(base + "/chat?q") as r: print(r.status, r.headers["x-request-id"])
            async with c.get(base + "/gone") as r: print(r.status, r.headers["x-request-id"])
            async with c.get(base + "/broken") as r: print(r.status)
            try: await c.get("http://127.0.0.1:1/")
            except aiohttp.ClientError: print("refused")
    await runner.cleanup()
asyncio.run(main())
""")
    assert out.split("\n")[:4] == ["200 r-1", "410 r-1", "500", "refused"]
    assert all(s["traceId"] == "a" * 32 for s in spans)
    by_id = {s["spanId"]: s for s in spans}
    servers = [s for s in spans if s["kind"] == 2]
    assert [(s["name"], s["attributes"]["uri"], by_id[s["parentSpanId"]]["name"]) for s in servers] == [
        ("http-request", "/chat?q", "GET"), ("http-request", "/gone", "GET"), ("http-request", "/broken", "GET")]
    clients = [s for s in spans if s["kind"] == 3]
    assert [s["attributes"].get("http.response.status_code") for s in clients] == ["200", "410", "500", None]
    assert [s.get("status", {}).get("code", 0) for s in clients] == [0, 2, 2, 2] and [s.get("status", {}).get("code", 0) for s in servers] == [0, 0, 2]
    assert next(x for x in lines if x["message"] == "inside")["x_request_id"] == "r-1"


GRPC = """
import grpc, grpc.aio
from concurrent import futures
ok = lambda b: b
kinds = {"uu": grpc.unary_unary_rpc_method_handler, "us": grpc.unary_stream_rpc_method_handler, "su": grpc.stream_unary_rpc_method_handler,
         "ss": grpc.stream_stream_rpc_method_handler, "bad": grpc.unary_unary_rpc_method_handler, "no": grpc.unary_unary_rpc_method_handler}
def ids(context): return dict(context.trailing_metadata())["x-request-id"]
"""


def check_grpc(out, spans, lines):
    assert out.split("\n")[:6] == ["r-1", "2", "r-1", "2", "INTERNAL", "NOT_FOUND"]
    assert all(s["traceId"] == "a" * 32 for s in spans if s["name"] == "rpc")
    servers, clients = ({s["attributes"]["rpc.method"]: s for s in spans if s["kind"] == k} for k in (2, 3))
    assert set(servers) == set(clients) == {"uu", "us", "su", "ss", "bad", "no"}
    for method, server in servers.items():
        assert server["parentSpanId"] == clients[method]["spanId"] and server["attributes"]["rpc.service"] == "pkg.Svc"
    code = {m: (servers[m]["attributes"]["rpc.grpc.status_code"], servers[m].get("status", {}).get("code", 0), clients[m].get("status", {}).get("code", 0))
            for m in servers}
    assert code == {"uu": ("0", 0, 0), "us": ("0", 0, 0), "su": ("0", 0, 0), "ss": ("0", 0, 0), "bad": ("13", 2, 2), "no": ("5", 2, 2)}
    inside = [x for x in lines if x["message"] == "inside"]
    assert len(inside) == 4 and all(x["x_request_id"] == "r-1" and x["trace_id"] == "a" * 32 for x in inside)


@needs("grpc")
def test_grpc(go):
    check_grpc(*go(GRPC + """
def uu(r, c): sonde.info("inside"); return r
def us(r, c):
    yield r
    sonde.info("inside")
    yield r
def su(it, c): sonde.info("inside"); return b"".join(it)
def ss(it, c):
    for r in it: yield r
    sonde.info("inside")
def bad(r, c): c.abort(grpc.StatusCode.INTERNAL, "broken")
def no(r, c): c.abort(grpc.StatusCode.NOT_FOUND, "none")
server = grpc.server(futures.ThreadPoolExecutor(4), interceptors=[sonde.middleware.grpc_server()])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pkg.Svc", {k: make(globals()[k], ok, ok) for k, make in kinds.items()}),))
port = server.add_insecure_port("127.0.0.1:0"); server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as plain, sonde.request({"traceparent": TP, "x-request-id": "r-1"}), sonde.span("frontend"):
    ch = grpc.intercept_channel(plain, sonde.middleware.grpc_client())
    r, call = ch.unary_unary("/pkg.Svc/uu", ok, ok).with_call(b"x"); print(ids(call))
    print(len(list(ch.unary_stream("/pkg.Svc/us", ok, ok)(b"x"))))
    r, call = ch.stream_unary("/pkg.Svc/su", ok, ok).with_call(iter([b"x", b"y"])); print(ids(call))
    print(len(list(ch.stream_stream("/pkg.Svc/ss", ok, ok)(iter([b"x", b"y"])))))
    for m in ("bad", "no"):
        try: ch.unary_unary(f"/pkg.Svc/{m}", ok, ok)(b"x")
        except grpc.RpcError as e: print(e.code().name)
server.stop(None).wait()
"""))


@needs("grpc")
def test_grpc_aio(go):
    check_grpc(*go(GRPC + """
async def uu(r, c): sonde.info("inside"); return r
async def us(r, c):
    yield r
    sonde.info("inside")
    yield r
async def su(it, c):
    sonde.info("inside")
    return b"".join([r async for r in it])
async def ss(it, c):
    async for r in it: yield r
    sonde.info("inside")
async def bad(r, c): await c.abort(grpc.StatusCode.INTERNAL, "broken")
async def no(r, c): await c.abort(grpc.StatusCode.NOT_FOUND, "none")
async def main():
    server = grpc.aio.server(interceptors=[sonde.middleware.grpc_aio_server()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("pkg.Svc", {k: make(fns[k], ok, ok) for k, make in kinds.items()}),))
    port = server.add_insecure_port("127.0.0.1:0"); await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=sonde.middleware.grpc_aio_client()) as ch:
        with sonde.request({"traceparent": TP, "x-request-id": "r-1"}), sonde.span("frontend"):
            call = ch.unary_unary("/pkg.Svc/uu", ok, ok)(b"x"); await call; print(dict(await call.trailing_metadata())["x-request-id"])
            print(len([x async for x in ch.unary_stream("/pkg.Svc/us", ok, ok)(b"x")]))
            call = ch.stream_unary("/pkg.Svc/su", ok, ok)(iter([b"x", b"y"])); await call; print(dict(await call.trailing_metadata())["x-request-id"])
            print(len([x async for x in ch.stream_stream("/pkg.Svc/ss", ok, ok)(iter([b"x", b"y"]))]))
            for m in ("bad", "no"):
                try: await ch.unary_unary(f"/pkg.Svc/{m}", ok, ok)(b"x")
                except grpc.RpcError as e: print(e.code().name)
    await server.stop(None)
fns = dict(globals())
asyncio.run(main())
"""))
