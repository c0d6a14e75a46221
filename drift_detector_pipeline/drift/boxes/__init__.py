"""Drift of a network of boxes: the same test on other scores, and mAP50 in place of accuracy.

box_scores       what is found in an image -> numbers: how many, how sure, how large, where, of what
signals          what one forward pass says, before anything is learned from it
module_forward   a forward pass through a module of torch
twins            labelled images once more, corrupted
phi              all scores as one row an image
worth            how good are the boxes, without any true one?
reference        everything a detector knows
reference_file   the same as a file
verdict          how loud, what moved, how good, which images show it
verdict_words    the same in sentences
pictures         images with the boxes that were found in them
detector         all of it in Python
build            a finished run -> its detector
report           a verdict as JSON and as one page
"""
