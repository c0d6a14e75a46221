"""All commands under one name: `drift-pipeline train data=digits`, also where there is no make, as on Windows.

In: a command's name and its words. Out: what its module does with them, the one that make runs. Whatever is asked about
the commands, what is not there and settings that are wrong are answered without PyTorch, which takes seconds to import.
"""

import ast
import difflib
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from drift_detector_pipeline.cluster import ENGINES
from drift_detector_pipeline.commands import Command, read_command
from drift_detector_pipeline.dot_env import set_variables
from drift_detector_pipeline.errors import ConfigError, exit_status
from drift_detector_pipeline.modeling.named import check_images, check_reference, check_run, check_weights
from drift_detector_pipeline.stopped import call, nothing_made

_PACKAGE = "drift_detector_pipeline"


class _Command(NamedTuple):
    module: str
    line: str  # in the list
    words: tuple[str, ...] = ()  # before those that are typed
    before: str = ""  # the module that brings the data first, as make does it


COMMANDS = {
    "quickstart": _Command("quickstart", "train on handwritten digits and show the result"),
    "verify": _Command("verify", "run every stage on this machine and report what works"),
    "pull": _Command("raw.remote", "download the raw data from the DVC remote", ("pull",)),
    "push": _Command("raw.remote", "upload the raw data to the DVC remote", ("push",)),
    "status": _Command("raw.remote", "compare the raw data with its .dvc files and the remote", ("status",)),
    "dataset": _Command("dataset", "turn a raw archive or folder into packed images: data=cifar10"),
    "convert": _Command("convert", "convert boxes to a different layout: FROM yolo, coco, voc or kitti"),
    "data-report": _Command("processed.data_report", "describe the data on one page", before="dataset"),
    "croissant": _Command("processed.croissant", "describe the processed data as Croissant metadata", before="dataset"),
    "train": _Command("modeling.train", "train: data=folder data.raw_path=PATH training.epochs=5", before="dataset"),
    "sweep": _Command("modeling.sweep", "try values: training.learning_rate=1e-3,1e-2", before="modeling.sweep.data"),
    "reproduce": _Command("modeling.reproduce", "repeat a finished run and compare the weights: RUN"),
    "evaluate": _Command("modeling.evaluate", "measure accuracy, as numbers and one page: RUN split=val"),
    "predict": _Command("modeling.predict", "label images: RUN IMAGES"),
    "video": _Command("video", "find boxes on every frame of a video, or label clips: RUN street.mp4"),
    "summary": _Command("modeling.summary", "combine finished runs into one JSON: reports/NAME.json RUN RUN"),
    "card": _Command("modeling.card", "write a model card for a finished run: RUN"),
    "hub-push": _Command(
        "modeling.hub_push", "upload weights, receipt and card to the Hugging Face Hub: RUN repo=OWNER/NAME"
    ),
    "profile": _Command(
        "modeling.profile", "show where a training step's time goes; settings as for train", before="dataset"
    ),
    "drift-demo": _Command("drift.demo", "see drift detection in one picture: RUN, or digits if there is no run"),
    "drift-reference": _Command("drift.build_reference", "learn what a run's usual images look like: RUN"),
    "drift": _Command("drift", "check images for drift: RUN IMAGES; exit status 3: notice, 4: alert"),
    "watch": _Command("drift.watch", "watch a folder for new images and drift, until stopped: RUN FOLDER"),
    "export": _Command("release.export", "pack a finished run for serving: RUN export.precision=int8"),
    "serve": _Command("serving", "answer requests over HTTP and watch for drift: serving.port=8001 export.path=FOLDER"),
    "models": _Command("serving.models", "list the versions in models/: the champion, tests, use"),
    "promote": _Command(
        "release.champions", "make a version the champion that answers: VERSION WHY force=true", ("promote",)
    ),
    "rollback": _Command("release.champions", "go back to the previous champion: WHY", ("rollback",)),
    "models-push": _Command("release.shared", "upload versions to the DVC remote: VERSION; else all", ("push",)),
    "models-pull": _Command("release.shared", "download versions from the DVC remote: VERSION; else all", ("pull",)),
    "known-bits": _Command("runs.known_bits", "record the hash of a run's weights on this processor: RUN"),
    "runs": _Command("runs.listing", "compare finished runs: RUN RUN; else all"),
    "gate": _Command(
        "lifecycle.gating.gate", "test whether a candidate may replace the champion: VERSION cause=fog severity=3"
    ),
    "heal": _Command(
        "lifecycle.mending.heal", 'adapt the model to recent images without labels: VERSION, or "", IMAGES cause=fog'
    ),
    "retrain": _Command("lifecycle.mending.retrain", "retrain the champion with imitated changes: cause=fog"),
    "log-export": _Command("serving.log_export", "export the request log as Parquet: path=FOLDER"),
    "monitor": _Command(
        "lifecycle.watching.monitor", "watch the request log: monitor.database=sqlite:///PATH monitor.once=true"
    ),
    "alarms": _Command(
        "lifecycle.watching.alarm_desk",
        "list the alarms of the monitor: source=gate-3 open=true json=true",
        ("alarms",),
    ),
    "acknowledge": _Command(
        "lifecycle.watching.alarm_desk", "close an alarm: alarm=7 why='lens cleaned'", ("acknowledge",)
    ),
    "silence": _Command(
        "lifecycle.watching.alarm_desk", "send no alarms for a while: source=gate-3 hours=8 why=repairs", ("silence",)
    ),
    "basket": _Command("lifecycle.labelling.basket", "collect images worth labelling: IMAGES alarm=7"),
    "label": _Command("lifecycle.labelling.label", "label a basket in the browser: BASKET, or the newest"),
    "labels": _Command("lifecycle.labelling.labels", "read labels, and report how accurate the model was: FILE BASKET"),
    "autopilot": _Command("lifecycle.autopilot", "act on open alarms by a policy: lifecycle=heal"),
    "corruptions": _Command("proof.corruption_sheet", "draw 15 kinds of corruption and measure them"),
    "course-report": _Command("course_report", "check a course report, and write it as one page: FILE"),
    "bench": _Command("proof.training_speed", "measure training speed on this machine"),
    "completion": _Command("cli", "print a completion script: source <(drift-pipeline completion bash), or zsh"),
}
_AS_MAKE_SAYS = {"process-data": "dataset", "dvc-pull": "pull", "dvc-push": "push", "dvc-status": "status"}
# What an environment for serving alone can do.
_WITHOUT_TRAINING = (
    "serve", "log-export", "models", "promote", "rollback", "gate", "basket", "label", "labels", "monitor", "alarms",
    "acknowledge", "silence",
)  # fmt: skip
# What names a run, a version or images, and imports PyTorch before it would look for them, or at its settings.
_OF_A_RUN = ("drift-demo", "drift-reference", "export", "reproduce", "corruptions")
_OF_A_VERSION = ("heal", "retrain")
_OF_TRAINING = ("corruptions", "bench")  # take all of its settings, unless a run is named
_WITH_IMAGES = ("drift", "watch", "heal", "retrain")
_WITH_REFERENCE = ("drift", "watch")
_OWN_WORDS = {"drift": {"engine": ENGINES}}  # that are no settings, with their values
_SHELLS = ("bash", "zsh")


