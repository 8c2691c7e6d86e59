"""Data pipeline: from a user's files to normalised records for training and validation.

    resolve.py     resolves a source string: an example, a local path or a Hub id
    read.py        opens a source as `Source` (source.py): format, encoding, columns, rows with line numbers
    shape.py       proposes a `Mapping` of the columns, with evidence
    mapping.py     converts one row under a mapping to one normalised record, or raises with the reason why not
    data_spec.py   the data section of a recipe
    reading.py     reads the rows of several files as records of one store, with problems and counts
    dataset.py     makes a `Dataset` of what was read: training and validation records, problems, counts
    report.py      counts, lengths and findings of a dataset, for the Data tab

Rows are streamed: no step holds a whole file in memory, except a JSON file that is a single object. The package
imports neither models, tokenizers, torch nor the page. Each row is either used or reported with its line number.
"""
