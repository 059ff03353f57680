"""From a YAML file to an Experiment: everything checked, every fault told at once, before any process starts.

    wording      how values, names and near misses are put into a sentence of one line
    tree         YAML text -> plain values, and the line of each; a Document, which collects the faults
    overrides    `--set path=value`
    quantities   fields such as `5 us`, as SI floats
    schema       the keys of a config and of a device file
    faults       what a schema has against a document, in our words
    imports      a user's function by `module:function`
    options      `{name, **options}`, checked against a function's signature
    catalogue    the shipped configs and devices
    placement    which device hosts which node
    network      the network's plan, every value filled in; network_check: what can be wrong with it
    load         all of it: `load(config, overrides) -> Experiment`
    resolved     an Experiment back into YAML, every default filled in
    json_schema  the schema for editors

`load.load` is the way in.
"""
