"""sonde logs: what it prints, in which order."""
import time


def test_lines_of_one_moment_stand_in_the_order_they_came(server, cli):
    now = time.time_ns() // 1_000_000_000 * 1_000_000_000 - 10_000_000_000
    words = ["one", "two", "three", "four", "five"]
    for word in words:
        assert server.push({"app": "order"}, [(now, word)])[0] == 204
    assert server.push({"app": "order"}, [(now - 1, "before"), (now + 1, "after")])[0] == 204
    code, out, err = cli("logs", '{app="order"}')
    assert code == 0, err
    assert [line.split()[-1] for line in out.splitlines()] == ["before", *words, "after"]
    assert cli("logs", '{app="order"}', "--limit", 3)[1].split("\n")[0].endswith("four")
