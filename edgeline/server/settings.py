"""What can be set on a server, with the defaults of a small device."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, fields

from edgeline.errors import UsageError
from edgeline.formats.names import LABEL

MIB = 1 << 20
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LIMITS = {
    "port": 65535,
    "grpc_port": 65535,
    "instances": 1024,
    "threads": 1024,
    "error_rate": 1,
    "drift_unseen": 1,
    "drift_missing": 1,
    "payload_rate": 1,
    "decay_drop": 1,
    "decay_margin": 1,
}
# sizes may be as large as a file; other numbers fit 32 bits, as timers and tables take them
_SIZES = (
    *("max_body", "max_buffered", "max_update", "load_memory", "payload_size", "payload_keep"),
    *("window_memory", "label_memory"),
)
LARGEST, LARGEST_SIZE = 2**31 - 1, 2**60
OUT_OF_RANGE = (FLAG, REFUSE, IGNORE) = ("flag", "refuse", "ignore")
_OF_FLEET = ("fleet_interval", "fleet_ca", "enroll_token_file")
NO_TOKENS = "none"  # in place of a token file
# with 0, nothing could be served
_POSITIVE = (
    *("max_body", "max_buffered", "max_header", "max_connections", "max_update", "queue"),
    *("explain_rows", "explain_queue"),
    *("window_keys", "window_memory", "label_poll", "fleet_interval"),
    *("request_time", "read_time", "write_time", "idle_time", "queue_time", "load_time"),
)


def cores() -> int:
    """The cores this process may use: its affinity, and the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        with open("/sys/fs/cgroup/cpu.max") as stream:
            quota, period = stream.read().split()
        if quota != "max":
            count = min(count or 1, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no control groups here, or not version 2
    return count or 1


@dataclass(frozen=True)
class ServerSettings:
    """Times are in seconds, sizes in bytes.

    Attributes:
        host: the address to listen on; 0.0.0.0 for all addresses of this machine.
        names: further names under which the server is asked for, comma-separated, such as
            `edge-7.example,taxi.edgeline.svc`. Without tokens, all but predictions and health is
            refused under other names than these, `localhost` and this machine's; addresses are
            always allowed. Administration without tokens is for `localhost` and loopback addresses
            alone.
        model_name: a further name for the only model of PATH, such as that of KServe's
            InferenceService; its own stays.
        port: the port for HTTP and gRPC, which share it; 0 for a free one.
        grpc_port: an additional port for HTTP/2 alone, as gRPC clients speak it; by default none.
        instances: interpreters per model; 0 for one per core, at most 4.
        threads: threads per interpreter; 0 to divide the cores among the instances.
        versions: how many of the newest versions of a model to serve; 0 for all.
        queue: maximum number of waiting requests per model; more are refused with 429.
        inline: maximum run time of models that run on the event loop while a single client sends
            requests; 0 for never.
        batch: maximum number of rows that are batched from several requests; 0 for no batching.
        batch_delay: how long a request waits for others to form a batch.
        queue_time: how long a request may wait before it is refused with 503.
        request_time: maximum total time of a request; 504 after that.
        max_body: maximum size of a request's body, as sent and after decompression.
        max_buffered: maximum size of all requests that are in memory, over all connections, of what
            they unfold to (compressed bodies, and large JSON as objects), and of answers that wait
            for their clients.
        max_header: maximum size of the request line and headers, each of which counts 32 bytes
            more.
        max_connections: maximum number of open connections, those in a TLS handshake among them;
            more are closed at once.
        read_time: how long a client may take to send a request.
        write_time: how long a client may take to read a response.
        idle_time: how long a connection may be idle between requests.
        drain: how long after SIGTERM requests are still taken, while the server says that it is not
            ready and closes connections behind their answers: what sends requests here has time to
            send them elsewhere. A second signal ends it.
        stop_time: how long requests may still run after that.
        poll: how often to look for changed models; 0 for never. By default every 2 s, or every
            60 s for signed updates.
        root: the trusted TUF root; with it, PATH is a signed repository (a folder, https://, s3://,
            gs://, abfs:// or minio://), and `--state` is required.
        max_update: the largest version that is fetched.
        load_time: maximum CPU time of loading and warming up a version in its trial. A trial that
            takes three times as long in wall time is stopped and repeated later.
        load_memory: maximum memory of a version in its trial, in addition to 8 times the size of
            its files.
        run_time: maximum time of one run on zeros in a version's trial; 0 for no limit.
        trial_time: how long a new version is watched after it has taken over.
        error_rate: maximum share of requests that may fail on a version during `--trial-time`.
        error_count: minimum number of failed requests before the error rate counts.
        window_keys: maximum number of keys whose last rows are kept, of a model whose windows the
            server keeps; the key that had none for longest goes first.
        window_memory: maximum size of these rows, of a model.
        explain: maximum time of an explanation (`POST /v1/models/MODEL:explain`); 0 for none. A
            process of lower priority computes them, one at a time.
        explain_rows: maximum number of rows that the model is asked for one such request.
        explain_queue: maximum number of such requests that run or wait; more are refused with 429.
        state: a folder for what must survive a restart; by default nothing is kept.
        rollouts: a JSON file that declares rollouts of versions (see
            `edgeline.server.rollouts.declaration`).
        tokens: a JSON file of token digests and scopes (see `edgeline.server.access`). Without it
            anyone may predict and ask for health, other sites' pages and proxies may do nothing
            else, and only programs on this machine and the server's own page, opened there, may
            administer. An address that other machines reach needs this file, `--client-ca`, or
            `none`, which says that there are to be no tokens.
        cors: origins of pages that may read answers, comma-separated, such as
            `https://app.example`; by default none (see `edgeline.server.cors`).
        certificate: a PEM file; with it and its key, all connections use TLS.
        key: a PEM file with the certificate's private key.
        client_ca: a PEM file; with it, clients must present a certificate signed by this CA.
        drift_rate: maximum rows per second of a version that are sampled for drift; 0 turns drift
            detection off.
        drift_window: the time window that is compared with the training data.
        drift_judge: how often drift is evaluated for the webhook.
        drift_rows: minimum number of rows to report drift.
        drift_psi: the population stability index above which a column drifts (see
            `edgeline.monitoring.drift`).
        drift_ks: the Kolmogorov-Smirnov statistic above which a numeric column drifts.
        drift_unseen: the share of values that did not occur in training, above the expected share,
            from which a categorical column drifts.
        drift_missing: maximum difference between the shares of missing values, live and in
            training.
        labels: where late labels come in: a file or a folder of JSON lines, or s3://, gs://, abfs://
            or minio://bucket/prefix (see `edgeline.monitoring.labels`); by default they are
            posted alone.
        label_poll: how often to look for new files there.
        label_wait: how long an answer waits for its label.
        label_memory: maximum size of the answers of a version that wait for labels, and of those
            that have one; where more wait, a sample is kept; 0 keeps none.
        decay_slices: names of inputs by whose values labelled rows are measured too,
            comma-separated.
        decay_drop: by how much accuracy and AUC may be worse than on the held-out rows of training,
            and by what share an error may be larger.
        decay_margin: by how much less often decisions may be right than their scores say, at least.
        out_of_range: what happens to values outside what the training saw or the schema allows:
            flag tells them beside the answer, refuse refuses these rows, ignore does not look.
        webhook: a URL that receives events of drift, of decay and of values out of range.
        webhook_key: a file with the key that signs requests to the webhook.
        device: the name of this device for its fleet, in the `source` of events and in the waves of
            updates, which stays when the server is replaced, as a container's host name does not;
            by default EDGELINE_DEVICE, or else the host name.
        group: the groups that this device is in for the waves of updates, comma-separated; by
            default EDGELINE_GROUP, or else none.
        fleet: where this device tells how it is doing: the address of `edgeline fleet serve`, or a
            folder, s3://, gs://, abfs:// or minio://bucket/prefix that it reads; needs `--device`
            and `--state`. By default nowhere.
        fleet_interval: how often it does; also at once when an update's outcome changes.
        fleet_ca: a PEM file of the CA of the fleet's server, in place of the system's.
        enroll_token_file: a file with the token of `edgeline fleet token`, with which the device is
            enrolled once; another token enrols it again.
        mqtt: an MQTT broker, `mqtts://HOST/PREFIX`, that gets what models answer, the labels that
            come late, and the events that a webhook gets (see
            `edgeline.server.watching.mqtt_broker`).
        mqtt_answers: which answers it gets: changes, all, none or a share of the requests, of all
            models or, as NAME=WHAT with commas, of each (see
            `edgeline.server.watching.mqtt_answers`).
        mqtt_login: a file whose first line is USER:PASSWORD for the broker.
        mqtt_ca: a PEM file of the CA of the broker's certificate; by default the system's CAs.
        mqtt_certificate: a PEM file with the certificate that the broker is shown, and perhaps its
            key.
        mqtt_key: a PEM file with that certificate's private key.
        traces: the address of an OpenTelemetry collector, such as `http://otel:4318`: spans of
            requests whose `traceparent` is sampled go to its `/v1/traces` (see
            `edgeline.server.watching.spans`).
        payloads: where to keep sampled requests (see `edgeline.server.watching.payloads`); by
            default nowhere.
        payload_rate: the share of requests that are sampled.
        payload_redact: names of inputs and outputs to leave out, comma-separated.
        payload_size: maximum size of a payload file, before compression.
        payload_every: maximum age of a payload file that is being written.
        payload_keep: maximum size of a folder of payloads.
        log: json, text, or auto for text on a terminal and JSON otherwise.
        access_log: log every n-th request; 0 for none.

    Raises:
        UsageError: a text is empty, a number is negative, not finite, or larger than it can be, or
            a name is none.
    """

    host: str = "127.0.0.1"
    names: str = ""
    model_name: str = ""
    port: int = 8080
    grpc_port: int | None = None
    instances: int = 0
    threads: int = 0
    versions: int = 1
    queue: int = 128
    queue_time: float = 10.0
    inline: float = 0.002
    batch: int = 0
    batch_delay: float = 0.002
    request_time: float = 60.0
    max_body: int = 64 * MIB
    max_buffered: int = 256 * MIB
    max_header: int = 32 * 1024
    max_connections: int = 512
    read_time: float = 30.0
    write_time: float = 30.0
    idle_time: float = 75.0
    drain: float = 0.0
    stop_time: float = 20.0
    poll: float | None = None
    root: str | None = None
    max_update: int = 2048 * MIB
    load_time: float = 120.0
    load_memory: int = 1024 * MIB
    run_time: float = 0.0
    trial_time: float = 60.0
    error_rate: float = 0.1
    error_count: int = 10
    window_keys: int = 100_000
    window_memory: int = 64 * MIB
    explain: float = 0.0
    explain_rows: int = 20_000
    explain_queue: int = 4
    state: str | None = None
    rollouts: str | None = None
    tokens: str | None = None
    cors: str = ""
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    drift_rate: int = 200
    drift_window: float = 3600.0
    drift_judge: float = 10.0
    drift_rows: int = 500
    drift_psi: float = 0.2
    drift_ks: float = 0.15
    drift_unseen: float = 0.05
    drift_missing: float = 0.1
    labels: str | None = None
    label_poll: float = 60.0
    label_wait: float = 7 * 24 * 3600.0
    label_memory: int = MIB
    decay_slices: str = ""
    decay_drop: float = 0.05
    decay_margin: float = 0.02
    out_of_range: str = FLAG
    webhook: str | None = None
    webhook_key: str | None = None
    device: str = ""
    group: str = ""
    fleet: str | None = None
    fleet_interval: float = 60.0
    fleet_ca: str | None = None
    enroll_token_file: str | None = None
    mqtt: str | None = None
    mqtt_answers: str = "changes"
    mqtt_login: str | None = None
    mqtt_ca: str | None = None
    mqtt_certificate: str | None = None
    mqtt_key: str | None = None
    traces: str | None = None
    payloads: str | None = None
    payload_rate: float = 0.1
    payload_redact: str = ""
    payload_size: int = 16 * MIB
    payload_every: float = 300.0
    payload_keep: int = 1024 * MIB
    log: str = "auto"
    access_log: int = 0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            largest = LARGEST_SIZE if setting.name in _SIZES else LARGEST
            limit = LIMITS.get(setting.name, largest)
            option = "--" + setting.name.replace("_", "-")
            if value == "" != setting.default:  # an empty host would be every address
                raise UsageError(f"{option} is empty: leave it out, or give a value.")
            if not isinstance(value, (int, float)):
                continue
            if not (math.isfinite(value) and 0 <= value <= limit):
                raise UsageError(f"{option} is {value}: give a number from 0 to {limit}.")
            if value == 0 and setting.name in _POSITIVE:
                raise UsageError(f"{option} is 0: give a number above 0.")
        if self.port and self.port == self.grpc_port:
            raise UsageError(
                f"--port and --grpc-port are both {self.port}: leave --grpc-port out, since the "
                "first port takes gRPC, too."
            )
        if self.model_name and not _MODEL_NAME.fullmatch(self.model_name):
            raise UsageError(
                f"--model-name is {self.model_name!r}: give at most 128 of A-Z, a-z, 0-9, ., _ and "
                "-, the first a letter or digit."
            )
        if self.out_of_range not in OUT_OF_RANGE:
            raise UsageError(
                f"--out-of-range is {self.out_of_range!r}: give {', '.join(OUT_OF_RANGE[:-1])} or "
                f"{OUT_OF_RANGE[-1]}."
            )
        if self.explain >= self.request_time:
            raise UsageError(
                f"--explain is {self.explain:g}, but a request may take --request-time, which is "
                f"{self.request_time:g}: give less."
            )
        self._refuse_alone()
        for name in self.names.split(",") if self.names else ():
            if not _NAME.fullmatch(name.strip()):
                raise UsageError(
                    f"--names has {name.strip()!r}: give names without scheme, port and wildcards, "
                    "as edge-7.example,taxi.edgeline.svc."
                )

        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"--cors has {origin!r}: give origins as browsers write them, such as "
                    "https://app.example, without a path and wildcards, in lower case."
                )

        if self.device and not DEVICE_NAME.fullmatch(self.device):
            raise UsageError(
                f"--device is {self.device[:100]!r}: give up to 200 letters, digits, dots, hyphens "
                "and underscores, as edge-7.example."
            )

        for group in self.groups:
            if not LABEL.fullmatch(group):
                raise UsageError(
                    f"--group has {group[:100]!r}: give names of up to 63 lower-case letters, "
                    "digits and dashes, as lab,berlin."
                )

    def _refuse_alone(self) -> None:
        """Refuse what changes nothing without another setting."""
        receiver = self.webhook or self.mqtt or "://" in (self.payloads or "")
        if self.device and not (receiver or self.root or self.fleet):
            raise UsageError(
                "--device is the source of events and statuses and has a place in waves of "
                "updates: give --webhook, --mqtt, --fleet or --root, too."
            )
        if self.group and not self.root:
            raise UsageError("--group is for the waves of updates: give --root, too.")
        if self.fleet and not (self.device and self.state):
            raise UsageError(
                "--fleet needs --device, the name that the fleet knows this one by, and --state, "
                "where its key is kept."
            )
        if self.webhook_key and not receiver:
            raise UsageError(
                "--webhook-key signs what goes to --webhook or --mqtt: give one of them, too."
            )
        for setting in fields(self):
            given = getattr(self, setting.name) != setting.default
            if setting.name == "label_poll" and given and not self.labels:
                raise UsageError("--label-poll is for --labels: give that, too, or leave it out.")
            if setting.name in _OF_FLEET and given and not self.fleet:
                option = "--" + setting.name.replace("_", "-")
                raise UsageError(f"{option} is for --fleet: give that, too, or leave it out.")
            if setting.name.startswith("mqtt_") and given and not self.mqtt:
                option = "--" + setting.name.replace("_", "-")
                raise UsageError(f"{option} is for --mqtt: give that, too, or leave it out.")
            if setting.name.startswith("payload_") and given and not self.payloads:
                option = "--" + setting.name.replace("_", "-")
                raise UsageError(f"{option} is for --payloads: give that, too, or leave it out.")
            if setting.name.startswith("explain_") and given and not self.explain:
                option = "--" + setting.name.replace("_", "-")
                raise UsageError(f"{option} is for --explain: give that, too, or leave it out.")

    @property
    def own_names(self) -> list[str]:
        """The names in `--host` and `--names`."""
        return [self.host, *(name.strip() for name in self.names.split(","))]

    @property
    def groups(self) -> list[str]:
        """The groups in `--group`."""
        return [group.strip() for group in self.group.split(",")] if self.group else []

    @property
    def origins(self) -> list[str]:
        """The origins in `--cors`."""
        return [origin.strip() for origin in self.cors.split(",")] if self.cors else []

    @property
    def token_file(self) -> str | None:
        """The file in `--tokens`; None where there are to be none."""
        return None if self.tokens == NO_TOKENS else self.tokens

    @property
    def every(self) -> float:
        """Seconds between two looks at the models; 0 for none."""
        return self.poll if self.poll is not None else 60.0 if self.root else 2.0

    @property
    def interpreters(self) -> tuple[int, int]:
        """Interpreters a model and threads an interpreter: together no more than the cores."""
        instances = self.instances or min(cores(), 4)
        return instances, self.threads or max(1, cores() // instances)
