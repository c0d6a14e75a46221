"""One reader a layout, each `read(source) -> Listing`. So far there is one, which dataset.py and freshness.py call.

imagefolder   one folder a class
"""
