"""Answers, what they were given for, and what they say about the world: everything that runs beside a model.

database         where rows live: SQLite or PostgreSQL, its tables and how an older one is brought up to date
rows             what is kept of a request, a model, a verdict
buffer           rows on their way out, never in anybody's way
request_log      what was asked and answered, as rows
stored_verdicts  verdicts into the database and back, nothing lost
verdicts         rows of disjoint windows -> verdicts that anybody can repeat to the bit
crops            the newest images in memory, for a second look
log_export       make log_export: the rows as Parquet
"""
