"""The documentation says what happens: odd questions, made from it, meet only answers that it names."""

import json
import re

import httpx
import pytest
from running import running

from drift_detector_pipeline.proof.odd_requests import ask_from_documentation
from drift_detector_pipeline.serving.problems import KINDS


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    environment = {"SERVING_ADMIN_KEY": "secret"}
    with running(models / "first", tmp_path_factory.mktemp("log"), environment) as started:
        yield started


def documented(service):
    return httpx.get(f"{service.address}/openapi.json").json()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_hundreds_of_odd_questions_meet_documented_answers(service) -> None:
    assert ask_from_documentation(service.address, 60, "secret").total() > 500


def test_each_endpoint_says_what_it_is_for_and_which_problems_may_come(service) -> None:
    for path, methods in documented(service)["paths"].items():
        for method, said in methods.items():
            assert said.get("description"), (method, path)
            of_problems = [one for status, one in said["responses"].items() if int(status) >= 400]
            assert all("application/problem+json" in one["content"] for one in of_problems), (method, path)
            if method == "post":
                assert {"400", "401", "413", "503"} <= said["responses"].keys(), path


def test_nothing_of_the_documentation_is_fetched_from_elsewhere(service) -> None:
    pages = httpx.get(f"{service.address}/docs").text + httpx.get(f"{service.address}/page/docs.js").text
    assert re.findall(r"https?://", pages) == []
    assert "HTTPValidationError" not in json.dumps(documented(service)["paths"])


def test_statuses_of_problems_are_those_that_http_knows_for_them() -> None:
    assert {kind.status for kind in KINDS.values()} <= {400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 500, 503}
