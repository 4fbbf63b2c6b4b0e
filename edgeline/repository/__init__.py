"""The publisher's side of signed updates: a TUF repository (https://theupdateframework.io).

    REPOSITORY/
      metadata/1.root.json ...     which keys may sign what; each version signed by the one before
      metadata/N.targets.json      every file of every published version, with its sha256
      metadata/N.snapshot.json     which targets.json is current
      metadata/timestamp.json      which snapshot is current; signed often, written last
      metadata/staged/<role>.json  what waits for more signatures; devices never look here
      targets/<name>/<version>/    the bundles, laid out as `publish` lays them out anywhere

    keys      signing keys by reference, never in the repository
    place     a folder or a bucket: read, write, one writer at a time
    listing   what targets list
    roles     the four roles: reading, signing, checking, publishing
    rolling   versions that are rolled out by waves
    wave_file the file that declares waves
    outcomes  what an action led to
    actions   init, add, promote, withdraw, prune, sign, rotate-keys
    wave_actions  wave, usual-waves
    status    what there is and what is missing
    commands  the command line

A target's path has its version in it and a version is never written twice, so targets keep their
names: a client is told not to look for a digest before them (`prefix_targets_with_hash=False`).
"""
