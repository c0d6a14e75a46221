"""Images of a change -> a person -> labels, and how accurate the model really was.

basket_file     what a basket of images holds
choosing        which of them a person should label
pictures        images by their hash, in any folder
label_formats   the same for other tools, and what they wrote back
stretch         which rows a basket is about
basket          make basket
checked_labels  labels that fit, or every reason why not
truth           how accurate the model was, by labels
labels          make labels
desk            a basket while somebody labels it
label           make label: a page, one image, one key, the next one
"""
