"""A video file -> boxes on every frame, each thing under a number that stays its own.

track      boxes of one frame after another -> which of them are the same thing
lines      what is known of each frame, as JSON lines that a kill cannot spoil
numbering  lines of frames -> each thing in them under its number
draw       boxes and labels on a frame
boxed      a video and a function that finds boxes -> the lines, and the video with all of it drawn in
detector   a weight file -> such a function
predicted  a weight file and a video -> a folder of predictions
strip      what is said second by second as one picture
timeline   the same of a model of clips: what happens when
__main__   make predict VIDEO=...

The first five need no PyTorch.
"""
