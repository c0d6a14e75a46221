"""What MkDocs reads beside docs/: the Markdown files of the root, and one API page per folder of the package.

Called by `make docs`, see mkdocs.yml. Nothing is written twice: README is the first page of the site.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "drift_detector_pipeline"
PAGES = {"README.md": "index.md", "PHASE1.md": "phase1.md", "PHASE2.md": "phase2.md", "PHASE3.md": "phase3.md",
         "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
         "SECURITY.md": "security.md"}  # fmt: skip

DRIFT = ("guide.md", "how.md", "python.md", "study.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's Markdown files and the API pages."""
    for name, target in PAGES.items():
        if (ROOT / name).exists():
            text = _with_site_links((ROOT / name).read_text(encoding="utf-8"))
            files.append(File.generated(config, target, content=text))
    for number, (title, modules) in enumerate(_map(), start=1):
        body = "\n\n".join(f"::: {PACKAGE}.{module}" for module in modules)
        files.append(File.generated(config, f"api/{number:02d}.md", content=f"# {number}. {title}\n\n{body}\n"))
    for picture in sorted((ROOT / "reports").glob("*.png")):
        files.append(File.generated(config, f"reports/{picture.name}", content=picture.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point at the pictures of reports/ where the site has them."""
    return markdown.replace("](../reports/", "](reports/").replace("](../../reports/", "](../reports/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages: documents first, then the API in the order of the map."""
    guides = [{_title(path): path.name} for path in sorted((ROOT / "docs").glob("*.md"))]
    drift = [{_title(ROOT / "docs" / "drift" / name): f"drift/{name}"} for name in DRIFT]
    papers: list[Any] = [{_title(ROOT / name): target} for name, target in PAGES.items() if (ROOT / name).exists()]
    api = [{f"{number}. {title}": f"api/{number:02d}.md"} for number, (title, _) in enumerate(_map(), start=1)]
    config["nav"] = [{"Start": "index.md"}, {"Drift": drift}, {"Guides": guides}, {"Project": papers[1:]}, {"API": api}]
    return config


def _map() -> list[tuple[str, list[str]]]:
    """The pages of the API: the root's modules, then a page a folder, each with its title and its modules in order."""
    root = importlib.import_module(PACKAGE)
    return [("The ground, and what holds the road together", _modules(root)), *_folders(root)]


def _folders(package: ModuleType) -> list[tuple[str, list[str]]]:
    pages = []
    for name in re.findall(r"^ *([a-z_]+)/ {2,}", str(package.__doc__), flags=re.MULTILINE):
        folder = importlib.import_module(f"{package.__name__}.{name}")
        title = str(folder.__doc__).splitlines()[0].rstrip(".").replace("->", "→").replace("<", "&lt;")
        pages += [(f"{folder.__name__.removeprefix(PACKAGE + '.')}: {title}", _modules(folder)), *_folders(folder)]
    return pages


def _modules(package: ModuleType) -> list[str]:
    names = re.findall(r"^ *([a-z_]+) {2,}", str(package.__doc__), flags=re.MULTILINE)
    return [f"{package.__name__}.{name}".removeprefix(f"{PACKAGE}.") for name in names]


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def _with_site_links(text: str) -> str:
    """Point links between the root's files at their pages; links to code become plain code."""

    def point(match: re.Match[str]) -> str:
        label, target = match.groups()
        path, _, anchor = target.partition("#")
        if target.startswith(("http", "#")):
            return match.group(0)
        if path in PAGES or path.startswith("docs/"):
            return f"[{label}]({PAGES.get(path, path.removeprefix('docs/'))}{'#' + anchor if anchor else ''})"
        return f"{label}"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", point, text).replace("](docs/pictures/", "](pictures/")
