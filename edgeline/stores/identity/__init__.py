"""Who a process is to a cloud, without a key: temporary tokens of AWS, Google Cloud and Azure.

The standard library alone, since an edge server asks for them too.
"""
