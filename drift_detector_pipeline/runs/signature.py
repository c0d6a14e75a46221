"""Who vouches for a run: an SSH key signs its receipt, and through the hashes in it the weights.

    python -m drift_detector_pipeline.runs.signature sign|check [RUN] KEY     # make sign, make check_signature

In: a run folder and a key, the private one to sign, the public one to check. Out: run.json.sig beside run.json, or
whether both it and the weights are still what was signed. OpenSSH's ssh-keygen does the work.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from drift_detector_pipeline.console import log, set_up_logging
from drift_detector_pipeline.errors import ConfigError, ModelError, exit_status
from drift_detector_pipeline.files import file_hash, from_home, write_atomically
from drift_detector_pipeline.runs.receipts import WEIGHT_FILES, newest_finished, read_receipt

_NAMESPACE = "drift-detector-pipeline"  # a signature made for another purpose is none here
_LONGEST_KEY = 100_000  # letters; RSA keys of 16,384 bits have 2,800
_MAKE_ONE = "make one: ssh-keygen -t ed25519"


@exit_status
def main() -> int:
    """Sign or check the run named on the command line, or the newest finished one."""
    set_up_logging()
    what, run, key = _words(sys.argv[1:])
    if not key:
        raise ConfigError(f"KEY is empty: expected an SSH key, KEY=~/.ssh/id_ed25519; {_MAKE_ONE}")
    run = run or newest_finished()
    if what == "sign":
        log.info("%s", sign(run, Path(key).expanduser()))
    else:
        check(run, Path(key).expanduser())
        log.info("%s and the weights beside it are what the owner of %s signed", run / "run.json", key)
    return 0


def _words(words: Sequence[str]) -> tuple[str, Path | None, str]:
    """What to do, the run, None for the newest finished one, and the key."""
    if len(words) not in (2, 3) or words[0] not in ("sign", "check"):
        raise ConfigError(
            f"{' '.join(words)}: name a run and an SSH key: make sign RUN=outputs/DATE/TIME KEY=~/.ssh/id_ed25519, or "
            "make check_signature with the .pub file"
        )
    return words[0], Path(from_home(words[1])) if words[1:-1] not in ([], [""]) else None, words[-1]


def signature_of(run: Path) -> Path:
    """Where a run's signature lies, if it has one."""
    return run / "run.json.sig"


def sign(run: Path, key: Path) -> Path:
    """Sign a run's receipt with a private SSH key; return the signature's file.

    Raises ModelError if the weights are not those of the receipt, ConfigError if there is no key that can sign.
    """
    _check_weights(run)
    if not key.is_file():
        raise ConfigError(f"KEY={key}: no such private key; {_MAKE_ONE}")
    signature = _ssh_keygen(run, "sign", "-q", "-f", str(key))
    if signature.returncode:
        raise ConfigError(f"KEY={key}: cannot sign: {_reason(signature)}; a private SSH key is needed; {_MAKE_ONE}")
    write_atomically(signature_of(run), signature.stdout)
    return signature_of(run)


def check(run: Path, key: Path) -> None:
    """Raise ModelError if receipt and weights are not what the owner of this public SSH key signed.

    Raises ConfigError if there is no such key.
    """
    _check_weights(run)
    try:
        with key.open(encoding="utf-8") as file:
            public = file.read(_LONGEST_KEY).strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"KEY={key}: no public key that can be read; expected the .pub file of who signed") from error
    if len(public.splitlines()) != 1 or "PRIVATE KEY" in public or not public.isprintable():
        raise ConfigError(f"KEY={key}: expected one public key on one line, as ssh-keygen writes it: {key}.pub?")
    if not signature_of(run).is_file():
        raise ModelError(f"{run}: not signed (no {signature_of(run).name}); sign it: make sign RUN={run} KEY=...")
    with tempfile.NamedTemporaryFile("w", suffix=".signers") as signers:
        signers.write(f"signer {public}\n")
        signers.flush()
        names = ["-I", "signer", "-f", signers.name, "-s", str(signature_of(run))]
        answer = _ssh_keygen(run, "verify", *names)
    if answer.returncode:
        raise ModelError(f"{run / 'run.json'}: not what the owner of {key} signed ({_reason(answer)})")


def _check_weights(run: Path) -> None:
    receipt = read_receipt(run)
    for file in (run / name for name in WEIGHT_FILES):
        if not file.is_file():
            raise ModelError(f"{file}: missing, so what {receipt.file} says of it cannot be checked")
        receipt.check_weights(file, file_hash(file))


def _ssh_keygen(run: Path, what: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """What OpenSSH says of the bytes of a receipt."""
    command = ["ssh-keygen", "-Y", what, "-n", _NAMESPACE, *options]
    try:
        return subprocess.run(command, input=(run / "run.json").read_bytes(), capture_output=True)
    except FileNotFoundError as error:
        raise ConfigError("ssh-keygen: not installed; it is part of OpenSSH (Debian: openssh-client)") from error


def _reason(answer: subprocess.CompletedProcess[bytes]) -> str:
    said = (answer.stderr + answer.stdout).decode(errors="replace").strip().splitlines()
    return said[-1].strip() if said else f"status {answer.returncode}"


if __name__ == "__main__":
    sys.exit(main())
