"""A vision model's whole life, a folder or a module a step. The map, in the order of the road; imports point upwards.

The ground:

    stopped          Ctrl-C and SIGTERM at any moment
    unread           output that nobody reads any more
    errors           everything raised on purpose
    console          log lines and progress bars
    files            atomic writes, hashes, locks
    whole_files      a file read as a whole, if it is one
    json_files       what was written as JSON, read again and checked
    first_bytes      what a file is that is not what its name says
    arrays           the kinds of arrays that stages hand each other
    clip_cut         how a video becomes clips
    box_geometry     rectangles: how they overlap, which of them say the same
    setting_types    what kinds of settings there are
    settings_in_use  what can be set of a model in use
    settings         ... and all else, with types, ranges and meanings
    meant            the setting that a word means which is none
    conf_files       conf/*.yaml as people leave them
    config           conf/*.yaml and overrides -> checked settings
    dot_env          .env -> variables of a command
    commands         the words of a command that are no settings
    takes            which settings a command takes
    starts           is there what a training starts from
    cluster          work on many machines, by Ray
    pages            self-contained HTML pages
    figures          charts as PNG

The road:

    raw/             an address or a folder -> files on disk, listed
    images/          bytes -> pixels -> model input
    frames/          videos -> frames, upright, and frames -> a video
    corruptions/     clean images as they may come one day
    processed/       what lies in data/processed, and which image plays which part
    dataset          raw -> processed, manifest last
    convert          boxes of one layout -> the same in another
    networks/        a name -> a module; its weights as a file
    tasks/           what differs between labels, boxes and clips, and nothing else
    runs/            a run's papers: machine, checkpoints, receipt, tracking
    modeling/        batches -> weights -> worth; labels for anybody's images
    video/           a video -> boxes on every frame, things that keep their numbers
    drift/           a model and its training world -> a verdict on any images, with reasons and pictures
    release/         a finished run -> one folder that answers without PyTorch, measured
    serving/         that folder behind HTTP: answers, what was asked, and whether the world has changed
    lifecycle/       a change -> what is done about it, tested before it is adopted, and undone if it must be

Around it:

    deploy/          elsewhere than here: what a container does and weighs
    proof/           our own claims, measured, beside the methods of today
    course_report    a report of a course, checked, and as one page
    quickstart       the first two minutes
    verify           what works on this machine
    cli              all commands under one name: drift-pipeline

Each folder's docstring is the map of its modules. Stages talk through files: a later stage reads what an earlier one
wrote, never its objects.
"""

from drift_detector_pipeline import stopped, unread

stopped.install()
unread.install()
