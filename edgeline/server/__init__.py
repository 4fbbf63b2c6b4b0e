"""The edge model server: LiteRT models over the protocols that existing clients speak.

Importing it needs neither TensorFlow nor kfp nor pyarrow. From the wire to the interpreter:

    http1, http2     bytes to requests, limits on size and time
    app              a request to its route, tokens and scopes
    routes_*, grpc_* what each protocol's calls mean
    tensors_*        tensors to and from JSON, binary and protocol buffers
    repository       which versions of which models there are, loaded and replaced
    updates, look    signed versions from a TUF repository to this disk, by a child process
    trial, verdicts  new versions tried in a child, watched once live, remembered if bad
    loading          a model on disk to warmed interpreters
    pool, model      interpreters at work, one a thread; batching: several requests a run
    rollout(s)       how a new version is tried; traffic: which version answers; shadow: compared
    routes_admin     the page at / and the calls that steer rollouts; recent: what it plots
    edgetpu          which file of a model runs here
    images           JPEG and PNG to a vision model's input
    drift, watching  live traffic beside the bundle's reference; alerts, delivery: who is told
    payloads         sampled requests for retraining; payload_files, object_put: where they go
    logs, tracing    JSON lines, and under which id others know a request
"""
