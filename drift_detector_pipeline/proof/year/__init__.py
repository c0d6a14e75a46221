"""A year of a model's life in an hour: a stream of real images through the real service, monitor and autopilot.

world      images nobody trained on, day by day, as the world changes
life       a service that is asked, watched and mended, a day at a time
reckoning  what the year came to, beside no loop at all
page       the whole story on one page
__main__   make simulate_year
"""
