"""Device profiles: from plain data to a ``merilo.profile.Profile``, and from a profile to the device at hand."""
