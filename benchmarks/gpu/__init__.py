"""What is measured on a GPU: ``python -m benchmarks.gpu.check`` and ``python -m benchmarks.gpu.study`` (docs/gpu.md)."""
