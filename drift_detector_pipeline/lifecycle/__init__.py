"""A change -> what is done about it, tested before it is adopted, and undone if it must be.

Steps talk through files and rows: the request log, versions in `models/`, labels in `data/labels`. A person runs each
by hand; automation calls the same steps.

alarms           alarms of streams as rows: which stand, who looked at them, whose news is held back
"""
