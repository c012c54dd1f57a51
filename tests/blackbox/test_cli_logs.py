"""sonde logs: what it prints, in which order."""
import os
import pty
import subprocess
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


def test_a_line_does_not_drive_the_terminal(server, cli, sonde_program):
    line = "red \x1b[31mred\x1b[0m tab\there bell\x07 title \x1b]0;owned\x07 clear \x1b[2J del\x7f c1\u009bK"
    assert server.push({"app": "evil"}, [(time.time_ns() - 10**9, line)])[0] == 204
    assert line in cli("logs", '{app="evil"}')[1], "a pipe gets it as it is"
    ours, theirs = pty.openpty()
    p = subprocess.Popen([str(sonde_program), "logs", '{app="evil"}'], stdout=theirs, env=dict(os.environ, SONDE_URL=server.url(), NO_COLOR="1"))
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert p.wait(30) == 0
    assert "red \x1b[31mred\x1b[0m tab\there bell␇ title ␛]0;owned␇ clear ␛[2J del␡ c1�K" in shown.decode()
