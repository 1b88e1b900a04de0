#!/usr/bin/env python3
"""Runs the steps of `make test`, each to its end, and sums up what passed and failed.

Usage: run.py [STEP...]     without arguments every step but `quick`, which `unit` contains

A step is one or more commands. What they count is read from their closing lines (cargo's, or
`N passed, N failed[, N skipped]`); a command that counts nothing is one test that its exit status
decides. A failed step does not hide the others: all are run, and the summary names those that
failed. What a machine cannot run, because a language is missing, counts as skipped; for cargo, which
knows no such tests, the lines that begin with `skipped: ` are counted.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv/bin/python"
# With the features that `cargo test` takes for the tests beside it, so that nothing is built twice.
BUILD = ["cargo", "build", "--locked", "--bins", "--test", "wake_up"]
CLIENTS = ROOT / "tests/clients"

STEPS = {
    "lint": [
        ["cargo", "fmt", "--all", "--check"],
        ["cargo", "fetch", "--locked", "--quiet", "--manifest-path", "fuzz/Cargo.toml"],
        ["cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"],
    ],
    "quick": [["cargo", "test", "--locked", "--lib", "--test", "tidy"]],
    "unit": [["cargo", "test", "--locked", "--no-fail-fast"]],
    # The steps below use target/debug/tidegate, whose assertions and overflow checks are on.
    "conformance": [BUILD, [PYTHON, ROOT / "tests/conformance/run.py"]],
    "clients": [
        BUILD,
        [PYTHON, CLIENTS / "python/run.py"],
        [PYTHON, CLIENTS / "node/run.py"],
        [PYTHON, CLIENTS / "sdk_python/run.py"],
        [PYTHON, CLIENTS / "sdk_node/run.py"],
        [PYTHON, CLIENTS / "sdk_go/run.py"],
        [PYTHON, CLIENTS / "sdk_java/run.py"],
        [PYTHON, CLIENTS / "snippets/run.py"],
        [PYTHON, CLIENTS / "production/run.py"],
        [PYTHON, CLIENTS / "promtool.py"],
        [PYTHON, ROOT / "examples/flash-sale/run.py"],
    ],
    "systemd": [BUILD, [PYTHON, ROOT / "tests/systemd/run.py"]],
    "browser": [
        BUILD,
        [PYTHON, CLIENTS / "browser/run.py"],
        [PYTHON, ROOT / "examples/chat/run.py"],
    ],
    "fuzz": [[ROOT / "fuzz/run.sh", os.environ.get("FUZZ_SECONDS", "5")]],
}

COUNTS = re.compile(
    r"^(?:test result: \w+\. )?(\d+) passed[;,] (\d+) failed(?:, (\d+) skipped)?", re.MULTILINE
)
# What cargo prints may stand before it in the same line.
SKIPPED = re.compile(r"skipped: \w+(?:::\w+)*: ")


def run(command):
    """Runs one command, shows what it prints, and counts passed, failed and skipped tests."""
    print("$", *[str(word).removeprefix(f"{ROOT}/") for word in command], flush=True)
    # Fuzzing on the installed toolchain, whichever that is; everything else ignores this.
    variables = {**os.environ, "STABLE": "1", "PYTHONUNBUFFERED": "1"}
    output = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    output = "".join(output)
    counts = COUNTS.findall(output)
    passed, failed, skipped = (
        sum(int(count or 0) for count in column) for column in zip(*counts or [(0, 0, 0)])
    )
    if command[0] == "cargo":
        skipped = len(SKIPPED.findall(output))
        passed -= skipped
    if process.returncode != 0:
        print(f"status {process.returncode}", flush=True)
        return passed, max(failed, 1), skipped
    if counts:
        return passed, failed, skipped
    return (0, 0, 0) if command == BUILD else (1, 0, 0)


def main():
    chosen = sys.argv[1:] or [step for step in STEPS if step != "quick"]
    if unknown := set(chosen) - set(STEPS):
        sys.exit(f"no step {', '.join(unknown)}: there are {', '.join(STEPS)}")
    table = []
    for step in chosen:
        print(f"\n=== {step}", flush=True)
        start = time.monotonic()
        results = [run(command) for command in STEPS[step]]
        counts = [sum(column) for column in zip(*results)]
        table.append((step, counts, time.monotonic() - start))
        print(f"{step}: {told(counts)}", flush=True)
    if len(table) > 1:
        print("\n=== summary")
        for step, counts, seconds in table:
            verdict = "FAILED" if counts[1] else "ok"
            print(f"{verdict:6}  {step:12} {told(counts, 5)} {seconds:6.0f} s")
        print(told([sum(column) for column in zip(*(counts for _, counts, _ in table))]))
    return 1 if any(failed or not passed for _, (passed, failed, _), _ in table) else 0


def told(counts, width=0):
    """The closing line of these numbers."""
    passed, failed, skipped = counts
    line = f"{passed:{width}} passed, {failed} failed"
    return f"{line}, {skipped} skipped" if skipped else line


if __name__ == "__main__":
    sys.exit(main())