@exit_status
def main() -> int:
    """Run the command that is named first; without one, list all."""
    first, *words = sys.argv[1:] or ["help"]
    name = first.lower().replace("_", "-")
    name = _AS_MAKE_SAYS.get(name, name)
    if name in ("help", "--help", "-h"):
        print(_listing())
    elif name not in COMMANDS:
        near = ", ".join(difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.0))
        raise ConfigError(f"{first}: no such command; the nearest are {near}, and drift-pipeline help lists all")
    elif name == "sweep" and sys.platform == "win32":
        raise ConfigError("sweep: its trials need the locks and process groups of Linux or macOS; train runs here")
    elif {"--help", "-h"} & set(words):
        print(_about(COMMANDS[name]))
    elif name == "completion":
        print(completion(words))
    elif name not in _WITHOUT_TRAINING and find_spec("torch") is None:
        raise ConfigError(
            f"{name}: PyTorch is not installed here: pip install -e '.[train,export]', or make requirements"
        )
    else:
        if name in (*_WITH_IMAGES, *_OF_A_RUN, *_OF_A_VERSION, *_OF_TRAINING):
            named = read_command(words, _OWN_WORDS.get(name, {}), takes_images=name in _WITH_IMAGES)
            _check_settings(name, named)
            if name in _OF_A_VERSION:
                _check_cause(name, named.overrides)
            _check_paths(name, named)
        return _run(COMMANDS[name], words)
    return 0


def completion(words: Sequence[str]) -> str:
    """A script for the shell that is named; it completes commands, settings, and the files of conf/ by name.

    Raises ConfigError unless the shell is bash or zsh.
    """
    from drift_detector_pipeline.config import group_choices
    from drift_detector_pipeline.settings import valid_keys

    if len(words) != 1 or words[0] not in _SHELLS:
        raise ConfigError(f"completion {' '.join(words)}: name a shell, {' or '.join(_SHELLS)}")
    groups = {("+" if group == "experiment" else "") + group: names for group, names in group_choices().items()}
    known = [f"{group}={name}" for group, names in groups.items() for name in names]
    known += [f"{key}=" for key in valid_keys()]
    cases = " ".join(f'{group}) known="{" ".join(names)}" ;;' for group, names in groups.items())
    script = _COMPLETION.format(commands=" ".join(COMMANDS), known=" ".join(known), cases=cases)
    return script if words[0] == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{script}"


