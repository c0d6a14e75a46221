"""One label a clip: a target says which, how many frames weigh and from which source; an output is a row of logits.

frames    which frames of a clip are looked at, and what theirs come to together
view      a stored clip -> what a model is shown in training and after
sources   what accuracy is worth where clips of a source are alike
curve     two classes at every threshold
metrics   what logits of clips are worth
charts    strips of frames; curves and sources as pictures
report    the parts of an evaluation's page that only clips have
task      all of it as a `Task`
"""
