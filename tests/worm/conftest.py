"""One store for all tests here, a bucket for each."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worm import seaweed
from worm.seaweed import Seaweed


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "seaweed"
    with seaweed.shared_store(Path(folder)) as store:
        yield store


@pytest.fixture(scope="module")
def credentials(store_server: Seaweed) -> Iterator[Seaweed]:
    """The environment of someone who may write to the store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", seaweed.ACCESS)
        patch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.SECRET)
        patch.setenv("AWS_ENDPOINT_URL_S3", store_server.endpoint)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        yield store_server


@pytest.fixture(scope="module")
def make_bucket(credentials: Seaweed) -> Callable[..., str]:
    """Makes a bucket, with Object Lock unless told otherwise; returns its name."""

    def make(*, lock: bool = True) -> str:
        name = f"copy-{os.urandom(6).hex()}"
        seaweed.make_bucket(credentials, name, lock=lock)
        return name

    return make
