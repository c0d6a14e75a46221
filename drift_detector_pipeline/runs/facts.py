"""What is so while a command runs: the time, the command, the versions, the state of the code.

Imports nothing of ours. Read by whoever writes down where a result comes from.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

RECEIPT = "run.json"  # of a finished run: its last file


def now() -> str:
    """The time as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def this_command() -> list[str]:
    """The command that runs now, as it can be typed again."""
    module = sys.modules["__main__"].__spec__
    return [Path(sys.executable).name, *(["-m", module.name] if module else [Path(sys.argv[0]).name]), *sys.argv[1:]]


def processor() -> str:
    """The processor's name as Linux tells it, with family and model number; elsewhere as Python does."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    if len(told) < 3:
        return platform.machine()
    return f"{told['model name'].strip()}, family {told['cpu family']} model {told['model']}"


def package_versions() -> dict[str, str]:
    """Installed versions of this project's direct dependencies: what it always needs, and what training needs."""
    wanted = metadata.requires("drift_detector_pipeline") or []
    of_training = [text for text in wanted if "extra ==" not in text or 'extra == "train"' in text]
    names = {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in of_training}
    return {name: metadata.version(name) for name in sorted(names)}


def git_state() -> dict[str, object]:
    """Commit and dirty flag of the code, or of the image it was built into; None where neither is known."""
    if commit := os.environ.get("PIPELINE_COMMIT"):
        return {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
    root = Path(__file__).parent
    try:
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=root, text=True, stderr=subprocess.DEVNULL)  # noqa: S607
        changes = subprocess.check_output(["git", "status", "--porcelain"], cwd=root, text=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}
