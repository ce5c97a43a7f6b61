"""Sums of cuBLAS in one order need a setting that is read when CUDA starts."""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
