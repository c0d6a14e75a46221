"""Clean images as they may come one day: fifteen kinds at five severities, faults, and changes that do no harm.

strength      how strong each severity of a kind is
noise         of sensors and transmission
blur          of lens, glass, camera and approach
frost         ice crystals on a window
weather       snow, frost, fog and bright light
digital       contrast, elastic distortion, pixelation, JPEG
benign        changes that a monitored model should stay calm about
corrupt       all of them by name
tones         faults of colour, range and light
framing       faults of framing, orientation, resampling and transmission
faults        faults of pipelines by name, and corruptions and faults alike
"""
