"""Not a test: what each folder of tests may cost, printed beside what it did cost at the end of every run of pytest.

CPU seconds of the tests and of the programs they waited for: a busy machine hardly changes them, one half as fast
doubles them. A folder over its budget is marked; one far over it fails the run: a test has grown, no machine slowed.
"""

import resource
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

# Of all tests (`make check`), on two cores of an AMD EPYC of 2023 with other work beside, rounded up; tests/deploy with
# those of `make docker_check`. Small folders have room for what several share: whoever asks first pays for it. `tests`
# includes the walk of `make verify` (103 s), which CI leaves to the container. What grew says with which tests.
CPU_SECONDS = {
    "tests": 360,  # layouts of archives, words that commands refuse
    "tests/corruptions": 40,
    "tests/deploy": 180,  # an environment of a service, installed afresh
    "tests/drift": 310,
    "tests/frames": 40,
    "tests/images": 15,  # kinds of pictures
    "tests/lifecycle": 260,
    "tests/modeling": 580,  # sweeps, profiles
    "tests/networks": 80,  # weights of others
    "tests/networks/boxes": 30,
    "tests/processed": 50,
    "tests/proof": 200,
    "tests/raw": 60,
    "tests/raw/formats": 40,
    "tests/release": 210,  # damaged and older artefacts
    "tests/runs": 55,
    "tests/runs/tracking": 160,
    "tests/serving": 180,
    "tests/tasks": 40,
    "tests/tasks/boxes": 60,
    "tests/tasks/classification": 40,
    "tests/tasks/clips": 10,
    "tests/video": 40,
}
DEAR, SHOWN = 10, 60  # CPU seconds from which a test is named, and at most so many
TOO_MUCH = 10  # times the budget: a machine without wide vector units takes three or four times as long


class Budget:
    """Adds up what the tests of each folder cost, in whichever process they ran."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.by_test: dict[str, float] = defaultdict(float)
        self._before = cpu_seconds()

    def pytest_runtest_logstart(self) -> None:
        """Leave out what collecting cost."""
        self._before = cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let a report tell what its phase cost; it goes from a worker to the process that counts."""
        report = yield
        now = cpu_seconds()
        report.cpu_seconds, self._before = now - self._before, now  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count it."""
        self.spent[folder_of(report.nodeid)] += getattr(report, "cpu_seconds", 0.0)
        self.by_test[report.nodeid] += getattr(report, "cpu_seconds", 0.0)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run in which a folder cost far too much."""
        if session.exitstatus == pytest.ExitCode.OK and self.far_over():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a row a folder."""
        if self.spent:
            terminalreporter.section("CPU seconds by folder, and their budget")
            terminalreporter.write_line("\n".join([*self.rows(), *self.dearest()]))

    def far_over(self) -> list[str]:
        """The folders that fail the run."""
        return [folder for folder, spent in self.spent.items() if spent > TOO_MUCH * CPU_SECONDS.get(folder, 0)]

    def rows(self) -> list[str]:
        """A line a folder, the dearest first."""
        return [_row(*pair, self.far_over()) for pair in sorted(self.spent.items(), key=lambda pair: -pair[1])]

    def dearest(self) -> list[str]:
        """A line for each test that cost much, the dearest first: where time can be saved."""
        tests = sorted(self.by_test.items(), key=lambda pair: -pair[1])[:SHOWN]
        return [f"{spent:7.0f}  {name}" for name, spent in tests if spent >= DEAR]


def _row(folder: str, spent: float, far_over: list[str]) -> str:
    budget = CPU_SECONDS.get(folder, 0)
    note = f"  FAILED: over {TOO_MUCH} times its budget" if folder in far_over else "  over its budget"
    return f"{spent:7.0f} of {budget:4}  {folder}{note if spent > budget else ''}"


def folder_of(nodeid: str) -> str:
    """`tests/drift` of tests/drift/test_detector.py::test_a."""
    return Path(nodeid.partition("::")[0]).parent.as_posix()


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
