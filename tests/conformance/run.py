#!/usr/bin/env python3
"""Runs the Autobahn test suite's cases against the `/echo` door of a real server.

Usage: run.py [CASE...]     for example run.py 6.* 9.1.6; without arguments every case

The fuzzing client is `kosoku`, which drives Autobahn's own case files and writes its reports
(target/conformance/index.html is the readable one). What passes, and which cases are left out
for which reason, is in the README beside this file. Exits with 1 if any case fails.
"""

import collections
import json
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "clients"))

from edge import ROOT, Edge  # noqa: E402

REPORTS = ROOT / "target/conformance"

# Not run; the README says why.
EXCLUDED = ["12.*", "13.*"]

# Every other case must end with one of these. Autobahn gives INFORMATIONAL where the RFC leaves
# the choice, and NON-STRICT where it allows a later reaction than the strictest reading.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}

# How many cases outside EXCLUDED Autobahn has: a report with fewer did not test everything.
CASE_COUNT = 301

# Cases 9.* echo messages of 16 MiB, sent in up to 65,536 fragments.
SETTINGS = [
    "websocket.message_bytes_max=17MiB",
    "websocket.fragments_max=1000000",
    "slow.outbox_bytes_max=64MiB",
]


def results(chosen):
    """Runs the cases and gives the entries of the report by case."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    with Edge(*SETTINGS) as edge:
        kosoku = pathlib.Path(sys.executable).with_name("kosoku")
        command = [kosoku, edge.client_url("/echo"), "--outdir", REPORTS]
        for case in chosen:
            command += ["--include", case]
        for case in EXCLUDED:
            command += ["--exclude", case]
        client = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    index = REPORTS / "index.json"
    if not index.exists():
        sys.exit(f"kosoku wrote no report:\n{client.stdout}{client.stderr}")
    (cases,) = json.loads(index.read_text()).values()
    return cases


def main():
    chosen = sys.argv[1:]
    start = time.monotonic()
    cases = results(chosen)
    seconds = time.monotonic() - start
    failed = 0
    for case in sorted(cases, key=lambda case: [int(part) for part in case.split(".")]):
        entry = cases[case]
        if not PASSED.issuperset({entry["behavior"], entry["behaviorClose"]}):
            failed += 1
            print(f"case {case}: {entry['behavior']}, close {entry['behaviorClose']}")
    counts = collections.Counter(entry["behavior"] for entry in cases.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    print(f"Autobahn: {kinds} in {seconds:.1f} s; report: {REPORTS / 'index.html'}")
    if not chosen and len(cases) != CASE_COUNT:
        print(f"{CASE_COUNT} cases were expected, {len(cases)} were run")
        failed += 1
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
