#!/usr/bin/env python3
"""Compiles and runs Managed.java, the tests of the Java SDK, against a server.

Usage: run.py [WORD]     only the tests whose name contains WORD

Packages are those of pom.xml. Exits with 1 if anything fails.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

import managed  # noqa: E402


def main():
    if lack := managed.lack_of_java():
        return managed.skip(lack)
    path = managed.java_packages()
    with tempfile.TemporaryDirectory(prefix="tidegate-test-") as classes:
        command = ["javac", "-Xlint:all", "-d", classes, "-cp", path, *FOLDER.glob("*.java")]
        subprocess.run(command, check=True)
        command = ["java", "-cp", f"{classes}:{path}", "Managed", *sys.argv[1:]]
        java = managed.run(command)
    counts = [len(re.findall(f"^{word}: ", java.stdout, re.M)) for word in ("ok", "FAILED")]
    return managed.conclude(java, *counts)


if __name__ == "__main__":
    sys.exit(main())
