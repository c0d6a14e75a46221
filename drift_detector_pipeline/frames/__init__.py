"""A video file -> its frames, upright, and frames -> a file that plays in a browser. No PyTorch.

read   a file from anywhere -> its frames, and how far it can be read
write  frames -> a file that plays in a browser
"""
