"""Lightning: an optimizer from ``configure_optimizers``, checkpoints, resuming, accumulation and clipping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from frugal_gpu import Frugal

lightning = pytest.importorskip("lightning.pytorch")

pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BATCHES = 6


class Regression(lightning.LightningModule):
    """Two layers, trained by Frugal under OneCycle."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 8))
        self.options = options

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return (self.layers(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = Frugal(self, lr=1e-2, density=0.5, update_gap=4, **self.options)
        scheduler = OneCycleLR(optimizer, max_lr=1e-2, total_steps=40)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def batches() -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(48, 6, generator=generator), torch.randn(48, 8, generator=generator))
    return DataLoader(data, batch_size=48 // BATCHES)


def fit(model: Regression, folder: Path, epochs: int, resumed: Path | None = None, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(accelerator="cpu", devices=1, max_epochs=epochs, default_root_dir=folder, **quiet, **options)
    trainer.fit(model, batches(), ckpt_path=None if resumed is None else str(resumed))
    return trainer


def by_hand(model: Regression, epochs: int, accumulated: int = 1, clipped: float | None = None) -> Regression:
    made = model.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for number, batch in enumerate([*batches()] * epochs, 1):
        (model.training_step(batch, 0) / accumulated).backward()
        if number % accumulated == 0:
            if clipped is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clipped)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    return model


@pytest.mark.parametrize("subspace", ["blocks", "columns", "random", "svd"])
def test_a_fit_is_the_plain_loop_and_resumes_bit_for_bit(subspace, tmp_path):
    whole = Regression(subspace=subspace)
    fit(whole, tmp_path, 3)
    assert all(map(torch.equal, whole.parameters(), by_hand(Regression(subspace=subspace), 3).parameters()))
    fit(Regression(subspace=subspace), tmp_path, 1).save_checkpoint(tmp_path / "one.ckpt")
    again = Regression(subspace=subspace)
    trainer = fit(again, tmp_path, 3, tmp_path / "one.ckpt")
    assert all(map(torch.equal, whole.parameters(), again.parameters()))
    assert trainer.optimizers[0].param_groups[0]["step"] == 3 * BATCHES


def test_accumulation_and_clipping(tmp_path):
    model = Regression(subspace="columns")
    fit(model, tmp_path, 2, accumulate_grad_batches=2, gradient_clip_val=0.1)
    expected = by_hand(Regression(subspace="columns"), 2, accumulated=2, clipped=0.1)
    torch.testing.assert_close(list(model.parameters()), list(expected.parameters()))  # the norm sums in another order


def test_updates_in_backward(tmp_path):
    """The backward pass is in the closure of Lightning's step, and ends there; accumulation is refused in our words."""
    ends = []
    for way in (False, True):
        model = Regression(update_in_backward=way)
        fit(model, tmp_path, 2)
        ends.append(list(model.parameters()))
    assert all(map(torch.equal, *ends))
    with pytest.raises(RuntimeError, match=r"Frugal: update_in_backward = True: .* has a second gradient"):
        fit(Regression(update_in_backward=True), tmp_path, 1, accumulate_grad_batches=2)
