"""Not a test: the smallest artefacts there are, tests of one against another as files, and commands that are killed.

Run as a program, `python versioned.py PLACE`, it is the latter: for every moment at which a command touches the disk it
starts the command anew, lets it kill itself there, and says on stdout what the next reader saw.
"""

import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path

from drift_detector_pipeline.errors import PipelineError
from drift_detector_pipeline.release.artefact import Artefact, write_artefact
from drift_detector_pipeline.release.registry import (
    champion,
    champion_folder,
    history,
    open_version,
    promote,
    register,
    rollback,
    versions,
)

TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def dummy(folder, number=0, *, reference=True, name="resnet18"):
    """An artefact that nothing can run; another number is another model."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights %d" % number)
    (folder / "MODEL_CARD.md").write_bytes(b"# card")
    if reference:
        (folder / "reference.npz").write_bytes(b"reference %d" % number)
    empty = Artefact(folder, "model.onnx", "onnxruntime", "fp32", name, ["cat", "dog"], 32, 40, True, {}, "ab", {})
    return write_artefact(empty)


def gate(place, candidate, against, /, *, passed=True, number=1, **changed):
    """What a test of one version against another writes."""
    from drift_detector_pipeline.release.admitted import identified

    suffix = "" if number == 1 else f"_{number}"
    folder = place / "gates" / f"{candidate}_against_{against}{suffix}"
    folder.mkdir(parents=True)
    both = {"candidate": candidate, "champion": against}
    about = {role: identified(place / "versions" / version) for role, version in both.items()}
    about |= {"passed": passed, "reasons": [] if passed else ["clean accuracy: 3.0 points lower"]} | changed
    (folder / "gate.json").write_text(json.dumps(about))
    return folder / "gate.json"


def killed_at_every_touch(command):
    """Run `command` in a child that dies at its first touch of the disk, then its second, ...; yields each time."""
    for last in itertools.count(1):
        child = os.fork()
        if not child:
            _die_after(last - 1)
            command()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            return
        yield last


def _die_after(touches):
    """Kill this process at the touch of the disk after so many."""
    left = iter(range(touches))

    def hear(event, _):
        if event in TOUCHES and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)


def seen(place):
    """What a reader sees, and whether all of it is whole."""
    found = champion(place)
    champion_folder(found, place)
    open_version(found.version, place)
    past = history(place)
    return {
        "champion": found.version,
        "number": found.number,
        "numbers": [one.number for one in past],
        "last": past[-1].version,
        "versions": versions(place),
    }


def every_moment(place):
    """Promotions, rollbacks and registrations, killed at each touch of the disk; a line for each kill."""
    first, second = (register(place / name, place) for name in ("one", "two"))
    promote(first, who="a", why="first", place=place)
    commands = {
        "promote": lambda: promote(second, who="a", why="better", force=True, place=place),
        "rollback": lambda: rollback(who="a", why="worse", place=place),
        "register": lambda: register(place / "three", place),
    }
    for name, command in commands.items():
        for moment in killed_at_every_touch(command):
            print(json.dumps({"command": name, "moment": moment, **seen(place)}), flush=True)
            if champion(place).version != first and name == "promote":
                rollback(who="a", why="once more", place=place)
            if champion(place).version == first and name == "rollback":
                promote(second, who="a", why="once more", force=True, place=place)


def without_end(place):
    """Promote and roll back until killed."""
    first, second = (register(place / name, place) for name in ("one", "two"))
    while True:
        try:
            promote(second, who="a", why="better", force=True, place=place)
            rollback(who="a", why="worse", place=place)
        except PipelineError:
            promote(first, who="a", why="begin", force=True, place=place)
        print(time.time(), flush=True)


if __name__ == "__main__":
    {"moments": every_moment, "loop": without_end}[sys.argv[1]](Path(sys.argv[2]))
