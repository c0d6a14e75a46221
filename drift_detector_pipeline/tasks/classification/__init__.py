"""One label an image: a target is an index into the classes, an output a row of logits.

metrics   what logits are worth
charts    pictures of what a classifier is worth
report    the parts of an evaluation's page that only classification has
task      all of it as a `Task`
"""
