"""What a run achieved, in figures that people can read: scores of answers, their intervals, and the answers themselves.

    scores.py        how good one answer is; accuracy, macro F1 and confusion matrix of many
    intervals.py     how far a figure of so many rows can be trusted
    predictions.py   the answers to the validation rows, base beside fine-tuned, kept in the run's folder

No torch here: the window reads what the worker wrote.
"""
