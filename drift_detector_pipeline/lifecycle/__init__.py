"""A change -> what is done about it, tested before it is adopted, and undone if it must be.

Steps talk through files and rows: the request log, versions in `models/`, labels in `data/labels`. A person runs each
by hand; automation calls the same steps.

origin           where an artefact comes from: run and data
gate_statistics  how much better or worse, at least
gate_images      the images a gate asks about
gate_claims      what a candidate has to show
gate_page        a gate as one page
gate             make gate
"""
