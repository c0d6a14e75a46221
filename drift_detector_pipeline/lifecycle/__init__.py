"""A change -> what is done about it, tested before it is adopted, and undone if it must be.

Steps talk through files and rows: the request log, versions in `models/`, labels in `data/labels`. A person runs each
by hand; automation calls the same steps.

alarms           alarms of streams as rows: which stand, who looked at them, whose news is held back
streams          rows of one stream -> what is known of it, and its alarms
detectors        a model of the log -> its streams, if its artefact is here
watched          how far streams were read: rows out, state and alarms back in one transaction
reasons          the rows since a change -> its cause and what it costs
notify           who is to be told is told once: webhook, command
gauges           what Prometheus may ask the monitor
watcher          follows the log: reads, names causes, tells
monitor          make monitor
alarm_desk       make alarms, make acknowledge, make silence
basket_file      what a basket of images holds
choosing         which of them a person should label
pictures         images by their hash, in any folder
label_formats    the same for other tools, and what they wrote back
stretch          which rows a basket is about
basket           make basket
checked_labels   labels that fit, or every reason why not
truth            how accurate the model was, by labels
labels           make labels
desk             a basket while somebody labels it
label            make label: a page, one image, one key, the next one
origin           where an artefact comes from: run and data
gate_statistics  how much better or worse, at least
gate_images      the images a gate asks about
gate_claims      what a candidate has to show
gate_page        a gate as one page
gate             make gate
frozen           a network with statistics of recent images
heal             make heal
joined           labelled images join those a run was trained on
retrain          make retrain
decisions        what was done about changes, as rows
policy           what should be done about an alarm?
steps            a basket, a version that is tested and adopted
autopilot        make autopilot
"""
