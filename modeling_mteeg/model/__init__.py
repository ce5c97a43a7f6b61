"""What a base needs to run anywhere: configuration, layers, adapters, channels, extractor.

This room is flat and imports nothing else of the package: ``save_pretrained`` and ``push_to_hub``
lay copies of these files beside a base's weights, so that ``trust_remote_code=True`` runs it where
the package is not installed. transformers copies files of one folder only.
"""
