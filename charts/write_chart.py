"""`python charts/write_chart.py`: the Helm chart's templates, written from the manifests.

A template is a manifest's own text, in which the places that a value sets are replaced. So what the
kustomize base says is said once; where a manifest has changed at such a place, nothing is
written, and a sentence names it.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeline import __version__, images
from edgeline.errors import EdgelineError

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "edge-server"
BASE = "manifests/base/edge-server"
COMPONENTS = "manifests/components"
HEAD = "{{- /* Written by `python charts/write_chart.py` from %s. */}}\n"

NAME = '{{ include "edge-server.name" . }}'
LABELS = '{{ include "edge-server.labels" . }}'
SELECTOR = '{{ include "edge-server.selector" . }}'
METADATA = re.compile(
    r"^metadata:\n  name: edge-server(?P<suffix>[a-z-]*)\n(  namespace: .*\n)?(  labels: .*\n)?",
    re.MULTILINE,
)
POLICY = "networkPolicy.enabled"
Edit = tuple[str, str]  # what stands in the manifest, once, and what takes its place


@dataclass(frozen=True)
class Template:
    """A manifest as a template.

    Attributes:
        source: the manifest, below the repository's root.
        edits: what is replaced in it beside its metadata and selectors.
        when: values that are all true where the chart has the object.
        document: which of the file's documents it is.
    """

    source: str
    edits: Sequence[Edit] = ()
    when: tuple[str, ...] = ()
    document: int = 0


def _value(name: str) -> str:
    """JSON is YAML of one line, whatever the value has and however deep it stands."""
    return f"{{{{ toJson .Values.{name} }}}}"


def _where(value: str, text: str) -> str:
    """Lines that stand where a value is not empty."""
    return f"{{{{- if .Values.{value} }}}}\n{text}{{{{- end }}}}\n"


TOKENS_MOUNT = "- {name: tokens, mountPath: /etc/edgeline/tokens, readOnly: true}\n"
TOKENS_VOLUME = f"- {{name: tokens, secret: {{secretName: {_value('tokens.secret')}}}}}\n"
DEPLOYMENT: tuple[Edit, ...] = (
    (
        "spec: # no replicas: the autoscaler's number is its own, and an apply leaves it alone\n",
        "spec: # with the autoscaler no replicas: the number is its own, upgrades leave it alone\n"
        "  {{- if not .Values.autoscaling.enabled }}\n"
        '  replicas: {{ include "edge-server.replicas" . }}\n'
        "  {{- end }}\n",
    ),
    (
        "      labels: {app.kubernetes.io/name: edge-server}\n",
        '      labels: {{ include "edge-server.podLabels" . }}\n'
        "      annotations: # a change of the settings starts new pods\n"
        '        checksum/settings: {{ include "edge-server.settings" . | sha256sum | quote }}\n',
    ),
    (
        "      serviceAccountName: edge-server\n",
        "      {{- range $field := list"
        ' "affinity" "imagePullSecrets" "nodeSelector" "tolerations" }}\n'
        "      {{- with index $.Values $field }}\n"
        "      {{ $field }}: {{ toJson . }}\n"
        "      {{- end }}\n"
        "      {{- end }}\n"
        f"      serviceAccountName: {NAME}\n",
    ),
    ("          image: edge-server\n", f"          image: {_value('image')}\n"),
    (
        '"$(NAMES)"]\n',
        '"$(NAMES)"'
        ", {{ if .Values.tokens.required }}--tokens=/etc/edgeline/tokens/tokens.json"
        "{{ else }}--tokens=none{{ end }}"
        "{{ range .Values.args }}, {{ toJson . }}{{ end }}]\n",
    ),
    ("{name: edge-server-settings}", f"{{name: {NAME}-settings}}"),
    (
        "{name: edge-server-store, optional: true}",
        f"{{name: {_value('storeSecret')}, optional: true}}",
    ),
    (
        "          resources:\n"
        "            requests: {cpu: 100m, memory: 128Mi}\n"
        '            limits: {cpu: "2", memory: 512Mi}\n',
        f"          resources: {_value('resources')}\n",
    ),
    (
        "            - {name: trust, mountPath: /etc/edgeline/trust, readOnly: true}\n",
        "            - {name: trust, mountPath: /etc/edgeline/trust, readOnly: true}\n"
        + textwrap.indent(_where("tokens.required", TOKENS_MOUNT), " " * 12),
    ),
    ("emptyDir: {sizeLimit: 2Gi}", f"emptyDir: {{sizeLimit: {_value('stateSize')}}}"),
    (
        "          configMap: {name: edge-server-trust}\n",
        '          {{- if eq .Values.trust.kind "Secret" }}\n'
        f"          secret: {{secretName: {_value('trust.name')}}}\n"
        "          {{- else }}\n"
        f"          configMap: {{name: {_value('trust.name')}}}\n"
        "          {{- end }}\n"
        + textwrap.indent(_where("tokens.required", TOKENS_VOLUME), " " * 8),
    ),
)

TEMPLATES = {
    "service-account": Template(
        f"{BASE}/service-account.yaml",
        (
            (
                "automountServiceAccountToken",
                "  {{- with .Values.serviceAccount.annotations }}\n"
                "  annotations: {{ toJson . }}\n"
                "  {{- end }}\n"
                "automountServiceAccountToken",
            ),
        ),
    ),
    "deployment": Template(f"{BASE}/deployment.yaml", DEPLOYMENT),
    "service": Template(
        f"{BASE}/service.yaml",
        (
            (
                "spec:\n  selector: {app.kubernetes.io/name: edge-server}\n",
                "  {{- with .Values.service.annotations }}\n"
                "  annotations: {{ toJson . }}\n"
                "  {{- end }}\n"
                "spec:\n"
                f"  type: {_value('service.type')}\n"
                f"  selector: {SELECTOR}\n",
            ),
        ),
    ),
    "autoscaler": Template(
        f"{BASE}/autoscaler.yaml",
        (
            ("kind: Deployment, name: edge-server}", f"kind: Deployment, name: {NAME}}}"),
            ("minReplicas: 2\n", "minReplicas: {{ int .Values.autoscaling.minReplicas }}\n"),
            ("maxReplicas: 8\n", "maxReplicas: {{ int .Values.autoscaling.maxReplicas }}\n"),
            ("averageUtilization: 70}", "averageUtilization: {{ int .Values.autoscaling.cpu }}}"),
        ),
        when=("autoscaling.enabled",),
    ),
    "disruption-budget": Template(f"{BASE}/disruption-budget.yaml"),
    # the first document denies the whole namespace, in which other programs of yours may be
    "network-policy": Template(
        f"{BASE}/network-policy.yaml",
        (
            (
                '            matchLabels: {pipelines.kubeflow.org/v2_component: "true"}\n',
                '            matchLabels: {pipelines.kubeflow.org/v2_component: "true"}\n'
                "        {{- range .Values.networkPolicy.callers }}\n"
                "        - {{ toJson . }}\n"
                "        {{- end }}\n",
            ),
            (
                "        - {port: 9000, protocol: TCP}\n",
                "        - {port: 9000, protocol: TCP}\n"
                "    {{- range .Values.networkPolicy.egress }}\n"
                "    - {{ toJson . }}\n"
                "    {{- end }}\n",
            ),
        ),
        when=(POLICY,),
        document=1,
    ),
    "metrics-policy": Template(
        f"{COMPONENTS}/monitoring/network-policy.yaml",
        (
            (
                "{kubernetes.io/metadata.name: monitoring}",
                f"{{kubernetes.io/metadata.name: {_value('monitoring.namespace')}}}",
            ),
        ),
        when=("monitoring.enabled", POLICY),
    ),
    "service-monitor": Template(
        f"{COMPONENTS}/monitoring/service-monitor.yaml",
        (
            (
                "interval: 30s}\n",
                "interval: 30s"
                "{{ if .Values.tokens.required }}, authorization: "
                f"{{credentials: {{name: {_value('monitoring.tokenSecret')}, key: token}}}}"
                "{{ end }}}\n",
            ),
            (LABELS, '{{ include "edge-server.monitorLabels" . }}'),
        ),
        when=("monitoring.enabled",),
    ),
    "ingress": Template(
        f"{COMPONENTS}/ingress/ingress.yaml",
        (
            (
                "  annotations:\n    cert-manager.io/cluster-issuer: letsencrypt\nspec:\n",
                f"  annotations: {_value('ingress.annotations')}\n"
                "spec:\n"
                "  {{- with .Values.ingress.className }}\n"
                "  ingressClassName: {{ toJson . }}\n"
                "  {{- end }}\n",
            ),
            ("- hosts: [models.example.com]", f"- hosts: [{_value('ingress.host')}]"),
            ("- host: models.example.com", f"- host: {_value('ingress.host')}"),
            ("secretName: edge-server-tls", f"secretName: {NAME}-tls"),
            ("service: {name: edge-server,", f"service: {{name: {NAME},"),
        ),
        when=("ingress.enabled",),
    ),
}


def main() -> None:
    """Write what has drifted, and say what that was."""
    try:
        for path, text in drifted().items():
            path.write_text(text)
            print(f"wrote {path}")
    except EdgelineError as error:
        sys.exit(str(error))


def drifted() -> dict[Path, str]:
    """The chart's files that are missing or differ from the manifests, and what they should be.

    Raises:
        EdgelineError: a manifest has changed where a value is put in.
    """
    return {path: text for path, text in wanted() if not path.is_file() or path.read_text() != text}


def wanted() -> Iterator[tuple[Path, str]]:
    """All that is written: the templates, and lines of Chart.yaml and values.yaml."""
    for name, template in TEMPLATES.items():
        yield CHART / "templates" / f"{name}.yaml", written(template)
    version = [
        (r"^version: .*$", f"version: {__version__}"),
        (r"^appVersion: .*$", f'appVersion: "{__version__}"'),
    ]
    yield CHART / "Chart.yaml", _with_lines(CHART / "Chart.yaml", version)
    image = [(r"^image: .*$", f"image: {images.reference('edge-server')}")]
    yield CHART / "values.yaml", _with_lines(CHART / "values.yaml", image)


def written(template: Template) -> str:
    """A manifest's text with the values' places in it.

    Raises:
        EdgelineError: an edit does not fit it once.
    """
    path = ROOT / template.source
    text = path.read_text().split("---\n")[template.document]
    text, found = METADATA.subn(
        rf"metadata:\n  name: {NAME}\g<suffix>\n"
        rf"  namespace: {{{{ .Release.Namespace | quote }}}}\n  labels: {LABELS}\n",
        text,
    )
    if found != 1:
        raise EdgelineError(f"{template.source} does not have one `metadata` of the edge server.")
    text = text.replace(
        "matchLabels: {app.kubernetes.io/name: edge-server}", f"matchLabels: {SELECTOR}"
    )
    for old, new in template.edits:
        if text.count(old) != 1:
            raise EdgelineError(
                f"{template.source} has {text.count(old)} times and not once {old.strip()!r}, "
                "which the chart replaces: change the edit in charts/write_chart.py, too."
            )
        text = text.replace(old, new)
    if template.when:
        values = " ".join(f".Values.{value}" for value in template.when)
        condition = f"and {values}" if len(template.when) > 1 else values
        text = f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"
    return HEAD % template.source + text


def _with_lines(path: Path, lines: Sequence[Edit]) -> str:
    text = path.read_text()
    for pattern, line in lines:
        text, found = re.subn(pattern, line, text, flags=re.MULTILINE)
        if found != 1:
            raise EdgelineError(f"{path.relative_to(ROOT)} does not have one line {pattern}.")
    return text


if __name__ == "__main__":
    main()
