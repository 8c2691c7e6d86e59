"""The way of a person's file to records that a task can learn from.

    resolve.py     what a source string means: an example, a local path, a hub id
    read.py        source → `Source` (source.py): format, encoding, columns, rows with line numbers, by a reader for its format
    shape.py       columns → a proposed `Mapping`, with the evidence for it
    mapping.py     one row under a mapping → one normalised record, or a sentence why not
    dataset.py     all rows → `Dataset`: train and validation records, problems, counts
    report.py      a dataset → counts, lengths, findings, for the Data tab

Everything streams: no step holds a whole file, but for one JSON object that holds all columns. Nothing in here
knows of models, tokens, torch or the page. Every row of a file is either used or reported with its line number.
"""
