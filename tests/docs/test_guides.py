"""What the guides tell people to type: the example client runs, and every command and option exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.processes import find_binary, run_tool
from harness.waiting import wait_until

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
PROGRAMS = ("gstacks", "gstacks-agent", "gstacks-server")


def blocks(path, language):
    return [body for name, body in FENCE.findall(path.read_text()) if name == language]


def calls_in(line):
    """The commands of a shell line, as words."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in [*lexer, ";"]:
        if word[0] in "|;&()":
            yield tuple(words)
            words = []
        else:
            words.append(word)


def typed_commands():
    """(page, words) of every line in a plain block that calls one of our programs."""
    for page in PAGES:
        for body in blocks(page, ""):
            for line in body.splitlines():
                if line.removeprefix("$ ").startswith(PROGRAMS):
                    yield from ((page.name, call) for call in calls_in(line) if call and call[0] in PROGRAMS)


COMMANDS = list(dict.fromkeys(typed_commands()))


def test_the_guides_have_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("page, command", COMMANDS, ids=[f"{page}: {' '.join(command)}" for page, command in COMMANDS])
def test_typed_command_exists(page, command):
    program, words = command[0], list(command[1:])
    words = words[:words.index("--")] if "--" in words else words
    subcommands = []
    for word in words:
        if not re.fullmatch(r"[a-z-]+", word) or word.startswith("-") or len(subcommands) == 2:
            break
        subcommands.append(word)
    binary = find_binary(program)
    # The last words may be arguments ("blueprint create my-image"): the longest prefix that is a command counts.
    for length in range(len(subcommands), -1, -1):
        done = run_tool([binary, *subcommands[:length], "--help"], check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0 and (length or not subcommands), f"{program} has no command {' '.join(subcommands)}: {done.stderr}"
    # Options of the commands above hold below them as well.
    help_text = "\n".join(run_tool([binary, *subcommands[:above], "--help"]).stdout for above in range(length + 1))
    for option in (word.split("=")[0] for word in words if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text), f"{program} {' '.join(subcommands[:length])} has no {option}"


def test_the_example_client_does_what_the_guide_shows(stack, tmp_path):
    page = DOCS / "guides" / "write-a-client.md"
    client = tmp_path / "client.py"
    client.write_text(blocks(page, "python")[0])
    done = subprocess.run([sys.executable, client, stack.server.base_url, stack.server.api_key, "busybox"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: not stack.api.list_all("/api/sandboxes"), 30, "its sandbox being gone")
    shown = next(body for body in blocks(page, "") if "client.py" in body).splitlines()[1]
    assert done.stdout.strip() == shown
