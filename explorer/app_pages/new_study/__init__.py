"""A new study: form, plan, run."""
