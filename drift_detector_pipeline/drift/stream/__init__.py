"""Images one after another -> an alarm with a guarantee.

channels     scores -> what is watched, one number each
ranks        where a number falls among the reference's
bets         evidence of a change, image by image
change       since which image?
harm         does it hurt?
dependence   are images as independent as the promise needs?
alarm        what an alarm says, in words
source       the state of one stream
detector     all of it in Python
inbox        a folder that fills, and how far it was read
"""
