"""A vision model's whole life, one module a step. The map, in the order of the road; imports only point upwards.

 1. errors                 everything raised on purpose
 2. files, console         atomic writes, hashes, locks; log lines and progress bars
 3. config                 conf/*.yaml and overrides as typed, checked settings
 4. remote, download,      a missing raw archive, from DVC's cache or remote or a public address
    sources
 5. splits, archives       which image plays which role; what a raw source holds
 6. images, packing        the one decoder; processed images on disk
 7. manifest, decoding,    raw source -> data/processed/<name>/, manifest last
    dataset
 8. transforms, loaders    stored image -> model input -> batches, a function of (seed, epoch, image)
 9. tracking, pages        metrics.jsonl and TensorBoard; self-contained HTML pages
10. modeling.hardware, modeling.interruption, modeling.pretrained, modeling.models, modeling.optimization,
    modeling.inference, modeling.weights, modeling.checkpoints, modeling.runs, modeling.session
                           what one run is made of
11. modeling.train         batches -> outputs/<date>/<time>/, killed and continued to the same bits
12. modeling.reproduce, modeling.summary
                           a receipt -> the same bits again? several receipts -> one claim with its spread
13. quickstart, bench      the first two minutes; how fast this machine trains

Stages talk through files: a later stage reads what an earlier one wrote, never its objects.
"""
