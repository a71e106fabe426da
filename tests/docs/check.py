#!/usr/bin/python3
"""Checks that the documents are true where a program can tell: links, commands, paths, packages, numbering.

    links      every relative link of every Markdown file leads to a file, every #anchor to a heading
    paths      a path in backticks that begins with one of our folders is there (globs and {a,b} are expanded)
    commands   every `make X` is a target of the Makefile; README.md names `make demo` and `make test` first
    reachable  every page below docs/ can be reached from README.md by links
    packages   docs/dependencies.md has a row for each package that deploy/install-deps.sh knows
    records    docs/adr and docs/release-notes are numbered without gaps; each decision has its four parts

One result a file and rule. The last line is "N passed, N failed".
"""

import glob
import itertools
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "tests", "deploy", "docs", "proto", "openapi", "cmake")
DECISION_PARTS = ("Context", "Decision", "Consequences", "Measured")

FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.M | re.S)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.M)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.M)
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)
MAKE = re.compile(r"(?:^|[\s`;&|(])make ([a-z][a-z-]*)\b")


def read(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    return CODE.sub("", FENCE.sub("", text))


def documents():
    """Every Markdown file that is ours: tracked, or new and not ignored. Without git: all but the build."""
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [path for path in REPOSITORY.rglob("*.md") if "build" not in path.relative_to(REPOSITORY).parts]
    return sorted(path for path in set(paths) if path.is_file())


def anchors(path):
    """The anchors that the usual renderers make of a file's headings."""
    found, seen = set(), {}
    for heading in HEADING.findall(FENCE.sub("", read(path))):
        text = LINK.sub(lambda match: match.group(0)[1:match.group(0).index("]")], heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def link_targets(path):
    """(target as written, file it means, anchor) of every link that stays inside the repository."""
    text = without_code(read(path))
    for target in itertools.chain(LINK.findall(text), REFERENCE.findall(text)):
        if EXTERNAL.match(target):
            continue
        file, _, anchor = unquote(target).partition("#")
        yield target, (path if not file else (path.parent / file)).resolve(), anchor


def check_links(path):
    problems = []
    for target, file, anchor in link_targets(path):
        if not file.is_relative_to(REPOSITORY):
            problems.append(f"link leaves the repository: {target}")
        elif not file.exists():
            problems.append(f"link leads nowhere: {target}")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            problems.append(f"no such heading: {target}")
    return problems


def expand_braces(text):
    match = re.search(r"\{([^{}]*)\}", text)
    if not match:
        return [text]
    return [result for part in match.group(1).split(",")
            for result in expand_braces(text[:match.start()] + part + text[match.end():])]


def check_paths(path):
    """Only whole backtick spans that are a path; <placeholders> and … are left alone."""
    problems = []
    for span in CODE.findall(FENCE.sub("", read(path))):
        if not span.startswith(tuple(f"{folder}/" for folder in FOLDERS)) or re.search(r"[\s<>…$]", span):
            continue
        base = REPOSITORY
        for name in expand_braces(span):
            # A module's own README may speak of paths below itself: agents's `core/…` does not begin with a top folder.
            if not glob.glob(str(base / name)) and not glob.glob(str(path.parent / name)):
                problems.append(f"no such path: {name}")
    return problems


def make_targets():
    return set(re.findall(r"^([a-z][a-z-]*):", read(REPOSITORY / "Makefile"), re.M))


def check_commands(path):
    targets = make_targets()
    code = "\n".join([match.group(0) for match in FENCE.finditer(read(path))] + CODE.findall(FENCE.sub("", read(path))))
    return [f"make has no target {name}" for name in dict.fromkeys(MAKE.findall(code)) if name not in targets]


def check_readme():
    commands = MAKE.findall("\n".join(match.group(0) for match in FENCE.finditer(read(REPOSITORY / "README.md"))))
    return [] if commands[:2] == ["demo", "test"] else [f"its first commands are {commands[:2]}, not make demo and make test"]


def check_reachable():
    reached, open_pages = set(), [REPOSITORY / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        open_pages += [file for _, file, _ in link_targets(page) if file.suffix == ".md"]
    return [f"no link leads to {page.relative_to(REPOSITORY)}" for page in sorted((REPOSITORY / "docs").rglob("*.md"))
            if page.resolve() not in reached]


def check_packages():
    listed = subprocess.run([REPOSITORY / "deploy" / "install-deps.sh", "--list", "test"], capture_output=True, text=True, check=True)
    rows = set()
    for line in read(REPOSITORY / "docs" / "dependencies.md").splitlines():
        cells = line.split("|")
        if len(cells) > 3:
            rows.update(CODE.findall(cells[2]))
    packages = set(listed.stdout.split())
    return ([f"no row for {name}" for name in sorted(packages - rows)]
            + [f"{name} has a row and nothing installs it" for name in sorted(rows - packages)])


def check_numbers(folder):
    numbers = [path.name[:4] for path in sorted((REPOSITORY / "docs" / folder).glob("[0-9]*.md"))]
    wanted = [f"{number:04}" for number in range(1, len(numbers) + 1)]
    return [] if numbers and numbers == wanted else [f"numbers are {numbers}, not {wanted}"]


def check_decision(path):
    headings = HEADING.findall(FENCE.sub("", read(path)))
    return [f"no part '{part}'" for part in DECISION_PARTS if part not in headings]


def checks():
    for path in documents():
        yield path, "links", lambda path=path: check_links(path)
        yield path, "paths", lambda path=path: check_paths(path)
        yield path, "commands", lambda path=path: check_commands(path)
    docs = REPOSITORY / "docs"
    yield REPOSITORY / "README.md", "first commands", check_readme
    yield docs, "reachable", check_reachable
    yield docs / "dependencies.md", "packages", check_packages
    for folder in ("adr", "release-notes"):
        yield docs / folder, "numbers", lambda folder=folder: check_numbers(folder)
    for path in sorted((docs / "adr").glob("[0-9]*.md")):
        yield path, "parts", lambda path=path: check_decision(path)


def main():
    passed = failed = 0
    for path, rule, check in checks():
        try:
            problems = check()
        except (OSError, subprocess.CalledProcessError) as error:  # a document that is missing is a result, not a crash
            problems = [str(error)]
        for problem in problems:
            print(f"{path.relative_to(REPOSITORY)}: {rule}: {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
