"""Hydra's composed configuration as typed, checked settings.

In: conf/*.yaml and overrides such as `training.epochs=5`. Out: a frozen `Settings`, or a `ConfigError` that
names the key, the nearest valid one and the file. Every command of the package starts here.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drift_detector_pipeline.conf_files import composed, conf_file, groups_in, with_defaults
from drift_detector_pipeline.errors import ConfigError, without_password
from drift_detector_pipeline.files import from_home
from drift_detector_pipeline.meant import (
    FREE_FORM,
    GRAMMAR,
    PATHS,
    PATTERNS,
    as_typed,
    check_form,
    is_setting,
    meant,
    value_meant,
)
from drift_detector_pipeline.settings import Settings, valid_keys

CONF = Path(__file__).resolve().parents[1] / "conf"

_GIVEN = "given on the command line"
_Section = TypeVar("_Section", bound=BaseModel)


class Composed(NamedTuple):
    """A command's settings and where they came from."""

    settings: Settings
    overrides: list[str]  # as given on the command line
    config_yaml: str  # the composed configuration, for people
    run_folder: Path  # where Hydra would put a new run
    run_folder_chosen: bool  # hydra.run.dir was given on the command line


def load(overrides: Sequence[str]) -> Composed:
    """Compose and check the configuration.

    Raises ConfigError before anything else happens if a key, group choice, type or value is wrong.
    """
    words = [as_in_a_shell(word) for word in overrides]
    parsed = parse(words)
    for override in parsed:
        _check_word(override, overrides)
    whole = composed(CONF, [f"++{text}" if text.startswith(FREE_FORM) else text for text in words])
    values, run_folder = _plain(whole)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, lambda key: _origin(key, words, whole))) from error
    return Composed(
        settings,
        list(overrides),
        OmegaConf.to_yaml(OmegaConf.create(values)),
        run_folder,
        any(override.key_or_group == "hydra.run.dir" for override in parsed),
    )


def load_section(section: type[_Section], words: Sequence[str], values: Mapping[str, object] | None = None) -> _Section:
    """One section of the settings: what `words` say of it, the rest from conf/<section>/default.yaml or from `values`.

    Nothing else is composed: a command that needs a device needs no data set. Words of other sections are passed over;
    a word such as `lifecycle=heal` takes that file over the default one.
    Raises ConfigError if a key, type or value is wrong.
    """
    name = section.__name__.lower()
    parsed = parse([as_in_a_shell(word) for word in words])
    given = {
        override.key_or_group.removeprefix(f"{name}."): _value(override)
        for override in parsed
        if override.key_or_group.startswith(f"{name}.")
    }
    kept = dict(_file(f"{name}/default.yaml") if values is None else values)
    for override in (override for override in parsed if override.key_or_group == name):
        _check_word(override, words)
        kept |= _file(f"{name}/{override.value()}.yaml")
    kept.pop("defaults", None)
    try:
        return section.model_validate({**kept, **given})
    except ValidationError as error:
        keys = [f"{name}.{key}" for key in given]
        explained = _explain(error, lambda key: _GIVEN if key in keys else f"in conf/{name}/default.yaml", name)
        raise ConfigError(explained) from error


def group_choices() -> dict[str, list[str]]:
    """The configuration groups, each with the names of its files."""
    return groups_in(CONF)


def parse(overrides: Sequence[str]) -> list[Override]:
    """Read words such as `training.epochs=5` in Hydra's grammar. Raises ConfigError if they are none."""
    check_form(overrides)
    read = list[Override]()
    for word in overrides:
        try:
            read += OverridesParser.create().parse_overrides([word])
        except HydraException as error:
            raise ConfigError(f"{word}: cannot be read ({str(error).splitlines()[0]}); {GRAMMAR}") from error
    return read


