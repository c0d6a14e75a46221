"""What tests of the loop share: a folder with a small artefact, and what its model answers."""

import pytest
from logged import Answering, make_models


@pytest.fixture(scope="session")
def models(made_once):
    """A folder of artefacts; read only."""
    return made_once("small_models", make_models)


@pytest.fixture(scope="session")
def answering(models):
    """What the artefact's model answers, as rows of a log."""
    return Answering(models)
