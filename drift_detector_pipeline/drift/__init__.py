"""A model and its training world -> a verdict on any images, with reasons and pictures.

scores/          one forward pass -> about 40 numbers an image
promise          from the average reference's rate of false notices to that of the one a person has
permutation      a window's scores against the reference's: one exact p-value
risk             which predictions are wrong?
accuracy         how accurate, without labels?
second_look      what does a copy that has adapted to a window say of it?
content          is something else shown, while looks hardly changed?
correction       how far off a copy's word is, from changes that were taught
copy_accuracy    how accurate on changed images? a copy is asked
causes           how each known change moves the scores
cause            which of them happened to a window, how strong, or a mix, strangers, unknown
cause_words      what a person sees, and what to do about it
twins            labelled images once more, corrupted: the drift that everything is learned from
reference        everything a detector knows
fitting_arrays   do arrays that were read fit one another?
reference_file   the same as a file
parts            did only some images of a window change?
preparation      a person's images -> crops
reading          a window of any size through the network, a chunk at a time
decision         how loud, how accurate and why
verdict          the same with what moved and which images show it
detecting        what every detector is to whoever uses it
kept_rows        what is kept of an image, as bytes and back
verdict_words    the same in sentences
inverse          a fault that its inverse undoes, and the accuracy of what was said before
asking           what is asked of a window after a notice
way_through      anybody's model -> a function that drift is measured through
thumbnails       a few typical images of the reference
detector         all of it in Python, for anybody's model
boxes/           the same for a network of boxes
clips/           the same for clips, where a source counts once
build_reference  make drift_reference
stream/          images one after another -> an alarm with a guarantee
report           a verdict as JSON and as one page
kinds            detectors of labels, boxes and clips behind one door
read_elsewhere   the images of a verdict read by many machines
__main__         make drift
since_change     what the images since an alarm's change say, as a verdict
watch            make watch
demo/            four folders, four verdicts, one picture
"""
