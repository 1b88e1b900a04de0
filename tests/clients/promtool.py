#!/usr/bin/env python3
"""Prometheus' own check of what a running edge exposes: `promtool check metrics`, which also looks
at names, units and help.

promtool is the one on the path, or that of Debian's package `prometheus`: taken apart and not
installed, because the package starts a server. Where there is neither the check is skipped.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from edge import ROOT, Edge

UNPACKED = ROOT / ".venv/promtool"


def promtool():
    """The program, or None."""
    if found := shutil.which("promtool") or shutil.which(UNPACKED):
        return found
    if not shutil.which("apt-get"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "-q", "prometheus"]
        if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
            return None
        (package,) = pathlib.Path(folder).glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        shutil.copy2(pathlib.Path(folder) / "usr/bin/promtool", UNPACKED)
    return str(UNPACKED)


def main():
    program = promtool()
    if not program:
        print("skipped: no promtool, and no Debian package to take it from")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with Edge() as edge:
        with urllib.request.urlopen(f"{edge.internal}/metrics", timeout=20) as response:
            metrics = response.read()
    command = [program, "check", "metrics"]
    check = subprocess.run(command, input=metrics, capture_output=True, check=False)
    findings = (check.stdout + check.stderr).decode()
    is_clean = check.returncode == 0 and not findings
    print(findings or "ok: metrics are clean")
    print("1 passed, 0 failed" if is_clean else "0 passed, 1 failed")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
