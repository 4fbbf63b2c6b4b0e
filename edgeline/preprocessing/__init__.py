"""What a user's `preprocessing_fn` needs beside tf.Transform."""

from edgeline.preprocessing.missing import fill_missing
from edgeline.preprocessing.times import day_of_week, hour_of_day, parse_datetime, seconds_since

__all__ = ["day_of_week", "fill_missing", "hour_of_day", "parse_datetime", "seconds_since"]
