"""The trainer: the supervisor's child, and besides the export the only code that knows torch and ultralytics.

Started as `python -m azaion_jobs.training.trainer`. `environment` must be prepared before anything here that
imports ultralytics, so this file imports nothing.
"""
