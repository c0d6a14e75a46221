"""`drift-pipeline`: what make runs, by name, without make and without waiting for PyTorch to be told what there is."""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, called, ci_environment, needs_clone, run_module

from drift_detector_pipeline.cli import COMMANDS, completion, main
from drift_detector_pipeline.errors import ConfigError
from drift_detector_pipeline.takes import OF_COMMAND

DATA = sorted(path.stem for path in (ROOT / "conf" / "data").glob("[!_]*.yaml"))
DIGITS = ["data=digits", "data.stored_side_px=8", "data.img_size=8", "data.dataloader_workers=0", "model=mlp",
          "training.epochs=1", "wandb.enabled=false"]  # fmt: skip


def call(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["drift-pipeline", *words])
    return main()


def test_the_console_script_of_the_project_is_this_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"drift-pipeline": "drift_detector_pipeline.cli:main"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_a_main_and_says_what_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in filter(None, (COMMANDS[name].module, COMMANDS[name].before)):
        spec = find_spec(f"drift_detector_pipeline.{module}")
        assert spec is not None and spec.origin is not None
        assert "def main() -> int" in (Path(spec.origin).parent / "__main__.py" if spec.submodule_search_locations
                                       else Path(spec.origin)).read_text()  # fmt: skip
    assert call(name, "--help", monkeypatch=monkeypatch) == 0
    assert len(capsys.readouterr().out) > 80


@needs_clone
def test_it_runs_what_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    through = set(re.findall(r"\$\(MODULE\)\.cli (\S+)", makefile))  # looks for what is named first
    for name, command in COMMANDS.items():
        if command.module not in ("cli", "quickstart"):
            assert name in through or f"$(MODULE).{' '.join([command.module, *command.words])}" in makefile
    assert through <= set(COMMANDS)


