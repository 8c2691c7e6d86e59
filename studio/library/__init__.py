"""The library of finished adapters: storage and listing, model cards, export as zip, merging into a full model.

    shelf.py       adds, lists, renames, deletes and restores adapters; repairs the library after a crash
    card.py        generates the model card (README.md)
    export.py      packs an adapter as a zip; the `export` job, which merges an adapter into its base model

Only the `export` job needs torch; the window calls everything else directly.
"""