# Bash takes `data=di` for three words, zsh for one.
_COMPLETION = """_drift_pipeline() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" key="" known="{known}"
  if [ "$COMP_CWORD" -eq 1 ]; then known="{commands} help"
  elif [ "$current" = "=" ]; then key="${{COMP_WORDS[COMP_CWORD-1]}}" current=""
  elif [ "$COMP_CWORD" -gt 2 ] && [ "${{COMP_WORDS[COMP_CWORD-1]}}" = "=" ]; then key="${{COMP_WORDS[COMP_CWORD-2]}}"
  fi
  if [ -n "$key" ]; then known=""; case "$key" in {cases} esac; fi
  COMPREPLY=($(compgen -W "$known" -- "$current"))
  case "${{COMPREPLY[0]}}" in *=) compopt -o nospace 2>/dev/null ;; esac
}}
complete -o default -F _drift_pipeline drift-pipeline"""


def _listing() -> str:
    lines = [f"  {name:<16} {command.line}" for name, command in COMMANDS.items()]
    head = ["drift-pipeline COMMAND WORDS: a setting looks like training.epochs=5, and conf/ lists all settings", ""]
    return "\n".join([*head, *lines, "", 'drift-pipeline COMMAND --help tells more. RUN may be "" for the newest run.'])


def _about(command: _Command) -> str:
    """The docstring of a command's module, read without importing it."""
    spec = find_spec(f"{_PACKAGE}.{command.module}")
    if spec and spec.submodule_search_locations:
        spec = find_spec(f"{_PACKAGE}.{command.module}.__main__")
    assert spec is not None and spec.origin is not None
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or command.line


def _check_paths(name: str, named: Command) -> None:
    """Raise a PipelineError if what a command names is not there, or the drift reference of that or the newest run."""
    if name in _OF_A_VERSION:
        from drift_detector_pipeline.lifecycle.gating.origin import named_artefact

        named_artefact(named.target)
    elif name == "export":
        from drift_detector_pipeline.config import load_section
        from drift_detector_pipeline.release.artefact import refuse_foreign
        from drift_detector_pipeline.settings_in_use import Export

        refuse_foreign(load_section(Export, named.overrides).path.resolve())
    if named.target and name in _OF_A_RUN:
        check_run(named.target)
    elif named.target and name not in (*_OF_A_VERSION, "bench"):
        check_weights(named.target / "final_model.safetensors")
    if any(named.images) and name != "watch":  # a folder that is watched may be filled later
        check_images(named.images)
    if any(named.images) and name == "heal" and not any(word.startswith("alarm=") for word in named.overrides):
        from drift_detector_pipeline.lifecycle.mending.healable import refuse_few

        refuse_few(named.images)
    if name in _WITH_REFERENCE:
        from drift_detector_pipeline.runs.receipts import newest_finished

        check_reference(named.target or newest_finished())


def _check_settings(name: str, named: Command) -> None:
    """Raise ConfigError if a word sets what the command does not take, or a value that is not allowed."""
    if not named.overrides:
        return
    from drift_detector_pipeline.takes import OF_COMMAND, check_settings

    if name not in OF_COMMAND or (name in _OF_TRAINING and named.target is None):
        from drift_detector_pipeline.config import load

        load(named.overrides)
    else:
        check_settings(named.overrides, OF_COMMAND[name])


def _check_cause(name: str, overrides: Sequence[str]) -> None:
    """Raise ConfigError if what has happened to the images is nothing that is healed or trained on."""
    if not any(word.startswith(("cause=", "severity=")) for word in overrides):
        return
    from drift_detector_pipeline.lifecycle.gating.gate_images import cause_in, levels_near
    from drift_detector_pipeline.lifecycle.mending.healable import refuse_cause

    cause, severity, _ = cause_in(overrides)
    if cause is not None:
        refuse_cause(cause) if name == "heal" else levels_near(cause, severity)


def _run(command: _Command, words: Sequence[str]) -> int:
    """Run the module as `python -m` would, with .env and what the Makefile sets; return its status."""
    set_variables()
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if command.before and (status := call([sys.executable, "-m", f"{_PACKAGE}.{command.before}", *words])):
        return status
    sys.argv = [command.module, *command.words, *words]
    nothing_made()  # by this command
    try:
        runpy.run_module(f"{_PACKAGE}.{command.module}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
