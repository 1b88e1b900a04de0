#!/usr/bin/env python3
"""Runs the release binary on the oldest kernel that README promises, Debian 12's, in an emulator.

Usage: run.py [WORD...]     only the behaviour tests whose names contain a WORD

The kernel comes from Debian's package and is not installed. QEMU boots it, emulated in software, with
an initial file system of the binary, the behaviour tests, their libraries and busybox. There a
verified `bench fanout` and the behaviour tests run. TIDEGATE names another binary. It takes some
minutes, and root is not needed. Exits with 1 if anything fails.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNEL = "linux-image-cloud-amd64"
VERSION = "6.1."
SECONDS = 3600
NEEDS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "cpio": "cpio",
    "strip": "binutils",
    "busybox": "busybox-static",
    "prlimit": "util-linux",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "chrt": "util-linux",
}
# What busybox has not, or not with the options that tests use.
TOOLS = ("prlimit", "setpriv", "taskset", "chrt")
# What tests read where they were built.
READ = ("README.md", "docs", "examples", "tests/keys")
BENCH = "bench fanout --serve -n 1000 --rate 100 --seconds 10"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
ulimit -n 65536
echo "kernel $(uname -r)"
{binary} {bench}
echo "bench ended with status $?"
cd /tmp
/behaviour --nocapture {words}
echo "tests ended with status $?"
reboot -f
"""


def build():
    """The release binary, stripped of nothing yet, and the behaviour tests' program."""
    if binary := os.environ.get("TIDEGATE"):
        binary = pathlib.Path(binary)
    else:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        binary = ROOT / "target/release/tidegate"
    command = ["cargo", "test", "--locked", "--no-run", "--test", "behaviour"]
    messages = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    made = [json.loads(line) for line in messages.stdout.splitlines()]
    (tests,) = (
        each["executable"]
        for each in made
        if each.get("executable") and each["target"]["name"] == "behaviour"
    )
    return binary, pathlib.Path(tests)


def kernel(folder):
    """Debian's kernel, from its package."""
    depends = output("apt-cache", "depends", KERNEL)
    package = re.search(r"Depends: (linux-image-\S+)", depends)
    if not package or VERSION not in package[1]:
        found = package[1] if package else "no kernel at all"
        sys.exit(f"this is not Debian 12: its {KERNEL} is {found}, and not {VERSION}*")
    subprocess.run(["apt-get", "download", "-q", package[1]], cwd=folder, check=True)
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, folder / "kernel"], check=True)
    (image,) = (folder / "kernel/boot").glob("vmlinuz-*")
    return image


def file_system(folder, binary, tests, words):
    """The archive that the kernel unpacks into memory, and begins with."""
    root = folder / "root"
    for name in ("bin", "dev", "proc", "sys", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    # Where the tests look for the program they were built with.
    place = ROOT / "target/debug/tidegate"
    copies = {binary: place, tests: pathlib.Path("/behaviour")}
    copies |= {shutil.which(tool): pathlib.Path("/bin", tool) for tool in TOOLS}
    for source, at in copies.items():
        for library in re.findall(r"(/\S+) \(0x", output("ldd", source)):
            copy(pathlib.Path(library), root / library.lstrip("/"))
        copy(source, root / str(at).lstrip("/"))
        subprocess.run(["strip", root / str(at).lstrip("/")], check=True)
    for name in READ:
        source, target = ROOT / name, root / str(ROOT / name).lstrip("/")
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules"))
        else:
            copy(source, target)
    init = root / "init"
    init.write_text(INIT.format(binary=place, bench=BENCH, words=" ".join(words)))
    init.chmod(0o755)
    archive = folder / "initrd"
    names = subprocess.run(["find", "."], cwd=root, check=True, stdout=subprocess.PIPE).stdout
    with open(archive, "wb") as file:
        pack = ["cpio", "--quiet", "-o", "-H", "newc"]
        subprocess.run(pack, cwd=root, input=names, stdout=file, check=True)
    return archive


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def boot(image, archive):
    """What the machine says until it is off, which is shown as it comes."""
    # Two processors, so two shards. Nothing of the host is reachable from inside.
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
    command += ["-m", "3072", "-nographic", "-no-reboot", "-nic", "none", "-kernel", image]
    command += ["-initrd", archive, "-append", "console=ttyS0 quiet panic=-1"]
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as machine:
        end = time.monotonic() + SECONDS
        try:
            for line in machine.stdout:
                print(line, end="", flush=True)
                lines.append(line.rstrip())
                if time.monotonic() > end:
                    break
        finally:
            machine.kill()
    return "\n".join(lines)


def main():
    missing = [package for tool, package in NEEDS.items() if not shutil.which(tool)]
    if missing:
        sys.exit(f"apt-get install {' '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="tidegate-test-") as folder:
        folder = pathlib.Path(folder)
        image = kernel(folder)
        archive = file_system(folder, *build(), sys.argv[1:])
        said = boot(image, archive)
    passed = failed = 0
    if result := re.search(r"^test result: \w+\. (\d+) passed; (\d+) failed", said, re.M):
        passed, failed = int(result[1]), int(result[2])
    skipped = len(re.findall(r"skipped: \w+(?:::\w+)*: ", said))
    passed -= skipped
    # A bench or tests that never ended have failed.
    bench_is_well = "bench ended with status 0" in said
    tests_are_well = result and "tests ended with status 0" in said
    passed += bench_is_well
    failed = max(failed, not tests_are_well) + (not bench_is_well)
    version = re.search(r"^kernel (\S+)", said, re.M)
    print(f"kernel {version[1] if version else 'that did not start'}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
