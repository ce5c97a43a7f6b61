"""Folders to the Hub, checked first, each as one commit. Needs ``huggingface_hub``.

What a model itself does on the Hub (loading, ``push_adapter``) lies beside it in ``model``.
"""
