#!/usr/bin/env python3
"""Runs what `make install` installs under a real systemd, in namespaces of its own.

Usage: run.py

systemd is process 1 of its own process, mount, network and control group namespaces; of the host it
sees /usr, read-only. It is told to start the unit and nothing else. That takes root and a control
group of version 2; where there is none, or no systemd, it says so in one line and counts as skipped.
The program is target/debug/tidegate, or what TIDEGATE names. Exits with 1 if anything fails.
"""

import asyncio
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYSTEMD = pathlib.Path("/usr/lib/systemd/systemd")
UNITS = "basic network network-online paths shutdown slices sockets swap sysinit timers umount"
PATIENCE = 60

# Run with the folder of the root, the staged installation and the console as $1, $2 and $3.
ENTER = """
set -eu
mount --make-rprivate /
mount -t tmpfs root "$1"
cd "$1"
mkdir -p usr etc var/tmp run tmp dev proc sys root
ln -s usr/bin bin; ln -s usr/lib lib; ln -s usr/lib64 lib64; ln -s usr/sbin sbin; ln -s /run var/run
mount --rbind /usr usr
mount -o remount,bind,ro usr
mount --bind "$2/usr/local" usr/local
mount --bind "$2/units" usr/lib/systemd/system
mount --bind "$2/etc" etc
mount -t proc proc proc
mount -t sysfs -o ro sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
for each in run tmp dev; do mount -t tmpfs "$each" "$each"; done
mkdir dev/pts dev/shm
for each in null zero full random urandom tty; do
    touch dev/$each; mount --bind /dev/$each dev/$each
done
touch dev/console; mount --bind "$3" dev/console
mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount --make-rshared .
exec chroot . /usr/bin/env -i container=tests PATH=/usr/bin:/usr/sbin \
    /usr/lib/systemd/systemd --unit=tidegate.service --log-target=console --show-status=no \
    --default-standard-output=tty --default-standard-error=tty
"""


