"""Several values of some settings -> a run each, a table and pictures of the results.

search        the values to try: a grid, or Optuna
plan          what was asked for
data          the data of a sweep, processed before it
locks         who is at work in a folder
trials        one training in a process of its own, and how it ended
plots         accuracy against what was varied
results       table, page and pictures, written after every trial
together      the same by several machines
__main__      make sweep
"""
