"""The edge model server: models over the protocols that existing clients speak.

Importing it needs neither TensorFlow nor kfp nor pyarrow. From the wire to the interpreter:

    main        the parts put together, started and ended
    protocols   what each protocol's calls mean; routes_admin: the page at /, what steers rollouts
    app         a request to its route, tokens and scopes
    routing     routes: template, methods, kind, OpenAPI's entry; state: what calls answer from
    watching    logs, traces, live traffic beside the bundle's reference, sampled requests, alerts
    updates     signed versions from a TUF repository to this disk, by a child process
    versions    which versions of which models there are: tried in a child, loaded, replaced
    rollouts    which version answers, and which only compares
    models      a model on disk to warmed interpreters, one per thread; several requests per run
    tensors     to and from JSON, binary and pictures
    http        HTTP/1.1 and HTTP/2, limits on size and time

Each uses what stands below it, and metrics, settings, access, errors, threads and digits, which
stand below all.
"""
