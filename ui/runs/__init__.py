"""Work in the background, one file a kind.

`measured` gives the figures of the shown recipe and starts what is missing; `measurement_work` is that work.
The others are started by a button: `rankings`, `remedy_trials`, `recipe_search`, `mixed_precision`,
`easyquant_layer`, `easyquant_model`, `other_tools`. `exported_encodings` and `exporting` make the file,
`held_range` lets figures follow a clip line in a drag.
"""
