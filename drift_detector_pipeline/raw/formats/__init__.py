"""One reader a layout; catalog.py says which. Boxes are read as their files say: clipped and turned where pixels are.

imagefolder   one folder a class
values        text, numbers and names of annotation files, or an error with their place
survey        which files there are, and which picture an annotation is about
boxed         pictures with boxes -> a listing
image_sets    lists that say which pictures are in which part
voc           Pascal VOC: an XML file a picture
mask_extent   the box around an outline or a mask of COCO
coco          COCO: a JSON a part of the data set
kitti         KITTI: a text a picture, with regions that nobody cares about
yolo_config   data.yaml: which classes, and which pictures are in which part
yolo          YOLO: a text a picture, in shares of its width and height
clip_table    clips.csv: which files are clips, and what they were taken from
clip_sources  what clips were taken from, going by their names
clips         videos, folders of frames and arrays -> a listing
catalog       the layout of a source, named or found -> its listing
"""
