"""May a candidate replace the champion? Labelled images decide, claim by claim.

origin           where an artefact comes from: run and data
gate_statistics  how much better or worse, at least
gate_images      the images a gate asks about
gate_claims      what a candidate has to show
gate_page        a gate as one page
gate             make gate
"""
