from hypothesis import settings

# A loaded machine is slow now and then; that is no failure of an op.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
