"""A course's report, checked, and as one page: `make course_report FILE=reports/README.md`.

In: a Markdown file written from an exam template, such as that of DTU's course 02476 (Machine Learning Operations): a
heading `### Question N`, a quoted question that may recommend a length and ask for images, `Answer:`, what was written.
Out: report.html beside it, with its figures inside, and a line for each question that is unfilled, too short, too long
or without its images. Words are counted as that course's own script counts them: whatever blanks separate.
"""

import base64
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import markdown
from PIL import Image

from drift_detector_pipeline.console import tell
from drift_detector_pipeline.errors import ConfigError, DataError, exit_status
from drift_detector_pipeline.files import from_home
from drift_detector_pipeline.pages import write_page
from drift_detector_pipeline.whole_files import read_plain

PAGE = "report.html"
_QUESTION = re.compile(r"^#{2,4} *(?:Question *)?(\d{1,3})\.? *$", re.MULTILINE)
_ANSWER = re.compile(r"^> *\**Answer:\** *$", re.MULTILINE)
_UNFILLED = re.compile(r"-{2,3} *question *\d* *fill here *-{2,3}", re.IGNORECASE)
_WORDS = re.compile(r"length: *\**(\d{1,5}) *[-\u2013] *(\d{1,5}) *words", re.IGNORECASE)
_IMAGES = re.compile(
    r"\b(\d{1,3})(?: *(?:-|\u2013|to) *(\d{1,3}))? *(?:images?|screenshots?|figures?)\b", re.IGNORECASE
)
_A_FIGURE = re.compile(r"\b(?:include|insert|upload) an? (?:figure|image|screenshot)", re.IGNORECASE)
_SHOWN = re.compile(r"!\[[^\]]*\]\(\s*<?([^)>\s]+)>?[^)]*\)")
_ENDINGS = (".png", ".jpg", ".jpeg")


class Question(NamedTuple):
    """A question of the template, what it asks for, and what was answered."""

    number: int
    words: tuple[int, int] | None  # fewest and most; None: it does not say
    images: tuple[int, int] | None
    answer: str | None  # None: the line `Answer:` is gone

    @property
    def shown(self) -> list[str]:
        """Addresses of the images in the answer."""
        return _SHOWN.findall(self.answer or "")


@exit_status
def main() -> int:
    """Check the report named on the command line and write its page; status 1 if something is to be done."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        raise ConfigError("course_report needs the report: make course_report FILE=reports/README.md")
    path = Path(from_home(sys.argv[1]))
    if path.name == PAGE:
        raise ConfigError(f"{path}: the page is written there; name the report that it is made from, as README.md")
    text = _read(path)
    found = list(problems(text, path.parent))
    page = path.with_name(PAGE)
    body = as_html(text, path.parent)
    ticked, boxes = (len(re.findall(rf"^\s*[*-] \[{mark}\]", text, re.MULTILINE)) for mark in ("[xX]", "[ xX]"))
    write_page(page, "course_report.html", title=path.parent.resolve().parent.name, problems=found, body=body,
               ticked=ticked, boxes=boxes)  # fmt: skip
    for line in (*found, f"{len(found)} to do, {ticked} of {boxes} boxes of the checklist ticked; {page}"):
        tell(line)
    return 1 if found else 0


def questions(text: str) -> list[Question]:
    """The questions of a report, in their order. Raises DataError if there is none."""
    heads = list(_QUESTION.finditer(text))
    if not heads:
        raise DataError("no line such as `### Question 1` in the report; start from the course's template")
    return [_question(int(head[1]), _part(text, head.end())) for head in heads]


def problems(text: str, folder: Path) -> Iterator[str]:
    """What is to be done, a line each; `folder` is the report's own, from which it names its figures."""
    asked = questions(text)
    numbers = [one.number for one in asked]
    if missing := sorted(set(range(1, max(numbers) + 1)) - set(numbers)):
        yield f"question {', '.join(map(str, missing))}: gone; the template's headings must stay as they are"
    for one in asked:
        if one.answer is None:
            yield f"question {one.number}: no line `Answer:`; put it back as the template has it"
        elif not one.answer or _UNFILLED.search(one.answer):
            if one.words is None or one.words[0] > 0 or _UNFILLED.search(one.answer):
                yield f"question {one.number}: not answered"
        else:
            yield from (f"question {one.number}: {said}" for said in _faults(one, one.answer, folder))


