"""Answers, what they were given for, and what they say about the world: everything that runs beside a model.

problems          what can go wrong with a request, as problem+json
tables            what is kept, and how an older log gets what is new
database          where rows live: SQLite or PostgreSQL
rows              what is kept of a request, a model, a verdict
buffer            rows on their way out, never in anybody's way
request_log       what was asked and answered, as rows
stored_verdicts   verdicts into the database and back
verdicts          rows of disjoint windows -> verdicts that anybody can repeat to the bit
log_export        make log_export: the rows as Parquet
models            make models: versions, and what the log says of each
crops             the newest images in memory, for a second look
kept              the newest images as files, if somebody wants that
engine            an artefact, opened: bytes -> crop -> answer and scores
batcher           single crops -> batches of whatever waits; another model between two of them
decoding          bytes of unknown origin -> crops, in bounded memory
metrics           what Prometheus may ask
judging           windows of the log -> verdicts, beside the requests
looks             spot checks, one at a time, beside both
lane              the way of everything that takes long to decode
videos            a short video's bytes -> what is said of each frame
clips             a clip's bytes -> what is said of it, and second by second
agreement         whether two models say the same of an image
trial             a model in the champion's shadow, others that answer single sources
following         whoever is champion answers, within a second
service           what lives as long as a service does
keys              who may ask
admission         what is refused before a body is read
uploads           a request's body -> the bytes of its images
replies           what answers look like
protocol          the Open Inference Protocol, version 2
drift_answers     the endpoints about drift
shadow_answers    the endpoint about a model in the shadow
app               all endpoints together
asked_for         which model the environment asks for
door              a listening socket that can be closed without losing anybody
__main__          make serve
"""
