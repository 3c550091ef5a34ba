{{- define "grid.name" -}}
{{ .Values.fullnameOverride | default "grid" }}
{{- end }}

{{/* Labels that never change: selectors are immutable. */}}
{{- define "grid.selector" -}}
app.kubernetes.io/name: grid
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* All labels of an object: {root, component}. Not for what is immutable. */}}
{{- define "grid.labels" -}}
{{ include "grid.selector" . }}
app.kubernetes.io/part-of: grid
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "grid.image" -}}
{{- $tag := .image.tag | default .default -}}
{{ .image.repository }}:{{ $tag }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* A value as the environment has it. Numbers of YAML come as floats, which must not be written with an exponent. */}}
{{- define "grid.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- else if kindIs "slice" . -}}
{{- $texts := list -}}{{- range . -}}{{- $texts = append $texts (include "grid.text" .) -}}{{- end -}}{{ join "," $texts }}
{{- else if kindIs "map" . -}}
{{- $texts := list -}}{{- range $key, $value := . -}}{{- $texts = append $texts (printf "%s=%s" $key (include "grid.text" $value)) -}}{{- end -}}{{ join "," $texts }}
{{- else -}}{{ toString . }}{{- end -}}
{{- end }}

{{/* What stands in a Secret of the cluster already, else what is given, else something new: {root, secret, key, given}. */}}
{{- define "grid.kept" -}}
{{- $old := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- $kept := "" -}}
{{- if $old -}}{{- $kept = index ($old.data | default dict) .key | default "" -}}{{- end -}}
{{- if .given -}}{{ .given }}
{{- else if $kept -}}{{ $kept | b64dec }}
{{- else -}}{{ randAlphaNum 32 }}
{{- end -}}
{{- end }}

{{/* What every pod has: Kubernetes' restricted standard, no token of its API, and no variables of other services, which
would look like configuration to some of the programs. {root, component, user, values} */}}
{{- define "grid.pod" -}}
serviceAccountName: {{ include "grid.name" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .group | default .user }}
  fsGroup: {{ .group | default .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "grid.spread" -}}
{{- if .values.affinity }}
affinity: {{- toYaml .values.affinity | nindent 2 }}
{{- else }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "grid.selector" . | nindent 14 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "grid.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- define "grid.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* A claim of a StatefulSet; without the labels that change: {root, component, values} */}}
{{- define "grid.claim" -}}
- metadata:
    name: data
    labels: {{- include "grid.selector" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .values.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .values.size }}
{{- end }}

{{/* Where things are. */}}
{{- define "grid.apiScheme" -}}{{ ternary "https" "http" .Values.tls.enabled }}{{- end }}
{{- define "grid.apiUrl" -}}
{{ include "grid.apiScheme" . }}://{{ .Values.jobmaster.service.name }}:{{ int64 .Values.jobmaster.service.port }}
{{- end }}
{{- define "grid.influxdbUrl" -}}
{{- if .Values.influxdb.enabled }}http://{{ include "grid.name" . }}-influxdb:8086{{ else }}{{ .Values.influxdb.url }}{{ end -}}
{{- end }}
{{- define "grid.victorialogsUrl" -}}
{{- if .Values.victorialogs.enabled }}http://{{ include "grid.name" . }}-victorialogs:9428{{ else }}{{ .Values.victorialogs.url }}{{ end -}}
{{- end }}
{{- define "grid.brokers" -}}
{{- if .Values.kafka.internal.enabled }}{{ include "grid.name" . }}-kafka:9092{{ else }}{{ .Values.kafka.brokers }}{{ end -}}
{{- end }}
{{- define "grid.postgresSecret" -}}
{{ .Values.postgres.existingSecret | default (printf "%s-postgres" (include "grid.name" .)) }}
{{- end }}
{{- define "grid.workerTokenSecret" -}}
{{ .Values.auth.workerTokenSecret | default (printf "%s-worker" (include "grid.name" .)) }}
{{- end }}
{{- define "grid.influxdbSecret" -}}
{{ .Values.influxdb.existingSecret | default (printf "%s-influxdb" (include "grid.name" .)) }}
{{- end }}
{{- define "grid.grafanaSecret" -}}
{{ .Values.grafana.existingSecret | default (printf "%s-grafana" (include "grid.name" .)) }}
{{- end }}
