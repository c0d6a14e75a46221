"""A report of a course: what is missing, too short, too long or misnamed is said; the page holds its figures."""

import pytest
from conftest import write_image

from drift_detector_pipeline.course_report import as_html, problems, questions
from drift_detector_pipeline.errors import DataError

# The form of the template of DTU's course 02476, in other words.
REPORT = """# Exam

* [x] a repository
* [ ] a bucket

## Group

### Question 1
> **What is your group's number?**
>
> Answer:

--- question 1 fill here ---

### Question 2

> **Which packages did you add?**
>
> Recommended answer length: 0-5 words.
>
> Example:
> *We used 3 images and ... recommended answer length: 900-999 words*
>
> Answer:

one two three

## Tracking

> Something between the questions.

### Question 3

> **Upload 1 to 2 screenshots of your runs,**
> **and say what you see.**
>
> Recommended answer length: 3-6 words + 1 to 2 screenshots.
>
> Answer:

![runs](figures/runs.png) three words
```
### no heading
```

### Question 4

> **Include a figure of the whole. You can take inspiration from [this figure](figures/overview.png).**
>
> Answer:

![whole](figures/whole.png)
"""


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "figures" / "runs.png", 1)
    write_image(tmp_path / "figures" / "whole.png", 2)
    return tmp_path


def test_what_questions_ask_for_is_read_and_examples_and_inspiration_are_not():
    read = [(one.number, one.words, one.images) for one in questions(REPORT)]
    assert read == [(1, None, None), (2, (0, 5), None), (3, (3, 6), (1, 2)), (4, None, (1, 1))]


def test_a_question_left_open_is_the_one_thing_to_do(folder):
    assert list(problems(REPORT, folder)) == ["question 1: not answered", "question 3: 8 words; it asks for 3 to 6"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("one two three", "one two three four five six", "question 2: 6 words; it asks for 0 to 5"),
        ("one two three", "", None),  # it may have none
        ("![runs](figures/runs.png)", "seen", "question 3: 0 images; it asks for 1 to 2"),
        ("figures/whole.png)\n", "figures/gone.png)\n", "question 4: figures/gone.png: no such file"),
        ("figures/whole.png)\n", "figures/whole.gif)\n", "question 4: figures/whole.gif: not a .png"),
        ("figures/whole.png)\n", "whole.png)\n", "question 4: whole.png: not in the folder figures/"),
        ("### Question 2", "### Our packages", "question 2: gone"),
        ("> Answer:\n\none", "> Reply:\n\none", "question 2: no line `Answer:`"),
    ],
)
def test_each_fault_is_a_line_with_its_question(before, after, said, folder):
    assert before in REPORT
    filled = REPORT.replace("--- question 1 fill here ---", "7").replace("words\n```\n### no heading\n```", "words")
    assert list(problems(filled, folder)) == []
    found = list(problems(filled.replace(before, after), folder))
    assert [line for line in found if not said or line.startswith(said)] == found
    assert len(found) == (said is not None)


def test_a_figure_that_is_no_picture_is_named(folder):
    (folder / "figures" / "whole.png").write_text("not a picture")
    assert "question 4: figures/whole.png: not a picture that can be read" in list(problems(REPORT, folder))


def test_the_page_holds_its_figures_and_runs_nothing(folder, call_main):
    report = folder / "README.md"
    report.write_bytes((REPORT + "\n<script>alert(1)</script>\n").replace("\n", "\r\n").encode())
    done = call_main("course_report", str(report))
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == "question 1: not answered"
    assert "1 of 2 boxes" in done.stdout
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<script" not in page and "&lt;script" in page


def test_a_file_that_is_no_such_report_is_refused(tmp_path, call_main):
    with pytest.raises(DataError, match="Question 1"):
        questions("# A page")
    for path in (tmp_path / "gone.md", tmp_path, "/dev/zero"):
        assert "FILE=" in call_main("course_report", str(path)).stderr
    (page := tmp_path / "report.html").write_text("### Question 1\n> Answer:\nmine\n")
    assert "the page is written there" in call_main("course_report", str(page)).stderr and "mine" in page.read_text()
    assert as_html("a <b>", tmp_path) == "<p>a &lt;b&gt;</p>"
    with pytest.raises(DataError, match="nested too deeply"):
        as_html("- " * 1000 + "x", tmp_path)


@pytest.mark.parametrize("number", ["99999999", "9" * 5000])
def test_a_question_with_a_number_that_no_template_has_is_none(number):
    with pytest.raises(DataError, match="no line such as `### Question 1`"):
        questions(f"### Question {number}\n> Answer:\nx")
    [one] = questions(f"### Question 1\n> length: {number}-{number} words, {number} images\n> Answer:\nx")
    assert (one.words, one.images) == (None, None)
