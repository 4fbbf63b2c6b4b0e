{{- /* Names and labels, and what the schema cannot say of the values. */}}

{{- define "edge-server.name" -}}
{{- if contains "edge-server" .Release.Name }}{{ .Release.Name }}
{{- else }}{{ printf "%s-edge-server" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "edge-server.selector" -}}
{{ dict "app.kubernetes.io/name" "edge-server" "app.kubernetes.io/instance" .Release.Name | toJson }}
{{- end }}

{{- define "edge-server.labels" -}}
{{ merge (include "edge-server.selector" . | fromJson) (dict
  "app.kubernetes.io/part-of" "edgeline"
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
) | toJson }}
{{- end }}

{{- define "edge-server.podLabels" -}}
{{ merge (include "edge-server.selector" . | fromJson) .Values.podLabels | toJson }}
{{- end }}

{{- define "edge-server.monitorLabels" -}}
{{ merge (include "edge-server.labels" . | fromJson) .Values.monitoring.labels | toJson }}
{{- end }}

{{- define "edge-server.replicas" -}}
{{ if kindIs "invalid" .Values.replicas }}1{{ else }}{{ int .Values.replicas }}{{ end }}
{{- end }}

{{- define "edge-server.settings" -}}
{{- $name := include "edge-server.name" . }}
{{- $service := printf "%s.%s" $name .Release.Namespace }}
{{- $names := list $name $service (printf "%s.svc" $service) (printf "%s.svc.cluster.local" $service) }}
{{- $settings := dict "MODELS" .Values.models "NAMES" (join "," $names) }}
{{- range $key, $value := .Values.settings }}
{{- $_ := set $settings $key $value }}
{{- end }}
{{- toJson $settings }}
{{- end }}

{{- define "edge-server.checked" -}}
{{- $values := .Values }}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" (include "edge-server.name" .)) }}
{{- fail (printf "the release's name (%s) cannot be a Service's: begin it with a letter, and use letters, digits and dashes" .Release.Name) }}
{{- end }}
{{- if not $values.models }}
{{- fail "models is empty: set it to the address of the signed repository that is served, for example --set models=s3://acme/models" }}
{{- end }}
{{- if not (regexMatch "^[a-z][a-z0-9+]*://[^/\\s]\\S*$" $values.models) }}
{{- fail (printf "models (%s) is not an address with a scheme, such as s3://acme/models" $values.models) }}
{{- end }}
{{- if regexMatch "://[^/]*:[^/]*@" $values.models }}
{{- fail (printf "models has a password, and would stand in a ConfigMap: put the store's keys into the Secret %s (the value storeSecret)" $values.storeSecret) }}
{{- end }}
{{- range $argument := $values.args }}
{{- if regexMatch "^--(names|root|state|tokens)(=|$)" $argument }}
{{- fail (printf "args: the chart itself sets %s, from the values tokens and trust" $argument) }}
{{- end }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9][^\\s@]*(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$" $values.image) }}
{{- fail (printf "image (%s) has neither a digest nor a tag: name it as ghcr.io/acme/edge-server@sha256:..., or with :VERSION" $values.image) }}
{{- end }}
{{- range $key, $value := $values.settings }}
{{- if has $key (list "MODELS" "NAMES") }}
{{- fail (printf "settings.%s: the chart itself sets it; what is served is the value models" $key) }}
{{- end }}
{{- if regexMatch "(?i)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS|CONNECTION_STRING|(^|_)(ACCESS|ACCOUNT|API|PRIVATE|SECRET|STORAGE)_?KEY(_ID)?)$" $key }}
{{- fail (printf "settings.%s would stand in a ConfigMap, which everybody in the namespace reads: put it into the Secret %s (the value storeSecret)" $key $values.storeSecret) }}
{{- end }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- if not (kindIs "invalid" $values.replicas) }}
{{- fail "replicas is set, but the autoscaler decides on the number of pods: set autoscaling.enabled=false for a fixed number, or autoscaling.minReplicas and maxReplicas" }}
{{- end }}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
{{- fail (printf "autoscaling.minReplicas (%d) is more than maxReplicas (%d)" (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{- end }}
{{- end }}
{{- if and $values.autoscaling.enabled (not (dig "requests" "cpu" "" $values.resources)) }}
{{- fail "resources.requests.cpu is missing, of which the autoscaler counts a share: set it, or autoscaling.enabled=false" }}
{{- end }}
{{- if and $values.ingress.enabled (not $values.ingress.host) }}
{{- fail "ingress.host is empty: set it to the name under which the servers are called from outside" }}
{{- end }}
{{- if and (ne $values.service.type "ClusterIP") $values.networkPolicy.enabled (not $values.networkPolicy.callers) }}
{{- fail (printf "service.type is %s, but the NetworkPolicy lets in pods alone: name the addresses that may call in networkPolicy.callers, for example [{ipBlock: {cidr: 10.0.0.0/8}}], or set networkPolicy.enabled=false" $values.service.type) }}
{{- end }}
{{- end }}
