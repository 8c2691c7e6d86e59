"""Base models: catalogue, resolving a name to a folder, reading a model's shape, tokenizer and chat template, loading.

No module here imports torch at module level, because the window uses them too.
"""
