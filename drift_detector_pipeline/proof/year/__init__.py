"""A year of a model's life in an hour: a stream of real images through the real service, monitor and autopilot.

world       images nobody trained on, day by day, as the world changes
given       a champion that is trained already, and a year of what it has never learned from
life        a service that is asked, watched and mended, a day at a time
lived       what was answered, read back from the log
reckoning   what the year came to, beside no loop at all
learned     a network a few epochs on, by the shortest way
online_mmd  alibi-detect's online test, written anew
others      the same days by the calendar, by an online test, and by somebody who knows
marks       what a year was asked to show, as numbers
spread      years of several seeds together
page        the whole story on one page
__main__    make simulate_year
"""
