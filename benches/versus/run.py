#!/usr/bin/env python3
"""The same work for tidegate and for what others would take instead, from the same generator.

Each server has core 0 for itself and all its processes, and the generator, `tidegate bench`, has
core 1. It verifies every message on every connection. README.md beside this file says how the
figures come about. What is missing is named; `--install` installs it.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from peers import PEERS, TIDEGATE, Place, installing

SERVER_CORE = 0
GENERATOR_CORE = 1

# Bytes of each message.
BYTES = 128
# Broadcasts that meet an idle server: how many, and at most so many per second.
LONE = 6
LONE_RATE_MAX = 2
# Publications per second of the streams, and for how long each is kept up.
STREAMS = (5, 50)
STREAM_SECONDS = 2
# A step that has not ended by then is given up. The slowest needs minutes for the fastest stream.
STEP_SECONDS_MAX = 240
# A server is left alone for so long when all connections are open.
SETTLE_SECONDS = 2


def main():
    # So that an end from outside does not leave a server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    arguments = parse()
    if arguments.install:
        for command in installing():
            print("$", *command, file=sys.stderr, flush=True)
            subprocess.run([str(word) for word in command], check=True)
    results = read(arguments.show) if arguments.show else measure(arguments)
    write(arguments.json, results)
    print(table(results))
    troubles = [trouble for result in results.values() for trouble in troubles_of(result)]
    return 1 if troubles or not results else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    everybody = list(PEERS)
    names = f"some of {','.join(everybody)}; all of them if left out"
    parser.add_argument("--peers", metavar="A,B", default=",".join(everybody), help=names)
    parser.add_argument("--connections", metavar="N", type=int, default=10_000)
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="the median is shown")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write the figures, too")
    parser.add_argument("--show", metavar="FILE", type=pathlib.Path, nargs="+", default=[],
                        help="measure nothing: one table of what earlier runs wrote")
    parser.add_argument("--install", action="store_true", help="install what is missing first")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.connections < 1:
        parser.error("--rounds and --connections must be at least 1")
    arguments.peers = arguments.peers.split(",")
    for name in arguments.peers:
        if name not in PEERS:
            parser.error(f"there is no peer {name}: {names}")
    return arguments


def measure(arguments):
    """Rounds of all peers in turn, so that a noisy neighbour hits everybody."""
    if PEERS["tidegate"].missing():
        sys.exit(f"{TIDEGATE} is the generator and is missing: run with --install")
    results = {}
    for name in arguments.peers:
        if lack := PEERS[name].missing():
            print(f"{name} is left out, it lacks {', '.join(lack)}: run with --install",
                  file=sys.stderr)
            continue
        results[name] = {"version": PEERS[name].version(), "rounds": []}
    for number in range(arguments.rounds):
        for name, result in results.items():
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            result["rounds"].append(play(PEERS[name], arguments.connections))
        write(arguments.json, results)
    return results


def read(paths):
    """What earlier runs wrote, the rounds of each peer together."""
    results = {}
    for path in paths:
        for name, result in json.loads(path.read_text())["peers"].items():
            results.setdefault(name, {**result, "rounds": []})["rounds"] += result["rounds"]
    return results


def write(path, results):
    if path:
        path.write_text(json.dumps({"peers": results}, indent=1) + "\n")


def play(peer, connections):
    """One round: a fresh server, and the steps one after the other."""
    figures = {"connections": connections, "troubles": []}
    with tempfile.TemporaryDirectory(prefix="versus-") as directory:
        place = Place(pathlib.Path(directory), *free_ports(3), descriptors_max())
        try:
            with server(peer, place) as pid:
                take_steps(figures, functools.partial(bench, peer, place, pid), peer.rest)
        except NotServing as error:
            figures["troubles"].append(str(error))
    return figures


def take_steps(figures, run, rest):
    """Each step's report goes into the figures; `run` runs the generator."""

    def step(name, count, rate, seconds):
        time.sleep(rest)
        report, trouble = run(count, rate, seconds)
        if trouble:
            figures["troubles"].append(f"{name}: {trouble}")
        figures[name] = report if report and not trouble else None
        return figures[name]

    connections = figures["connections"]
    # What is made at the first use belongs to the server, not to connections.
    step("warm", 50, 2, 1)
    first = step("first", connections, 1, 1)
    if not first:
        return
    wall = first["delivery"]["last_receiver"]["max_ns"] / 1e9
    rate = min(LONE_RATE_MAX, 0.6 / wall)
    step("lone", connections, rate, round(LONE / rate))
    for rate in STREAMS:
        if not step(f"stream {rate}", connections, rate, STREAM_SECONDS):
            break


