"""Batches -> weights -> worth; labels for anybody's images.

order              which images a batch holds, as a function of (seed, epoch)
loaders            batches as a function of (seed, epoch, image)
interruption       SIGTERM and Ctrl-C as a polite request
filter_muon        an optimizer that turns filter banks
optimization       optimizer by name, learning rate by step
inference          images through a model without learning
tracing            PyTorch's profiler around chosen steps
preconditions      what would end a training after it has begun, looked for before
first_look         what a network that looks before it learns is shown
session            what one process holds while a run goes on
step               one optimizer step
samples            a few validation images and what the model says
train              batches -> outputs/<date>/<time>/, killed and continued to the same bits
trained            a weight file ready to compute with
views              an image looked at more than once
evaluation_report  the files of an evaluation
clip_files         files -> clips, cut as training data was
answers            what a model says of anybody's images, one after another
open_elsewhere     a model open in many processes as in this one
answers_elsewhere  the same from many machines
labels             labels for anybody's images
evaluation         what a run's model is worth, as numbers and one page
named              is what a command names there? before PyTorch is imported
evaluate           make evaluate
predict            make predict
reproduce          a receipt -> the same bits again?
summary            a receipt as Markdown; several as one claim with its spread
card               a receipt as a model card
hub_push           weights, receipt and card to the Hugging Face Hub
sweep/             several values of some settings -> a run each, a table and pictures
profile/           a few training steps -> where their time goes, and what to try
"""
