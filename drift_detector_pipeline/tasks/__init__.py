"""What differs between kinds of truth once an image is stored: one folder a task, one line each in the catalog.

headline         the one number that decides: best epoch, sweeps, promotion
task             what a task supplies
classification/  one label an image
boxes/           any number of boxes an image, each with a label
clips/           one label a clip of a video
catalog          a name -> a task

How the truth lies in a source is a format's business (raw/formats/); a `Listing` names the task it is for. Stored truth
is a label or boxes (processed/packing.py).
"""
