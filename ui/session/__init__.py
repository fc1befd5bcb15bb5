"""Which project, recipe and figures a browser session shows, and the work and caches behind it.

`state` is the entrance: the open project, the shown recipe, edits and undo. Below it lie
`keys` (what a browser session keeps, by name and type), `memory` (how that is reached),
`opening` (a project from what a user picked), `workspace` (its model, data and statistics),
`fixes` (the model as the recipe's fixes leave it), `cached` (what is kept between runs of a page),
`jobs` (work in a thread) and `pool` (measurements that several sessions share).
"""
