"""Writes training/tests/python/requirements.txt: the packages of the tests in Python, and all that they need, pinned by digest.

    python3 .ci/pin.py

To change a version, change it in DIRECT, and run this with the oldest Python of VERSIONS on Linux x86_64. It asks pip, which
downloads little more than the metadata of the packages.
"""

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "training" / "tests" / "python" / "requirements.txt"
DIRECT = ["numpy==2.4.6", "pandas==3.1.1", "safetensors==0.8.0", "tensorboard==2.21.0", "torch==2.13.0"]
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
HEADER = f"""\
# What the scripts in this folder import, and after it what that needs, for Python {VERSIONS[0]} to {VERSIONS[-1]} on Linux x86_64.
# Without these packages the tests are skipped. Written by .ci/pin.py.
"""


def report(*arguments):
    """Returns the packages that pip would install: a list of name, version and digest."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    command += ["--target", "none", "--report", "-", *arguments]
    packages = json.loads(subprocess.check_output(command))["install"]
    return [
        (package["metadata"]["name"], package["metadata"]["version"], package["download_info"]["archive_info"]["hashes"]["sha256"])
        for package in packages
    ]


def main():
    if sys.version_info[:2] != tuple(map(int, VERSIONS[0].split("."))):
        sys.exit(f"cannot pin with Python {sys.version.split()[0]}: expected {VERSIONS[0]}")
    pins = {name: f"{name}=={version}" for name, version, _ in report(*DIRECT)}
    digests = {name: set() for name in pins}
    for version in VERSIONS:
        for name, _, digest in report("--no-deps", "--python-version", version, *pins.values()):
            digests[name].add(digest)
    direct = {pin.split("==")[0] for pin in DIRECT}
    text = HEADER
    for is_direct in [True, False]:
        text += "\n"
        for name in sorted((name for name in pins if (name in direct) == is_direct), key=str.lower):
            text += " \\\n".join([pins[name], *(f"    --hash=sha256:{digest}" for digest in sorted(digests[name]))]) + "\n"
    REQUIREMENTS.write_text(text)


if __name__ == "__main__":
    main()
