"""`make promote VERSION=... WHY="..."` and `make rollback WHY="..."`: which version answers from now on.

In: "promote", a version or an exported folder, which is registered first, and why; or "rollback" and why. Words beside
them: force=true lets in what no test has, gate=FILE names another test than the newest, who=NAME another person than
the one who types. Out: models/champion.json, and a line of models/history.jsonl; a running service follows within a
second.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from drift_detector_pipeline.commands import refuse_others, values_of
from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.files import from_home
from drift_detector_pipeline.release.artefact import MANIFEST, MODELS
from drift_detector_pipeline.release.registry import (
    Champion,
    champion,
    check_why,
    promote,
    register,
    rollback,
    versions,
)

_OWN = ("force", "gate", "who")
_YES = {"true": True, "false": False}


@exit_status
def main() -> int:
    """Promote or roll back, and say what changed."""
    set_up_logging()
    action, *words = sys.argv[1:] or [""]
    if action not in _ACTIONS:
        raise ConfigError(f"{action or 'nothing'}: expected one of {', '.join(_ACTIONS)}")
    before = champion()
    found = _ACTIONS[action](words)
    log.info("%s", described(found, before))
    return 0


def described(found: Champion, before: Champion | None) -> str:
    """What has changed, in two lines."""
    was = f", before: {before.version}" if before is not None else ""
    by = f"{found.who}: {found.why}" + f" ({found.gate})" * bool(found.gate)
    return f"champion {found.number}: {found.version}{was}\n{by}"


def _promoted(words: Sequence[str]) -> Champion:
    (typed, why), own = _sorted(words, 2, "make promote", _OWN)
    wanted = from_home(typed)
    if not wanted:
        raise ConfigError('name a version: make promote VERSION=... WHY="..."; make models lists all')
    force = own.get("force", "false")
    if force not in _YES:
        raise ConfigError(f"force={force}: choose from true, false")
    check_why(why, wanted)
    version = wanted if wanted in versions() or not (Path(wanted) / MANIFEST).is_file() else register(Path(wanted))
    gate = Path(from_home(own["gate"])) if "gate" in own else None
    return promote(version, who=own.get("who", ""), why=why, gate=gate, force=_YES[force], place=MODELS)


def _rolled_back(words: Sequence[str]) -> Champion:
    (why,), own = _sorted(words, 1, "make rollback", ("who",))
    return rollback(who=own.get("who", ""), why=why)


def _sorted(words: Sequence[str], names: int, command: str, taken: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The first `names` words, which may hold anything, and what the others set."""
    refuse_others(words[names:], taken, command)
    first = [*words[:names], *[""] * (names - len(words))]
    return first, values_of(words[names:])


_ACTIONS = {"promote": _promoted, "rollback": _rolled_back}


if __name__ == "__main__":
    sys.exit(main())
