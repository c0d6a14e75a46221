"""One reader a layout, each `list_images(source) -> Listing`.

imagefolder   one folder a class
"""
