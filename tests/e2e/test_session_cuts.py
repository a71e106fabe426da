"""A counter in a terminal comes out complete, whatever is cut or killed meanwhile. `make session-cuts RUNS=200` does it often."""

import os
import random
import re

import pytest

from harness.cutting_proxy import CuttingProxy
from harness.stack import Stack
from harness.terminal import Terminal

RUNS = int(os.environ.get("GS_SESSION_CUTS", 0))  # of each kind; 0: a few, for every merge
SEED = int(os.environ.get("GS_SESSION_CUTS_SEED", random.SystemRandom().randrange(1 << 32)))
LAST = 1500
COUNTER = f"""stty -echo; echo pid $$; i=0; while [ $i -lt {LAST} ]; do i=$((i+1)); echo $i; usleep 300; done
read -r line; echo "got $line"; echo pid $$; exit 7"""
OURS = re.compile(r"\r\ngstacks: [^\r]*\r\n")


@pytest.fixture(scope="module")
def stack(docker, busybox_archive):
    """Of its own, because its parts are killed."""
    stack = Stack(agents=1, engine=docker)
    try:
        stack.import_blueprint(busybox_archive)
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="module")
def box(stack):
    box = stack.api.create_sandbox("busybox", name="counter-box")
    yield box
    stack.wait_connected()
    stack.api.delete_sandbox(box["id"])


@pytest.fixture
def counter(stack, box):
    """counter(port): gstacks on a terminal, running the counter by way of that port of this machine."""
    started = []

    def start(port):
        one = Terminal("sandbox", "exec", "-t", box["name"], "--", "sh", "-c", COUNTER,
                       env={"GSTACKS_BASE_URL": f"http://127.0.0.1:{port}", "GSTACKS_API_KEY": stack.server.api_key})
        started.append(one)
        return one
    yield start
    for one in started:
        one.end()


def finish(ours):
    code = ours.wait()
    lines = OURS.sub("", ours.shown).replace("\r\n", "\n").split("\n")
    assert lines[1:LAST + 1] == [str(number + 1) for number in range(LAST)], f"seed {SEED}: {ours.shown[-3000:]!r}"
    assert lines[LAST + 1:] == ["got typed", lines[0], ""] and re.fullmatch(r"pid \d+", lines[0]), f"seed {SEED}: {lines}"
    assert code == 7


def kinds(each):
    return range(RUNS or each)


def pick(*what):
    """The same choices for the same seed, whatever else runs."""
    return random.Random(f"{SEED} {what}")


@pytest.mark.parametrize("run", kinds(1))
@pytest.mark.parametrize("part", ["agent", "server"])
def test_a_kill_loses_and_doubles_nothing(stack, counter, part, run):
    ours = counter(stack.server.http_port)
    choice = pick(part, run)
    ours.read_until(f"\n{choice.randrange(1, LAST - 200)}\r")
    killed = stack.agent if part == "agent" else stack.server
    killed.kill()
    ours.write("typed\r")
    killed.start()
    finish(ours)


@pytest.mark.parametrize("run", kinds(3))
def test_cuts_of_the_connection_lose_and_double_nothing(stack, counter, run):
    choice = pick("network", run)
    # The first is behind the beginning: a session that has not begun is not begun again. The others may lie anywhere, in the
    # handshake as well.
    cuts = [choice.randrange(1500, 4000)] + [choice.randrange(1, 4000) for _ in range(5)]
    proxy = CuttingProxy(stack.server.http_port, lambda: cuts.pop(0) if cuts else None)
    try:
        ours = counter(proxy.port)
        ours.read_until("pid")  # our terminal shows nothing by itself from then on
        ours.write("typed\r")
        finish(ours)
        assert proxy.cuts >= 2
    finally:
        proxy.close()
