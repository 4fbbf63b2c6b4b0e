"""From raw rows to a published edge model: the pipeline that the others specialise."""
