"""Networks that find things: one backbone, one neck, two heads.

found          what a network says of an image, from its raw output; no PyTorch
backbones      any timm model as a pyramid of features
neck           features of several resolutions told of one another
targets        true boxes as tensors, and where nothing is to be learned
fixed_regions  faster_rcnn in shapes that depend on no image, for its graph
faster_rcnn    regions first, then what is in them
simota         which places of YOLOX answer for which box
yolox          boxes at once, from every place
catalog        both by name
"""
