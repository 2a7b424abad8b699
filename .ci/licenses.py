"""Checks the licenses and the known advisories of all packages that this workspace is built from. Needs no network.

    python3 .ci/licenses.py

Fails on a license outside of ALLOWED, on a package that an advisory of ADVISORIES affects, unless it is accepted, and on an
entry of ADVISORIES that is of no use any more. `cargo deny` would be the usual tool, but it needs its database from the network:
run `cargo audit` now and then where there is one, and add here what it finds.
"""

import json
import re
import subprocess
import sys
from typing import NamedTuple, Optional

ALLOWED = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",  # of data: the root certificates of webpki-roots
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
}


class Advisory(NamedTuple):
    id: str
    package: str
    patched: Optional[str]  # the first version without the defect, if there is one
    accepted: Optional[str] = None  # the reason to build from an affected version


ADVISORIES = [
    Advisory(
        "RUSTSEC-2024-0437",
        "protobuf",
        "3.7.2",
        "Parsing untrusted input can overflow the stack. This program only writes messages. tensorboard-rs needs version 2.",
    ),
    Advisory("RUSTSEC-2025-0056", "adler", None, "Unmaintained, and complete. It comes with tensorboard-rs, by way of image 0.23."),
    Advisory("RUSTSEC-2026-0192", "ttf-parser", None, "Unmaintained. kuva reads only the font that it contains."),
    Advisory("RUSTSEC-2023-0004", "bzip2", "0.4.4"),
    Advisory("RUSTSEC-2025-0009", "ring", "0.17.12"),
    Advisory("RUSTSEC-2026-0097", "rand", "0.8.6"),
    Advisory("RUSTSEC-2026-0190", "anyhow", "1.0.103"),
]


def allows(expression, allowed):
    """Whether the licenses in `allowed` are enough for an SPDX expression. A slash is the old form of OR."""
    tokens = re.findall(r"[()]|[\w.+-]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            result = both() or result  # both() first: it consumes its tokens
        return result

    def both():
        result = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            result = one() and result
        return result

    def one():
        token = tokens.pop(0)
        if token == "(":
            result = either()
            if tokens.pop(0) != ")":
                raise ValueError(expression)
            return result
        if tokens and tokens[0] == "WITH":  # an exception adds permissions, but is a name of its own
            tokens.pop(0)
            token += " WITH " + tokens.pop(0)
        return token in allowed

    result = either()
    if tokens:
        raise ValueError(expression)
    return result


def older(version, other):
    numbers = lambda text: [int(part) for part in re.split(r"[-+]", text)[0].split(".")]
    return numbers(version) < numbers(other)


def license_problems(packages):
    for package in packages:
        expression = package["license"]
        label = f"{package['name']} {package['version']}"
        try:
            if not expression:
                yield f"{label}: no license is declared"
            elif not allows(expression, ALLOWED):
                yield f"{label}: the license {expression} is not allowed"
        except (ValueError, IndexError):
            yield f"{label}: cannot read the license {expression!r}"


def advisory_problems(packages, advisories):
    for advisory in advisories:
        versions = [package["version"] for package in packages if package["name"] == advisory.package]
        affected = [version for version in versions if advisory.patched is None or older(version, advisory.patched)]
        label = f"{advisory.id}, {advisory.package}"
        if affected and not advisory.accepted:
            yield f"{label} {', '.join(affected)}: update to {advisory.patched}, or accept it with a reason"
        if not versions:
            yield f"{label}: the package is not used any more, remove the entry"
        elif advisory.accepted and not affected:
            yield f"{label} {', '.join(versions)}: not affected any more, remove the reason"


def check_itself():
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0", False),
        ("MIT/GPL-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND Zlib", True),
        ("GPL-3.0 OR MIT AND ISC", True),
        ("GPL-3.0 AND MIT OR GPL-2.0", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("Apache-2.0 WITH LLVM-exception OR MIT", True),
    ]:
        assert allows(expression, {"MIT", "ISC", "Zlib"}) == expected, expression
    packages = [{"name": "a", "version": "1.9.0"}, {"name": "a", "version": "1.10.0"}]
    for advisory, count in [
        (Advisory("1", "a", "1.9.0"), 0),
        (Advisory("2", "a", "1.10.0"), 1),
        (Advisory("3", "a", None), 1),
        (Advisory("4", "a", None, "a reason"), 0),
        (Advisory("5", "a", "1.9.0", "a reason"), 1),
        (Advisory("6", "b", None, "a reason"), 1),
    ]:
        assert len(list(advisory_problems(packages, [advisory]))) == count, advisory


def main():
    check_itself()
    # Packages of other platforms are not fetched, nor built.
    host = re.search(r"^host: (.+)$", subprocess.check_output(["rustc", "-vV"], text=True), re.MULTILINE)[1]
    command = ["cargo", "metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host]
    packages = json.loads(subprocess.check_output(command))["packages"]
    problems = [*license_problems(packages), *advisory_problems(packages, ADVISORIES)]
    for problem in problems:
        print(problem, file=sys.stderr)
    accepted = sum(advisory.accepted is not None for advisory in ADVISORIES)
    print(f"licenses: {len(packages)} packages, {len(problems)} problems, {accepted} accepted advisories")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
