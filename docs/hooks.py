"""What MkDocs reads beside docs/: the Markdown files of the root, and one API page per line of the package's map.

Called by `make docs`, see mkdocs.yml. Nothing is written twice: README is the first page of the site.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "drift_detector_pipeline"
PAGES = {"README.md": "index.md", "PHASE1.md": "phase1.md", "PHASE2.md": "phase2.md",
         "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}  # fmt: skip


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
    return markdown.replace("](../reports/", "](reports/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages: documents first, then the API in the order of the map."""
    guides = [{_title(path): path.name} for path in sorted((ROOT / "docs").glob("*.md"))]
    papers: list[Any] = [{_title(ROOT / name): target} for name, target in PAGES.items() if (ROOT / name).exists()]
    api = [{f"{number}. {title}": f"api/{number:02d}.md"} for number, (title, _) in enumerate(_map(), start=1)]
    config["nav"] = [{"Start": "index.md"}, {"Guides": guides}, {"Papers": papers[1:]}, {"API": api}]
    return config


def _map() -> list[tuple[str, list[str]]]:
    """The lines of the package's map: a title and the modules it names."""
    text = str(importlib.import_module(PACKAGE).__doc__)
    text = text[text.index(" 1. ") : text.index("Stages talk")]
    lines = []
    for entry in re.split(r"^ *\d+\. ", text, flags=re.MULTILINE)[1:]:
        names = [name for name in re.findall(r"[a-z_0-9.]+", entry) if _is_module(name)]
        description = re.sub(r"\s+", " ", " ".join(re.split(r"\s{2,}", line)[-1] for line in _described(entry)))
        title = description.strip().replace("->", "→").replace("<", "&lt;")
        lines.append((title[:1].upper() + title[1:], list(dict.fromkeys(names))))
    return lines


def _described(entry: str) -> list[str]:
    """The right-hand column of an entry, line by line."""
    return [line for line in entry.splitlines() if re.search(r"\S\s{2,}\S", line) or line.startswith(" " * 20)]


def _is_module(name: str) -> bool:
    return (ROOT / PACKAGE / f"{name.replace('.', '/')}.py").exists()


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
