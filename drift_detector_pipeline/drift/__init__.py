"""A model and its training world -> a verdict on any images, with reasons and pictures.

scores/          one forward pass -> about 40 numbers an image
permutation      a window's scores against the reference's: one exact p-value
risk             which predictions are wrong?
accuracy         how accurate, without labels?
twins            labelled images once more, corrupted: the drift that everything is learned from
reference        everything a detector knows, as a file
preparation      a person's images -> crops
verdict          how loud, what moved, how accurate, which images show it
detector         all of it in Python, for anybody's model
build_reference  make drift_reference
stream/          images one after another -> an alarm with a guarantee
report           a verdict as JSON and as one page
__main__         make drift
watch            make watch
"""