def as_html(text: str, folder: Path) -> str:
    """The report as HTML: raw HTML in it is shown as it stands, figures of the folder are inside.

    Raises DataError if it is nested too deeply.
    """
    reader = markdown.Markdown(extensions=["fenced_code", "tables", "sane_lists"])
    reader.preprocessors.deregister("html_block")
    reader.inlinePatterns.deregister("html")

    def inside(found: re.Match[str]) -> str:
        path = folder / found[1]
        if "://" in found[1] or not path.is_file():
            return found[0]
        kind = "png" if path.suffix.lower() == ".png" else "jpeg"
        try:
            return f'src="data:image/{kind};base64,{base64.b64encode(read_plain(path)).decode()}"'
        except ValueError:  # too large, which is among the problems
            return found[0]

    try:
        return re.sub(r'src="([^"]*)"', inside, reader.convert(text))
    except RecursionError as error:
        raise DataError("lists or quotations in it are nested too deeply to be shown; take some levels away") from error


def _read(path: Path) -> str:
    try:
        return read_plain(path).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); name the report: make course_report FILE=PATH") from error


def _part(text: str, start: int) -> str:
    """What follows a question's heading, up to the next heading that no fence of code holds."""
    lines, fenced = list[str](), False
    for line in text[start:].splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and re.match(r"#{1,6} ", line):
            break
        lines.append(line)
    return "\n".join(lines)


def _question(number: int, part: str) -> Question:
    cut = _ANSWER.search(part)
    asked, answer = (part[: cut.start()], part[cut.end() :].strip()) if cut else (part, None)
    asked = re.split(r"^> *\**Example:?", asked, maxsplit=1, flags=re.MULTILINE)[0]
    asked = re.sub(r"[*>\n]+", " ", asked)  # lines of a quotation, bold
    asked = re.sub(r" +", " ", asked)
    return Question(number, _range(_WORDS.search(asked)), _images_of(asked), answer)


def _images_of(asked: str) -> tuple[int, int] | None:
    if found := _IMAGES.search(asked):
        return int(found[1]), int(found[2] or found[1])
    return (1, 1) if _A_FIGURE.search(asked) else None


def _range(found: "re.Match[str] | None") -> tuple[int, int] | None:
    return (int(found[1]), int(found[2])) if found else None


def _faults(one: Question, answer: str, folder: Path) -> Iterator[str]:
    words = len(answer.split())
    if one.words and not one.words[0] <= words <= one.words[1]:
        yield f"{words} words; it asks for {one.words[0]} to {one.words[1]}"
    shown = one.shown
    if one.images and not one.images[0] <= len(shown) <= one.images[1]:
        wanted = " to ".join(dict.fromkeys(map(str, one.images)))
        yield f"{len(shown)} images; it asks for {wanted}, each as ![NAME](figures/FILE.png)"
    for name in shown:
        if fault := _figure_fault(name, folder):
            yield f"{name}: {fault}"


def _figure_fault(name: str, folder: Path) -> str | None:
    """What is wrong with a figure; None: nothing."""
    if not name.lower().endswith(_ENDINGS):
        return "not a .png, .jpg or .jpeg"
    if not name.startswith("figures/"):
        return "not in the folder figures/ beside the report"
    if not (folder / name).is_file():
        return "no such file"
    try:
        with Image.open(io.BytesIO(read_plain(folder / name))) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError):
        return "not a picture that can be read"
    return None


if __name__ == "__main__":
    sys.exit(main())
