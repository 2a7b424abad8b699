"""Builds and runs the crate of docs/library.md in a folder of its own, outside of this workspace.

    python3 .ci/second_crate.py

First without its build script, by `cargo run`, and then with it and without Cargo's library path.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A code block whose first line has a file name after the language.
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main():
    page = (ROOT / "docs" / "library.md").read_text()
    files = {name: text.replace("../text_recognizer", str(ROOT)) for name, text in BLOCK.findall(page)}
    # The same profiles and versions, so that what the workspace has built (in its target folder) is not built again.
    manifest = (ROOT / "Cargo.toml").read_text()
    files["Cargo.toml"] += "\n" + manifest[manifest.index("[profile.") :]
    files["Cargo.lock"] = (ROOT / "Cargo.lock").read_text()
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    environment["CARGO_TARGET_DIR"] = str(target)

    with tempfile.TemporaryDirectory() as folder:
        crate = Path(folder)

        def run(*command):
            result = subprocess.run(command, cwd=crate, env=environment, stdout=subprocess.PIPE, text=True)
            if result.returncode != 0:
                sys.exit(f"{' '.join(map(str, command))} ended with status {result.returncode}")
            return result.stdout

        def write(name):
            (crate / name).parent.mkdir(parents=True, exist_ok=True)
            (crate / name).write_text(files[name])

        for name in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "src/main.rs"]:
            write(name)
        check(run("cargo", "run", "--quiet", "--offline"))
        write("build.rs")
        run("cargo", "build", "--quiet", "--offline")
        check(run(target / "debug" / "my_program"))
    print("second crate: it trains by `cargo run` and on its own")


def check(output):
    losses = [float(line.removeprefix("loss ")) for line in output.splitlines()]
    assert len(losses) == 64 and losses[-1] < 0.5 * losses[0], losses


if __name__ == "__main__":
    main()
