"""A few training steps -> where their time goes, and what to try.

flops         arithmetic of one operator call
operators     the operator calls of a trace
summary       shares of a step, from one trace
wording       a page of text, a table of operators
bottleneck    one sentence: what to try
peak          how much arithmetic this machine can do
__main__      make profile
"""