def as_in_a_shell(word: str) -> str:
    """`word` with the path, address or file that it may set in quotes, if Hydra's grammar would read something else.

    So brackets, commas, `=` and letters of any script may stand in paths as they are; `~/` is the home folder. A file
    of a group may be called 2024 or true.
    """
    value = word.partition("=")[2]
    if (
        (_key(word) not in PATHS and not _is_choice(_key(word), value))
        or value.startswith(('"', "'"))
        or (value == value.strip() and _is_text(word))
    ):
        return word
    quoted = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2].replace('"', r"\""), from_home(value))
    return f'{word.partition("=")[0]}="{quoted}"'


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _is_choice(group: str, name: str) -> bool:
    return "." not in group and name in group_choices().get(group, ())


def _is_text(word: str) -> bool:
    """Whether Hydra's grammar reads one text, or null, in what `word` sets."""
    try:
        [override] = OverridesParser.create().parse_overrides([word])
    except HydraException:
        return False
    return not override.is_sweep_override() and isinstance(override.value(), str | None)


def _check_word(override: Override, words: Sequence[str]) -> None:
    """Refuse a key or a choice that does not exist, naming the nearest that does, and a word that sets no one value."""
    word, key, groups = override.input_line, override.key_or_group, group_choices()
    if override.is_sweep_override():
        raise ConfigError(f"{word}: one value is expected; a list stands in brackets, and make sweep tries several")
    if key == "hydra.run.dir" and not str(override.value() or "").strip():
        raise ConfigError(f"{word}: a folder is expected, such as hydra.run.dir=outputs/first")
    if override.is_add() and not override.is_force_add() and key in valid_keys():
        raise ConfigError(f"{word}: {key} is there already; leave out the plus")
    if key in groups:
        if override.value() not in groups[key]:
            choices = _nearest_first(str(override.value()), groups[key])
            hint = _hint(override, words)
            if (CONF / key / f"{override.value()}.yml").exists():
                hint = f"; conf/{key}/{override.value()}.yml must end in .yaml"
            raise ConfigError(f"{key}={override.value()}: no such file in conf/{key}/; choose from {choices}{hint}")
        if key == "experiment" and not override.is_add():
            raise ConfigError(f"experiments are added with a plus: +experiment={override.value()}")
        return
    if key.split(".")[0] == "hydra" or is_setting(key):
        return
    if hint := _hint(override, words):
        raise ConfigError(f"{key}: no such key{hint}")
    section = key.split(".")[0]
    where = f"conf/{section}/" if section in groups else "conf/config.yaml"
    raise ConfigError(f"{key}: no such key in {where}; {_valid_ones(key)}")


def _hint(override: Override, words: Sequence[str]) -> str:
    """What a wrong word means, and all words as they are typed then; empty where that would be a guess."""
    files = group_choices()
    if not (wanted := meant(str(override.input_line), files.get(override.key_or_group, ()))):
        return ""
    typed = [one for word in words for one in meant(word, files.get(_key(word), ())) or [word]]
    name = " ".join(wanted) if len(wanted) > 1 or _key(wanted[0]) in files else wanted[0].partition("=")[0]
    return f"; did you mean {name}? Type {as_typed(typed)}"


def _valid_ones(key: str) -> str:
    """All keys of the section of `key`, or the nearest of everything if there is no such section."""
    inside = [name for name in valid_keys() if name.startswith(f"{key.split('.')[0]}.")]
    if inside:
        return f"valid keys, the nearest first: {_nearest_first(key, inside)}"
    everything = [*valid_keys(), *group_choices(), "hydra.run.dir"]
    return f"the nearest valid keys: {_nearest_first(key, everything, 8)}"


def _plain(whole: DictConfig) -> tuple[dict[str, object], Path]:
    """Nested dictionaries with interpolations resolved, and the run folder, all that is needed of hydra's own part."""
    try:
        plain = {
            name: OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
            if OmegaConf.is_config(value)
            else value
            for name, value in ((name, whole[name]) for name in map(str, whole) if name != "hydra")
        }
        return plain, Path(whole.hydra.run.dir)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: a value is needed; pass {error.full_key}=VALUE") from error
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"cannot resolve a value: {str(error).strip()}") from error


