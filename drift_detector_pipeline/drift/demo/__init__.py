"""Four folders of images -> one picture of what a detector says of them.

scenes     ordinary images, a fault, another world, something unseen
picture    images, verdicts and accuracies side by side
__main__   make drift_demo
"""
