"""The request log, followed image by image -> alarms, their causes, and those who are told.

alarms      alarms of streams as rows: which stand, who looked at them, whose news is held back
streams     rows of one stream -> what is known of it, and its alarms
detectors   a model of the log -> its streams, if its artefact is here
watched     how far streams were read: rows out, state and alarms back in one transaction
reasons     the rows since a change -> its cause and what it costs
notify      who is to be told is told once: webhook, command
gauges      what Prometheus may ask the monitor
watcher     follows the log: reads, names causes, tells
monitor     make monitor
alarm_desk  make alarms, make acknowledge, make silence
"""
