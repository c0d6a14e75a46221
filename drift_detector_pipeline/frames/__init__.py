"""A video -> its frames, upright, and frames -> a video; many videos -> the frames that are stored of them. No PyTorch.

read          a file from anywhere -> its frames, and how far it can be read
write         frames -> a file that plays in a browser
array_file    an .npz from anywhere -> the frames in it
pieces        videos that are longer than a clip, cut into clips
moments       the clips of one file -> the frames of each that are stored
decode_clips  all clips of a listing, on all cores
"""
