"""Tasks to fine-tune on: rows with labels or answers, and how well a model does on them."""

from __future__ import annotations

from frugal_gpu.data.tasks.task import Task, add_task

__all__ = ["Task", "add_task"]
