"""What the documents say is so: their commands exist, and their figures come from reports/."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import needs_clone

from drift_detector_pipeline.config import group_choices
from drift_detector_pipeline.proof import study_charts
from drift_detector_pipeline.proof.study_charts import accuracy_table, overview_table, repeat_table, study_table
from drift_detector_pipeline.release.parity import Row, as_markdown
from drift_detector_pipeline.settings import valid_keys

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MAKEFILES = (ROOT / "Makefile").read_text() + (ROOT / "docker.mk").read_text()
TARGETS = set(re.findall(r"^([a-z_]+):", MAKEFILES, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page):
    named = set(re.findall(r"`make ([a-z_]+)|^make ([a-z_]+)", page.read_text(), flags=re.MULTILINE))
    assert {first or second for first, second in named} <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page):
    words = re.findall(r"(?<!hydra\.)\b((?:data|model|training|run)\.[a-z_.]+)=", page.read_text())
    free_form = ("model.options.", "training.optimizer_options.")
    assert {word for word in words if not word.startswith(free_form)} <= set(valid_keys())


def test_every_test_that_is_named_exists():
    named = [found for page in PAGES for found in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page.read_text())]
    assert len(named) > 15
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_choice_that_is_named_exists(page):
    for group, name in re.findall(r"\+?\b(data|experiment)=(\w+)", page.read_text()):
        assert name in group_choices()[group], name


@needs_clone
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_target_has_a_help_line():
    helped = set(re.findall(r"^([a-z_]+):.*## ", MAKEFILES, flags=re.MULTILINE))
    assert helped == TARGETS


def figures_of(report, line):
    """What a row that names this report must hold: one of the first, all of the second."""
    if "ratios" in report:
        return [f"{found['median_ratio']:.2f}" for found in report["ratios"].values()], []
    if "held_out_faults" in report.get("summary", {}) and "accuracy estimate" in line:
        return [""], [f"{100 * report['summary']['held_out_family']['accuracy_error_windows']['64']:.1f} points"]
    if "side_by_side" in report:
        tests = [method["64"]["found_at_equal_false_alarms"] for method in report["side_by_side"].values()]
        found = [report["summary"]["held_out_family"]["found"]["64"], report["false_alarms"]["64"]["0.01"]["rate"]]
        return [f"{100 * share:.1f} %" for share in tests], [f"{100 * found[0]:.1f} %", f"{100 * found[1]:.2f} %"]
    if "reference_images" in report:
        return [""], [f"{100 * report['sizes']['64']['right']:.1f} %"]
    spread = [f"{100 * report['val_accuracy_sd']:.2f}"] if report["n"] > 1 else []
    return [""], [f"{100 * report['val_accuracy_mean']:.2f}", f"{report['n']} seed", *spread]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "measured.md"], ids=lambda page: page.name)
def test_measured_figures_equal_the_reports_they_name(page):
    """A row of the measured tables holds mean, spread and n of its report, or what else it is about."""
    measured = page.read_text().partition("<!-- measured -->")[2].partition("<!-- /measured -->")[0]
    rows = [line for line in measured.splitlines() if line.startswith("|") and "`reports/" in line]
    assert len(rows) >= 5
    for line in rows:
        for name in re.findall(r"`(reports/\w+\.json)`", line):
            one_of, all_of = figures_of(json.loads((ROOT / name).read_text()), line)
            assert any(figure in line for figure in one_of), line
            assert [figure for figure in all_of if figure not in line] == [], line


def test_the_tables_of_drift_equal_the_reports_they_come_from():
    page = (ROOT / "docs" / "drift" / "study.md").read_text()
    reports = sorted((ROOT / "reports").glob("drift_study_*.json"))
    assert reports
    for report in reports:
        found = json.loads(report.read_text())
        if found["numbers"]["seed"]:
            first = json.loads((ROOT / "reports" / f"drift_study_{found['data']}.json").read_text())
            assert repeat_table(first, found) in page, report
        else:
            assert study_table(found) in page, f"python -m {study_charts.__name__} {report}"


def test_the_table_of_accuracy_equals_the_report_it_comes_from():
    found = json.loads((ROOT / "reports" / "drift_accuracy_cifar10.json").read_text())
    assert accuracy_table(found) in (ROOT / "docs" / "drift" / "study.md").read_text()


@pytest.mark.parametrize("data", ["digits", "cifar10", "imagenette"])
def test_the_tables_of_exports_equal_the_reports_they_come_from(data):
    found = json.loads((ROOT / "reports" / f"export_{data}.json").read_text())["table"]
    assert as_markdown([Row(**row) for row in found]) in (ROOT / "docs" / "measured.md").read_text()


def test_the_drift_table_of_what_was_measured_equals_the_reports_it_comes_from():
    reports = [ROOT / "reports" / f"drift_study_{name}.json" for name in ("cifar10", "imagenette_fit")]
    found = [json.loads(report.read_text()) for report in reports]
    assert overview_table(found) in (ROOT / "docs" / "measured.md").read_text()


@pytest.mark.slow
def test_the_site_builds_strictly_with_every_module_and_fetches_nothing(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = list((tmp_path / "site").rglob("*.html"))
    pages = "".join(page.read_text() for page in written)
    pictures = [
        page.parent / name for page in written for name in re.findall(r'<img[^>]+src="([^"]+)"', page.read_text())
    ]
    assert [picture for picture in pictures if not picture.resolve().is_relative_to(tmp_path / "site")] == []
    assert [picture for picture in pictures if not picture.exists()] == []
    modules = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "drift_detector_pipeline").rglob("*.py")]
    names = [".".join(module.parts) for module in modules if module.name != "__init__"]
    assert [name for name in names if f'id="{name}"' not in pages] == []
    assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:[^"]+"', pages) == []
