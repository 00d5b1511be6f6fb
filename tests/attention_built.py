"""A mark for tests of `attention.c`."""

from __future__ import annotations

import pytest

from predictor.engines import attention

required = pytest.mark.skipif(
    not attention.built(), reason="there was no C compiler where .venv was made"
)
