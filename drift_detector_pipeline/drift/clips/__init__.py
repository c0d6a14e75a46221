"""Drift of clips: frames of a video are alike, so a source counts once, however many frames it has.

groups    rows of clips -> rows of what they were taken from; a verdict needs some of these
signals   frames -> what a network says of a clip, and the means over them
twins     labelled clips once more, corrupted
words     a verdict in sentences: it is about sources
detector  a reference of sources, judged as images are
build     a finished run -> its detector
window    files -> a window of sources, and the verdict on it
"""
