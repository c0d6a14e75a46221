"""A few training steps -> where their time goes, and what to try.

operators     the operator calls of a trace: time and arithmetic
mean_step     shares of a step, from one trace
wording       a page of text, a table of operators, one sentence: what to try
__main__      make profile
"""
