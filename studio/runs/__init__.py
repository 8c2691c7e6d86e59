"""Many runs beside each other: find them, compare recipes, results and curves, write them as CSV, delete them.

    search      which runs fit words and filters
    curves      every logged number of a run by step, tokens and time, thinned out to what a plot can show
    comparison  what differs in the recipes of runs, their results, their ranking, means over seeds
    export      the same as CSV
    removal     delete a run with its files

Nothing here imports torch or depends on how runs are shown.
"""
