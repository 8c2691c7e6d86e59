"""The library of finished adapters: storage and listing, model cards, export as zip, merging into a full model.

    adapter_store.py       adds, renames, annotates, deletes and restores adapters; repairs the library after a crash
    search.py      finds, filters, sorts and pages adapters with one SQLite query
    lineage.py     what an adapter was made from, and what was made from it
    comparison.py  adapters side by side: recipes, metrics, curves; weight_norms.py reads their weights for it
    importing.py   the `import` job: an adapter from a zip, a folder or the Hub; import_checks.py judges its files
    continuing.py  whether a recipe can continue from an adapter, and the recipe that does
    card.py        generates the model card (README.md)
    export.py      packs an adapter as a zip; the `export` job, which merges an adapter into its base model

Only the jobs need torch; the window calls everything else directly.
"""
