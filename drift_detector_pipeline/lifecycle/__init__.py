"""A change -> what is done about it, tested before it is adopted, and undone if it must be.

Steps talk through files and rows: the request log, versions in `models/`, labels in `data/labels`. A person runs each
by hand; automation calls the same steps.

alarms           alarms of streams as rows: which stand, who looked at them, whose news is held back
choosing         which images a person should label
pictures         images by their hash, in any folder
basket_file      what a basket of images holds
label_formats    the same for other tools, and what they wrote back
stretch          which rows a basket is about
basket           make basket
checked_labels   labels that fit, or every reason why not
truth            how accurate the model was, by labels
labels           make labels
"""
