"""The devices that tests of the PyTorch engine run on: the CPU, and a GPU where there is one."""

import pytest
import torch

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

on_every_device = pytest.mark.parametrize(
    "device", [pytest.param(name, marks=pytest.mark.cuda if name == "cuda" else ()) for name in DEVICES]
)