def _value(override: Override) -> object:
    """The one value of a word such as run.threads=2, interpolations resolved."""
    if override.is_sweep_override() or override.is_delete():
        raise ConfigError(f"{override.input_line}: one value is expected here")
    return _resolved(OmegaConf.create({"value": override.value()}))["value"]


def _file(name: str) -> dict[str, object]:
    return _resolved(conf_file(CONF, name))


def _resolved(config: Any) -> dict[str, object]:
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"cannot resolve a value: {str(error).strip()}") from error
    return dict(values)


def _explain(error: ValidationError, origin: Callable[[str], str], section: str = "") -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(_known_part((section, *problem["loc"]) if section else problem["loc"]))
        if problem["type"] == "value_error":  # of several keys, which it names itself
            line = problem["msg"].removeprefix("Value error, ")
        else:
            line = f"{key}: {_reason(problem, key)} ({origin(key)})"
        if line not in lines:
            lines.append(line)
    return "\n       ".join(lines)


def _reason(problem: ErrorDetails, key: str) -> str:
    if problem["type"] == "extra_forbidden":
        return f"no such key; {_as_in_a_file(key) or _valid_ones(key)}"
    if problem["type"] == "missing":
        base = "_base" if (CONF / key.split(".")[0] / "_base.yaml").exists() else "default"
        return f"a value is needed; pass {key}=VALUE, or let the file begin with defaults: [{base}, _self_]"
    expected = f"should be {patterned}" if (patterned := PATTERNS.get(key)) else problem["msg"]
    choices = re.findall(r"'([^']+)'", str(problem.get("ctx", {}).get("expected", "")))
    value = value_meant(key, problem["input"], choices)
    got = without_password(repr(problem["input"]))
    return f"{expected}, got {got}" + (f"; did you mean {key}={value}?" if value else "")


def _as_in_a_file(key: str) -> str:
    """How a file says what is right on the command line; empty where that is no better."""
    if key == "experiment":
        return "the first line of an experiment's file is `# @package _global_`"
    parts = " > ".join(key.split("."))
    return f"in a file each part stands indented below the one before: {parts}" if is_setting(key) else ""


def _known_part(location: tuple[int | str, ...]) -> list[str]:
    """The dotted key of a problem, without the names pydantic adds for the branches of a union."""
    parts: list[str] = []
    for part in location:
        if ".".join(parts) in set(valid_keys()):
            break
        parts.append(str(part))
    return parts


def _origin(key: str, overrides: Sequence[str], whole: DictConfig) -> str:
    """The place a value came from: the command line or a file below conf/."""
    given = {override.key_or_group for override in parse(overrides)} - set(group_choices())
    if any(f"{key}.".startswith(f"{name}.") for name in given):
        return _GIVEN
    choices, section = whole.hydra.runtime.choices, key.split(".")[0]
    if key in choices:
        return f"in conf/{key}/{choices[key]}.yaml"
    files = [f"experiment/{choices.experiment}.yaml"] if choices.get("experiment") else []
    files += with_defaults(CONF, f"{section}/{choices[section]}.yaml") if choices.get(section) else []
    files.append("config.yaml")
    assignment = re.compile(rf"^[^#\n]*\b{re.escape(key.rsplit('.', 1)[-1])}\s*:", re.MULTILINE)
    naming = [file for file in files if assignment.search((CONF / file).read_text(encoding="utf-8"))]
    return "in conf/" + (naming or files)[0]


def _nearest_first(word: str, candidates: Sequence[str], limit: int | None = None) -> str:
    return ", ".join(difflib.get_close_matches(word, candidates, n=limit or max(1, len(candidates)), cutoff=0.0))
