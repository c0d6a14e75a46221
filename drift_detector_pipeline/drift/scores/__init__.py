"""One forward pass -> about 40 numbers an image, each with a name a person understands.

pixels          light, colour, detail, noise and blocks, without any model
signals         what a forward pass says, before anything is learned from it
adapted         a copy of a network, adapted to some images
module_forward  a forward pass through a module of torch
products        rows times a matrix, each row by itself
directions      in which corrupted images part from clean ones, and contents from one another
output_scores   how strange an image is to its nearest class, how sure the model is
strangeness     does an image show something of no known class?
phi             all of them as one row an image, the feature map of the tests
"""
