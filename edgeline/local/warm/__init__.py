"""Warm processes: tasks that share an import share its cost, within a run and with the next ones.

A set of them is a chain, each forked from the one before with more imported (`stages`), behind a
front that runs talk to (`front`). A task is a fork of one of the chain (`stage`, `task`): a process
of its own, with its imports done, that has the environment variables, the working folder, the
umask and the log of its run, and that ends with it.

A set stays for the next run for ten idle minutes. Only runs that would have given it the same by
inheritance and by imports share it (`identity`); its socket lies in a private folder of the user
(`places`). `sets` starts, finds and stops them, `running` is what a run uses.
"""
