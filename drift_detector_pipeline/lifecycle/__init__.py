"""A change -> what is done about it, tested before it is adopted, and undone if it must be.

Steps talk through files and rows: the request log, versions in `models/`, labels in `data/labels`. A person runs each
by hand; automation calls the same steps.

labels_of_images  what is for models that say labels of images alone
watching/         the log, image by image -> alarms, their causes, and those who are told
labelling/        images of a change -> a person -> labels
gating/           may a candidate replace the champion?
mending/          a candidate: healed of what has happened, or trained for it
decisions         what was done about changes, as rows
policy            what should be done about an alarm?
steps             a basket, a version that is tested and adopted
autopilot         make autopilot
"""