def bench(peer, place, pid, connections, rate, seconds):
    """Runs the generator: its report, and what was wrong."""
    fill = {"public": place.public, "publish": place.publish}
    command = [
        TIDEGATE, "bench", "fanout", "--json", "--processes", "1",
        "--connections", str(connections), "--bytes", str(BYTES),
        "--settle", str(SETTLE_SECONDS), "--rate", str(rate), "--seconds", str(seconds),
        "--url", peer.url.format(**fill), "--endpoint", peer.endpoint.format(**fill),
    ]  # fmt: skip
    if peer.body:
        command += ["--publish-body", peer.body]
    for process in [*tree(pid), softirq_pid()]:
        command += ["--server-pid", str(process)]
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS_MAX,
            preexec_fn=on_core(GENERATOR_CORE),
        )
    except subprocess.TimeoutExpired:
        return None, f"not over after {STEP_SECONDS_MAX} s"
    report = json.loads(run.stdout) if run.stdout else None
    return report, run.stderr.strip() if run.returncode else None


@contextlib.contextmanager
def server(peer, place):
    """A server that accepts on both ports; the id of its first process."""
    log = place.directory / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in peer.command(place)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=on_core(SERVER_CORE),
        )
    try:
        for port in (place.public, place.publish):
            wait_for(port, process, log)
        yield process.pid
    finally:
        family = tree(process.pid)
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            process.wait()


class NotServing(Exception):
    """A server that has not opened its ports."""


def wait_for(port, process, log):
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise NotServing(f"{process.args[0]} does not serve: {log.read_text()[-500:]}")
        time.sleep(0.05)


def on_core(core):
    """What a process does before it becomes another program."""

    def prepare():
        os.sched_setaffinity(0, {core})
        limit = descriptors_max()
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    return prepare


def descriptors_max():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def tree(pid):
    """A process and all that descend from it."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    try:
        pids = [int(child) for child in children.read_text().split()]
    except FileNotFoundError:
        pids = []
    return [pid, *[descendant for child in pids for descendant in tree(child)]]


def softirq_pid():
    """The thread to which the kernel puts off what packets of the servers' core cost."""
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == f"ksoftirqd/{SERVER_CORE}":
                return int(path.parent.name)
    sys.exit("ksoftirqd is not visible in /proc, so CPU cannot be billed")


def cost(report):
    return report["server"]["cpu_per_delivery_ns"]


def latency(quantile):
    return lambda report: report["delivery"]["latency"][quantile] / 1e6


def last_receiver(report):
    return report["delivery"]["last_receiver"]["p50_ns"] / 1e6


def seconds(report):
    return report["delivery"]["received"] / report["delivery"]["per_second"]


# What is shown: step, heading, width, digits, and how the figure is found in the step's report.
COLUMNS = [
    ("first", "bytes/conn", 10, 0, lambda it: it["server"]["resident_per_connection_bytes"]),
    ("first", "opened/s", 8, 0, lambda it: it["opening"]["per_second"]),
    ("lone", "CPU ns", 7, 0, cost),
    ("lone", "p50 ms", 6, 0, latency("p50_ns")),
    ("lone", "p99 ms", 6, 0, latency("p99_ns")),
    ("lone", "last ms", 7, 0, last_receiver),
    ("stream 5", "CPU ns", 7, 0, cost),
    ("stream 5", "p50 ms", 6, 0, latency("p50_ns")),
    ("stream 5", "p99 ms", 6, 0, latency("p99_ns")),
    ("stream 5", "all s", 5, 1, seconds),
    # Where publishing is held up, latencies would leave out the time that it waited.
    ("stream 50", "CPU ns", 7, 0, cost),
    ("stream 50", "all s", 5, 1, seconds),
    ("stream 50", "deliveries/s", 12, 0, lambda it: it["delivery"]["per_second"]),
]
HEADINGS = {"first": "idle", "lone": "a lone broadcast"}
HEADINGS |= {f"stream {rate}": f"{rate}/s for {STREAM_SECONDS} s" for rate in STREAMS}


def table(results):
    """Medians over the rounds, a line for each peer."""
    width = max([len(name) for name in results], default=0)
    groups = {}
    for step, _, columns, *_ in COLUMNS:
        groups.setdefault(step, []).append(columns)
    lines = [" " * width, " " * width]
    for step, widths in groups.items():
        lines[0] += "  " + HEADINGS[step].center(sum(widths) + 2 * len(widths) - 2, "-")
    for _, heading, columns, *_ in COLUMNS:
        lines[1] += f"  {heading:>{columns}}"
    for name, result in results.items():
        line = f"{name:{width}}"
        for step, _, columns, digits, find in COLUMNS:
            values = [find(figures[step]) for figures in result["rounds"] if figures.get(step)]
            value = f"{statistics.median(values):.{digits}f}" if values else "-"
            line += f"  {value:>{columns}}"
        lines.append(line)
    lines.append("")
    for name, result in results.items():
        rounds = result["rounds"]
        lines.append(f"{name} {result['version']}: {len(rounds)} rounds of "
                     f"{rounds[0]['connections']} connections")
        lines += [f"  {trouble}" for trouble in troubles_of(result)]
    return "\n".join(lines)


def troubles_of(result):
    """What did not go as it should, each once."""
    return list(dict.fromkeys(it for figures in result["rounds"] for it in figures["troubles"]))


if __name__ == "__main__":
    sys.exit(main())
