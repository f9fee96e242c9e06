"""Padding to a multiple and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import InputError
from course_lib.vos.padding import Pads, pad_to_multiple, unpad


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 7, 16]))
def test_there_and_back(height, width, multiple):
    x = torch.rand(2, height, width)
    padded, pads = pad_to_multiple(x, multiple)
    assert padded.shape[1] % multiple == 0 and padded.shape[2] % multiple == 0
    assert padded.shape[1] - height < multiple and padded.shape[2] - width < multiple
    assert 0 <= pads.right - pads.left <= 1 and 0 <= pads.bottom - pads.top <= 1
    assert torch.equal(unpad(padded, pads), x)


def test_by_hand():
    padded, pads = pad_to_multiple(torch.ones(1, 3, 4), 4, value=-1.0)
    assert pads == Pads(left=0, right=0, top=0, bottom=1)
    assert padded[0, 3].tolist() == [-1] * 4
    assert pad_to_multiple(torch.ones(1, 1, 13), 16)[1] == Pads(left=1, right=2, top=7, bottom=8)


def test_what_fits_is_not_copied():
    x = torch.rand(3, 32, 16)
    assert pad_to_multiple(x, 16)[0] is x


def test_refuses_nonsense():
    with pytest.raises(InputError, match="multiple of at least 1"):
        pad_to_multiple(torch.rand(3, 4, 4), 0)
