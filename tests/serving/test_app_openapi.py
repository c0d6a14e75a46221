"""The documentation says what happens: odd questions, made from it, meet only answers that it names."""

import json
import re
import warnings

import httpx
import pytest
from running import running

from drift_detector_pipeline.serving.problems import KINDS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies, at import
    import hypothesis
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUICK = hypothesis.settings(
    max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)


@pytest.fixture(scope="module")
def service(models, tmp_path_factory):
    environment = {"SERVING_ADMIN_KEY": "secret"}
    with running(models / "first", tmp_path_factory.mktemp("log"), environment) as started:
        yield started


def documented(service):
    return httpx.get(f"{service.address}/openapi.json").json()


def ask_oddly(service, settings):
    schema = schemathesis.openapi.from_url(f"{service.address}/openapi.json")
    asked = 0
    for operation in (found.ok() for found in schema.get_all_operations()):

        @settings
        @hypothesis.given(case=operation.as_strategy())
        def ask(case):
            nonlocal asked
            asked += 1
            case.call_and_validate(checks=CHECKS, headers={"X-API-Key": "secret"}, timeout=30)

        ask()
    return asked


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_odd_questions_meet_documented_answers(service) -> None:
    assert ask_oddly(service, QUICK) > 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_hundreds_of_odd_questions_do_too(service) -> None:
    assert ask_oddly(service, hypothesis.settings(QUICK, max_examples=60)) > 500


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
