"""What lies in data/processed, and which image plays which part.

splits         train, fit, val
class_balance  classes of unequal size: equally often, or with weights
stored_form    raw pixels, or a JPEG an image
packing        images.bin, index.csv and boxes.csv
integrity      are they still what was written?
manifest       manifest.json: what a processed folder says of itself
roles          of fit and val, what the drift part uses for what
freshness      does a processed folder still show its source?
digits         scikit-learn's digits as a source
placed_boxes   boxes as annotated -> boxes of the stored picture
entries        images, splits and truth -> what is packed, counted
told           what people are told of it
duplicates     images that appear twice
box_facts      what boxes a data set holds, in numbers
box_charts     ... and in pictures
box_report     ... and with the boxes drawn
clip_leaks     clips of two splits that show the same
clip_report    what clips a data set holds: sources, strips of frames
data_report    what a data set holds, in pictures
croissant      ... and as metadata that machines read
"""
