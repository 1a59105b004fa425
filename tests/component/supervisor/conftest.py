from collections.abc import Iterator
from pathlib import Path

import pytest

from support.supervised import Supervised


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    run = Supervised(tmp_path)
    yield run
    run.stop_all()
