"""Base models: the catalogue, resolving a name to a folder, the shape of a model, its tokenizer and chat template.

Nothing here imports torch at module level: the window uses these modules too.
"""
