"""One reader a layout; catalog.py says which. Boxes are read as their files say: clipped and turned where pixels are.

imagefolder  one folder a class
values       text, numbers and names of annotation files, or an error with their place
survey       which files there are, and which picture an annotation is about
boxed        pictures with boxes -> a listing
voc          Pascal VOC: an XML file a picture
catalog      the layout of a source, named or found -> its listing
"""
