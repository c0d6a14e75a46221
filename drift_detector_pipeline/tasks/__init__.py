"""What differs between labels, boxes and clips, and nothing else: one folder a task, one line each in the catalog.

headline         the one number that decides: best epoch, sweeps, promotion
task             what a task supplies
classification/  one label an image
catalog          a name -> a task
"""
