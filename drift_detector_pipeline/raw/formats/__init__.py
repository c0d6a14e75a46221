"""One reader a layout, each `read(source) -> Listing`; a further layout is a further module.

imagefolder   one folder a class
"""