def lack():
    """Why systemd cannot run here, or None; and where control groups are."""
    groups = [pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified")]
    groups = [folder for folder in groups if (folder / "cgroup.procs").exists()]
    if os.geteuid() != 0:
        return "root is needed", None
    if not SYSTEMD.exists():
        return "there is no systemd", None
    if not groups:
        return "there are no control groups of version 2", None
    group = groups[0] / f"tidegate-test-{os.getpid()}"
    try:
        group.mkdir()
        subprocess.run(["unshare", "-m", "-p", "-f", "-C", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no namespace or control group can be made: {error}", None
    return None, group


def stage(folder):
    """What the container has: the installation, the units it builds upon, and a few files of /etc."""
    built = folder / "built"
    shutil.copy(os.environ.get("TIDEGATE", ROOT / "target/debug/tidegate"), built)
    make = ["make", "--no-print-directory", "split", "place"]
    made = subprocess.run(
        [*make, f"BUILT={built}", f"DESTDIR={folder}"], cwd=ROOT, capture_output=True, text=True
    )
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    (folder / "units").mkdir()
    system = pathlib.Path("/usr/lib/systemd/system")
    for name in [*(f"{each}.target" for each in UNITS.split()), "-.slice", "system.slice"]:
        if (system / name).exists():
            shutil.copy(system / name, folder / "units" / name)
    etc = folder / "etc"
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (etc / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    (etc / "nsswitch.conf").write_text("passwd: files systemd\ngroup: files systemd\nhosts: files\n")
    (etc / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d"):
        source = pathlib.Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, etc / name)
        elif source.exists():
            shutil.copy(source, etc / name)


class Machine:
    """A running systemd, to be used in a `with` statement."""

    def __init__(self, folder, group):
        self.folder, self.group, self.console = folder, group, bytearray()

    def __enter__(self):
        self.master, self.slave = pty.openpty()
        threading.Thread(target=self._listen, daemon=True).start()
        root = self.folder / "root"
        root.mkdir()
        words = ["sh", "-c", f"echo $$ >{self.group}/cgroup.procs && exec \"$@\"", "sh"]
        words += ["unshare", "-m", "-p", "-f", "-u", "-i", "-C", "--kill-child=KILL"]
        words += ["sh", "-c", ENTER, "sh", root, self.folder, os.ttyname(self.slave)]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, kind, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        if kind:
            print(self.console.decode(errors="replace"))
        # Groups empty themselves when the last process is gone.
        deadline = time.monotonic() + PATIENCE
        while self.group.exists() and time.monotonic() < deadline:
            for each in sorted(self.group.rglob("*"), reverse=True):
                if each.is_dir():
                    remove(each)
            remove(self.group)

    def _listen(self):
        while True:
            try:
                self.console += os.read(self.master, 4096)
            except OSError:
                return

    def systemctl(self, *words):
        """What a command of systemctl says; None if it fails."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        first = pathlib.Path(children).read_text().split()
        if not first:
            return None
        enter = ["nsenter", "-t", first[0], "-m", "-p", "-u", "-i", "-C", f"-r/proc/{first[0]}/root"]
        asked = subprocess.run(
            [*enter, "systemctl", *words], capture_output=True, text=True, timeout=PATIENCE
        )
        return asked.stdout if asked.returncode == 0 else None

    def show(self, name):
        """A property of the unit."""
        shown = self.systemctl("show", "tidegate", "--value", "-p", name)
        return (shown or "").strip()

    def process_status(self):
        """What the kernel says of the edge's process."""
        group = next(self.group.rglob("tidegate.service"))
        pid = (group / "cgroup.procs").read_text().split()[0]
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return {key: value.split() for key, value in (line.split(":", 1) for line in lines)}


def remove(folder):
    try:
        folder.rmdir()
    except OSError:
        time.sleep(0.02)


def until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.05)


def expect(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r} instead of {expected!r}")


def is_healthy():
    try:
        with urllib.request.urlopen("http://127.0.0.1:9000/health", timeout=PATIENCE) as answer:
            return answer.status == 200
    except OSError:
        return False


def asks(key):
    """The status with which the API answers this key."""
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request("http://127.0.0.1:9000/api/info", b"{}", headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def serves_with_what_the_unit_gives(machine):
    until("it serves", is_healthy)
    expect(machine.show("ActiveState"), "active")
    expect(asks((machine.folder / "etc/tidegate/api.key").read_text().strip()), 200)
    expect(asks("another"), 401)


def has_no_privileges(machine):
    status = machine.process_status()
    expect("0" in status["Uid"], False)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        expect(int(status[name][0], 16), 0)
    expect((status["NoNewPrivs"], status["Seccomp"]), (["1"], ["2"]))


def comes_back_when_it_is_killed(machine):
    before = machine.show("MainPID")
    machine.systemctl("kill", "--signal=KILL", "tidegate")
    until("another", lambda: machine.show("MainPID") not in (before, "0"))
    until("it serves again", is_healthy)
    expect(machine.show("NRestarts"), "1")


def drains_when_it_is_stopped(machine):
    async def listen():
        async with websockets.connect("ws://127.0.0.1:8000/websocket/42") as client:
            stopping = asyncio.create_task(asyncio.to_thread(machine.systemctl, "stop", "tidegate"))
            await client.wait_closed()
            expect(client.close_code, 1012)
            expect(await stopping, "")

    asyncio.run(asyncio.wait_for(listen(), PATIENCE))
    expect([machine.show(name) for name in ("ActiveState", "Result")], ["inactive", "success"])


TESTS = [
    serves_with_what_the_unit_gives,
    has_no_privileges,
    comes_back_when_it_is_killed,
    drains_when_it_is_stopped,
]


def main():
    why, group = lack()
    if why:
        print(f"skipped: systemd: {why}\n0 passed, 0 failed, 1 skipped")
        return 0
    # Its ports are the unit's own, in a network of its own.
    if sys.argv[1:] != ["inside"]:
        group.rmdir()
        os.execvp("unshare", ["unshare", "-n", sys.executable, __file__, "inside"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    passed = 0
    try:
        with tempfile.TemporaryDirectory(prefix="tidegate-test-") as folder:
            stage(pathlib.Path(folder))
            with Machine(pathlib.Path(folder), group) as machine:
                for test in TESTS:
                    test(machine)
                    passed += 1
                    print(f"ok: systemd: {test.__name__.replace('_', ' ')}", flush=True)
    except Exception:
        traceback.print_exc()
    print(f"{passed} passed, {len(TESTS) - passed} failed")
    return 0 if passed == len(TESTS) else 1


if __name__ == "__main__":
    sys.exit(main())
