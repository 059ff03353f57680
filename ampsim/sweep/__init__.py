"""`ampsim sweep`: the same config with other values, run after run in parallel, one row of figures for each."""
