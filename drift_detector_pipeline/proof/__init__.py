"""Our own claims, measured, beside the methods of today. Nothing of the product imports this.

ssim                structural similarity
corruption_table    what corruptions change, cost and take
corruption_sheet    make corruptions
untaught            changes that no reference learns from
more_untaught       others, as a first visitor tries them
later_untaught      harder ones, and of some images of a window only
untaught_study      whether intervals hold for these
processes           the same work on many things, one process a core
study_material      every image of the study through the model once
study_windows       false alarms, detection, accuracy estimates
study_mixes         other class mixes, unseen classes
other_methods       the methods people use today, on the same windows
study_charts        studies as tables and pictures
study               make drift_study
other_references    whether intervals hold with other references
cause_study         make cause_study
promise_study       whose rate of false notices is bounded?
stream_null         streams in which nothing changes
alibi_streams       alibi-detect on streams, in a Python of its own
stream_peers        what people watch streams with today, at one rate of false alarms
stream_summary      what was found, in a few numbers
stream_study        streams: false notices, delays, beginnings, cost
drift_cost          make bench_drift
log_cost            what the request log costs
rates               images per second of the training loop, and of nothing but its step
training_speed      make bench
peers               make bench_peers
gpu_rates           how fast a GPU learns, and is fed
gpu_check           make gpu_check
scale               make bench_scale
storage             make bench_storage
precision_accuracy  make bench_accuracy
box_rates           what training and evaluation of boxes cost beside the bare network
box_networks        make bench_boxes
clips_packing       what packing of clips costs beside bare decoding
clips_tuned         the last stage of a network learned on clips
clips               make bench_clips
container_speed     make docker_bench
load_material       image files and artefacts, drawn
servers             a server as a group of processes, and what it costs
film_load           how long an image waits while a video is watched
serving_load        make load_test
askers              many clients at once, each answer looked at
under_load          swaps, SIGTERMs and SIGKILLs while clients ask
odd_requests        what nobody should send
unchanged_windows   false notices, an image's bits, verdicts repeated: through the service
endurance           make bench_service
video_tracking      how often things in a video lose their numbers
box_material        every image of the study of boxes through the network once
box_drift_study     drift of boxes: false notices, power, mAP50 without true boxes
box_suppression     which of many boxes are one: decided in the graph, or behind it
served_boxes        the same from rows of a service: false notices of windows and streams, cost
clip_drift          clips taken for independent, and sources: false notices
served_clips        the same through the file that is served, from rows of the log
healing             what healing is worth
year/               make simulate_year
"""
