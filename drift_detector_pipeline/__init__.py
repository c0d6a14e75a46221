"""A vision model's whole life, one module a step. The map, in the order of the road; imports only point upwards.

 1. errors                 everything raised on purpose
 2. files, console         atomic writes, hashes, locks; log lines and progress bars
 3. config                 conf/*.yaml and overrides as typed, checked settings
 4. drive_credentials,     a missing raw archive, from DVC's cache or remote or a public address
    remote, download,
    sources
 5. splits, archives       which image plays which role; what a raw source holds
 6. images, packing,       the one decoder; processed images on disk; the image files a person names
    image_files
 7. manifest, decoding,    raw source -> data/processed/<name>/, manifest last
    dataset
 8. transforms, loaders    stored image -> model input -> batches, a function of (seed, epoch, image)
 9. tracking, wandb_writer, wandb_tracking, pages
                           metrics.jsonl, TensorBoard and W&B; self-contained HTML pages
10. duplicates, data_report
                           what a data set holds, in pictures
11. modeling.hardware, modeling.interruption, modeling.identity, modeling.pretrained, modeling.conv_small,
    modeling.models, modeling.optimization, modeling.metrics, modeling.inference, modeling.weights,
    modeling.checkpoints, modeling.runs, modeling.tracing, modeling.session, modeling.samples
                           what one run is made of
12. modeling.train         batches -> outputs/<date>/<time>/, killed and continued to the same bits
13. modeling.trained, modeling.charts, modeling.evaluation_report, modeling.evaluate, modeling.predict
                           what a run's model is worth, as numbers and one page; labels for anybody's images
14. modeling.reproduce, modeling.summary, modeling.receipt_text
                           a receipt -> the same bits again? several receipts -> one claim with its spread
15. modeling.sweep_search, modeling.sweep_plan, modeling.sweep_data, modeling.sweep_trials, modeling.sweep_plots,
    modeling.sweep_results, modeling.sweep
                           several values of some settings -> a run each, a table and pictures of the results
16. modeling.flops, modeling.operators, modeling.profile_summary, modeling.profile_text, modeling.bottleneck,
    modeling.peak, modeling.profile
                           a few training steps -> where their time goes, and what to try
17. drift.kinds.strength, drift.kinds.noise, drift.kinds.blur, drift.kinds.frost, drift.kinds.weather,
    drift.kinds.digital, drift.kinds.benign, drift.corruptions, drift.ssim, drift.corruption_table,
    drift.corruption_sheet
                           clean images -> images as they may come one day, and what they do to a model
18. drift.pixels, drift.signals, drift.directions, drift.late, drift.scores, drift.window, drift.risk, drift.accuracy
                           one forward pass -> numbers; a window's against the reference's; how often it errs
19. drift.twins, drift.reference, drift.verdict, drift.detector, drift.roles, drift.build_reference,
    drift.drift_report, drift.__main__
                           a model and its training world -> a verdict on any images, with reasons and pictures
20. drift.baselines, drift.study_material, drift.study_windows, drift.study_mixes, drift.study_baselines,
    drift.study_charts, drift.study, drift.cost
                           the proof: false alarms, detection, accuracy estimates, beside the methods of today
21. quickstart, verify, bench, bench_accuracy
                           the first two minutes; what works on this machine; how fast and how exact it trains
22. entrypoint, image_size, bench_container
                           what a container does before its command; what its image weighs; its speed beside the host's

Stages talk through files: a later stage reads what an earlier one wrote, never its objects.
"""
