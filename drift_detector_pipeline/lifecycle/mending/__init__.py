"""A champion that suffers -> a candidate that was made for what has happened.

healable  which changes are healed, and of how many images
frozen    a network with statistics of recent images
undoing   a network that turns images back first
recent    recent images that have changed
heal      make heal
joined    labelled images join those a run was trained on
retrain   make retrain
"""