def test_a_list_of_all_commands_comes_without_pytorch() -> None:
    code = "import sys; from drift_detector_pipeline.cli import main; sys.argv = ['x', 'help']; main()\n"
    code += "print({'torch', 'hydra', 'numpy'} & set(sys.modules), file=sys.stderr)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.stderr == "set()\n"
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "trian: no such command; the nearest are train"),
        (["drift", "nosuch", "README.md"], "nosuch/final_model.safetensors: no such weight file"),
        (["drift", "", "nosuch/*.jpg"], "nosuch/*.jpg: no files there"),
        (["watch", "nosuch", "README.md"], "nosuch/final_model.safetensors: no such weight file"),
        (["drift_reference", "nosuch"], "nosuch: no run.json"),
        (["drift-demo", "nosuch"], "nosuch: no run.json"),
        (["export", "nosuch", "export.precision=int8"], "nosuch: no run.json"),
        (["reproduce", "nosuch"], "nosuch: no run.json"),
        (["heal", "nosuch-12345678", "README.md", "cause=fog"], "nosuch-12345678: no version"),
        (["retrain", "nosuch-12345678", "cause=fog"], "nosuch-12345678: no version"),
        (
            ["export", "", "export.precison=int8"],
            "export.precison=int8: no such setting; did you mean export.precision",
        ),
        (["drift", "", "README.md", "drift.alpha=7"], "drift.alpha: Input should be less than 1, got 7"),
        (["corruptions", "data.img_size=7"], "data.img_size: Input should be greater than or equal to 8, got 7"),
        (["heal", "", "README.md", "cause=class mix"], "cause=class mix: not healed, looks are as they were"),
        (["retrain", "cause=fogg"], "cause=fogg: no change that can be made; choose from fog, "),
        (["retrain", "cause=fog", "severity=heavy"], "severity=heavy: expected a number"),
        (["heal", "", "README.md", "cause=fog", "severity=6"], "severity=6: expected a number up to 5"),
        (["bench", "model.nmae=mlp"], "model.nmae: no such key"),
        (["dataset", *DIGITS, "model.pretrained_path=nosuch"], "model.pretrained_path=nosuch: no such file"),
        (["dataset", *DIGITS, "model.backbone_run=tests"], "model.backbone_run=tests: no finished run's folder"),
        (
            ["dataset", *DIGITS, "run.resume=nosuch"],
            "run.resume=nosuch: no such folder; name a run's, run.resume=outputs/DATE/TIME",
        ),
        (
            ["train", *DIGITS, "run.resume=nosuch"],
            "run.resume=nosuch: no such folder; name a run's, run.resume=outputs/DATE/TIME",
        ),
        (
            ["export", "nosuch", "export.path=README.md"],
            f"{ROOT}/README.md: is a file; choose another export.path=PATH",
        ),
        (["export", "nosuch", "export.path=tests"], f"{ROOT}/tests: holds other things than an exported model"),
        (["export", "nosuch", "export.path=README.md/x"], f"{ROOT}/README.md: is a file, and a folder is wanted there"),
        (["predict", "", "run=4"], "run=4: make predict takes only "),
        (["video", "", "run=4.mp4"], "run=4.mp4: make predict VIDEO= takes only "),
        (["completion", "fish"], "completion fish: name a shell, bash or zsh"),
    ],
)
def test_what_cannot_be_is_said_before_pytorch_is_imported(words: list[str], said: str) -> None:
    code = f"import sys; from drift_detector_pipeline.cli import main; sys.argv = ['x', *{words}]; print(main())\n"
    command = [sys.executable, "-c", f"{code}print('torch' in sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.stderr.startswith(f"error: {said}")
    assert done.stdout == "1\nFalse\n"


@pytest.mark.parametrize("key", ["model.pretrained_path", "model.backbone_run"])
def test_a_page_or_pointer_saved_as_weights_is_said_before_pytorch_is_imported(key: str, tmp_path: Path) -> None:
    (path := tmp_path / "weights.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    words = ["dataset", *DIGITS, f"{key}={path}"]
    code = f"import sys; from drift_detector_pipeline.cli import main; sys.argv = ['x', *{words}]; print(main())\n"
    command = [sys.executable, "-c", f"{code}print('torch' in sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    assert done.stderr.startswith(f"error: {key}={path}: no safetensors") and "Git LFS pointer" in done.stderr
    assert done.stdout == "1\nFalse\n"


def test_settings_of_other_commands_are_refused_before_pytorch_is_imported_in_the_words_of_the_command_itself() -> None:
    named = {name: ["nosuch", "data.img_size=7"] for name in OF_COMMAND}
    named |= {
        name: ["nosuch", "README.md", "data.img_size=7"] for name in ("drift", "watch", "heal", "predict", "video")
    }
    code = "import sys; from drift_detector_pipeline.cli import main\n"
    code += f"for words in {[[name, *rest] for name, rest in named.items()]}: sys.argv = ['x', *words]; main()\n"
    command = [sys.executable, "-c", f"{code}print('torch' in sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, env=ci_environment(), capture_output=True, text=True)
    itself = [called(_module(name), *rest).stderr for name, rest in named.items()]
    assert [said for said in itself if not said.startswith("error: data.img_size=7: make ")] == []
    assert (done.stderr, done.stdout) == ("".join(itself), "False\n")


def _module(name: str) -> str:
    module = COMMANDS[name].module
    spec = find_spec(f"drift_detector_pipeline.{module}")
    return f"{module}.__main__" if spec is not None and spec.submodule_search_locations else module


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["tr"], "train"),
        (["train", "training.ep"], "training.epochs="),
        (["train", "data", "=", "di"], "digits"),
        (["train", "data="], " ".join(f"data={name}" for name in DATA)),  # as zsh has it
        (["train", "data", "="], " ".join(DATA)),
        (["train", "training.epochs", "=", "5", "model=vi"], "model=vit_tiny"),
        (["train", "wandb.t"], "wandb.tags="),
    ],
)
def test_the_shell_completes_commands_settings_and_choices(typed: list[str], completed: str, tmp_path: Path) -> None:
    script = tmp_path / "completion.sh"
    ask = 'COMP_WORDS=(drift-pipeline "$@"); COMP_CWORD=$#; _drift_pipeline; echo "${COMPREPLY[@]}"'
    script.write_text(f"{completion(['bash'])}\n{ask}\n")
    done = subprocess.run(["bash", "-u", str(script), *typed], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (completed, "")


def test_only_shells_that_are_known_are_completed() -> None:
    assert completion(["zsh"]).endswith(completion(["bash"]))
    for words in ([], ["fish"], ["bash", "zsh"]):
        with pytest.raises(ConfigError, match="name a shell"):
            completion(words)


@pytest.mark.slow
def test_train_brings_its_data_and_leaves_a_receipt_of_the_module_that_ran(tmp_path: Path) -> None:
    done = run_module("cli", "train", *DIGITS, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    receipt = (tmp_path / "run" / "run.json").read_text()
    assert '"drift_detector_pipeline.modeling.train"' in receipt


@pytest.mark.slow
def test_data_and_training_do_without_what_only_posix_has(tmp_path: Path) -> None:
    """As near to Windows as a test here comes: there are no file locks and no limits of processes."""
    posix = "import sys; sys.modules |= dict.fromkeys(['fcntl', 'resource', 'pwd', 'grp', 'termios', 'pty'])\n"
    for module in ("dataset", "modeling.train"):
        words = [*DIGITS, "hydra.run.dir=run"]
        code = f"{posix}sys.argv = ['x', *{words}]\nfrom drift_detector_pipeline.{module} import main\nsys.exit(main())"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=ci_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_the_status_of_a_command_is_handed_on() -> None:
    done = run_module("cli", "summary", "nowhere")
    assert (done.returncode, done.stderr.count("error: ")) == (1, 1)


def test_where_training_is_not_installed_the_command_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['torch'] = None; from drift_detector_pipeline.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, "train"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "error: train: PyTorch is not installed here: pip install -e '.[train,export]', or make requirements\n"
    )
