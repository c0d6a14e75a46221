"""Boxes in an image: a target is the true ones (`arrays.Boxes`), an output what a network has found.

view      a stored image and its boxes -> what a model is shown in training and after
matching  which found box is which true one
metrics   what found boxes are worth
tide      why average precision is lost, by kind of error
charts    boxes drawn into images; curves, confusions, scores and errors as pictures
joining   what is found in parts of an image -> what is in it
answers   what is said of an image, as plain JSON
files     what a prediction writes of boxes
report    the parts of an evaluation's page that only boxes have
task      all of it as a `Task`
"""
