"""Every example in a docstring of the trainer runs and prints what it says."""

from __future__ import annotations

import pytest

from tests import examples


@pytest.mark.parametrize("module", examples.modules("frugal_gpu"))
def test_the_examples_of_a_docstring_run(module):
    examples.run(module)
