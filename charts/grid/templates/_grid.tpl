{{/* Processes of Grid: their environment and volumes. Everything is said by variables GRID__SECTION__KEY, so that nothing
secret stands in a file or an argument. */}}

{{- define "grid.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{/* {root, login}: login is jobmaster, worker or migrate */}}
{{- define "grid.kafkaEnvironment" -}}
{{- $kafka := .root.Values.kafka -}}
{{- $properties := dict -}}
{{- range $key, $value := $kafka.properties }}{{- $_ := set $properties $key (include "grid.text" $value) }}{{- end }}
{{- if not $kafka.internal.enabled }}
{{- $sasl := ne $kafka.sasl.mechanism "" }}
{{- $_ := set $properties "security.protocol" (printf "%s%s" (ternary "sasl_" "" $sasl) (ternary "ssl" "plaintext" $kafka.tls.enabled)) }}
{{- if $sasl }}
{{- $_ := set $properties "sasl.mechanism" $kafka.sasl.mechanism }}
{{- $_ := set $properties "sasl.username" (index $kafka.sasl .login).username }}
{{- end }}
{{- if $kafka.tls.caSecret }}{{- $_ := set $properties "ssl.ca.location" "/etc/grid/kafka-ca/ca.crt" }}{{- end }}
{{- if $kafka.tls.clientSecret }}
{{- $_ := set $properties "ssl.certificate.location" "/etc/grid/kafka-client/tls.crt" }}
{{- $_ := set $properties "ssl.key.location" "/etc/grid/kafka-client/tls.key" }}
{{- end }}
{{- end }}
- name: GRID__KAFKA__BROKERS
  value: {{ include "grid.brokers" .root | quote }}
- name: GRID__KAFKA__TOPIC_PREFIX
  value: {{ $kafka.topicPrefix | quote }}
{{- range $key, $value := $properties }}
- name: GRID__KAFKA__PROPERTIES__{{ $key | upper | replace "." "_" }}
  value: {{ $value | quote }}
{{- end }}
{{- if and (not $kafka.internal.enabled) $kafka.sasl.mechanism }}
{{ include "grid.secretVariable" (dict "name" "GRID__KAFKA__PROPERTIES__SASL_PASSWORD" "secret" $kafka.sasl.existingSecret "key" (index $kafka.sasl .login).passwordKey) }}
{{- end }}
{{- end }}

{{- define "grid.logEnvironment" -}}
- name: GRID__LOG__FORMAT
  value: {{ .Values.log.format }}
- name: GRID__LOG__FILTER
  value: {{ .Values.log.filter | quote }}
{{- end }}

{{- define "grid.storesEnvironment" -}}
{{- with include "grid.influxdbUrl" . }}
- name: GRID__INFLUXDB__URL
  value: {{ . | quote }}
- name: GRID__INFLUXDB__ORG
  value: {{ $.Values.influxdb.org | quote }}
- name: GRID__INFLUXDB__BUCKET
  value: {{ $.Values.influxdb.bucket | quote }}
{{ include "grid.secretVariable" (dict "name" "GRID__INFLUXDB__TOKEN" "secret" (include "grid.influxdbSecret" $) "key" $.Values.influxdb.tokenKey) }}
{{- end }}
{{- end }}

{{- define "grid.podEnvironment" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}

{{/* {root, postgres}: postgres says whether the process talks to Postgres */}}
{{- define "grid.trustMounts" -}}
{{- $values := .root.Values -}}
- name: tmp
  mountPath: /tmp
{{- if and .postgres $values.postgres.caSecret }}
- name: postgres-ca
  mountPath: /etc/grid/postgres
  readOnly: true
{{- end }}
{{- if $values.kafka.tls.caSecret }}
- name: kafka-ca
  mountPath: /etc/grid/kafka-ca
  readOnly: true
{{- end }}
{{- if $values.kafka.tls.clientSecret }}
- name: kafka-client
  mountPath: /etc/grid/kafka-client
  readOnly: true
{{- end }}
{{- end }}

{{- define "grid.trustVolumes" -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if and .postgres $values.postgres.caSecret }}
- name: postgres-ca
  secret:
    secretName: {{ $values.postgres.caSecret }}
    defaultMode: 0440
{{- end }}
{{- if $values.kafka.tls.caSecret }}
- name: kafka-ca
  secret:
    secretName: {{ $values.kafka.tls.caSecret }}
    defaultMode: 0440
{{- end }}
{{- if $values.kafka.tls.clientSecret }}
- name: kafka-client
  secret:
    secretName: {{ $values.kafka.tls.clientSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* Options of `config` as variables. */}}
{{- define "grid.configData" -}}
{{- range $section, $keys := .Values.config }}
{{- range $key, $value := $keys }}
GRID__{{ upper $section }}__{{ upper $key }}: {{ include "grid.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "grid.configFrom" -}}
{{- if .Values.config }}
envFrom:
  - configMapRef:
      name: {{ include "grid.name" . }}-config
{{- end }}
{{- end }}

{{/* The migration, as a hook of the release or as an object of it: {root, name, hook, account} */}}
{{- define "grid.migrateJob" -}}
{{- $values := .root.Values -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  labels: {{- include "grid.labels" (dict "root" .root "component" "migrate") | nindent 4 }}
  {{- with .hook }}
  annotations:
    helm.sh/hook: {{ . }}
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation
  {{- end }}
spec:
  backoffLimit: 20
  activeDeadlineSeconds: {{ int64 $values.migrate.activeDeadlineSeconds }}
  template:
    {{- include "grid.migratePod" . | nindent 4 }}
      restartPolicy: OnFailure
{{- end }}

{{/* Of a pod that runs grid migrate with .args, as the account of .account; without a restart policy, which follows it. */}}
{{- define "grid.migratePod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
metadata:
  labels: {{- include "grid.labels" (dict "root" $root "component" "migrate") | nindent 4 }}
spec:
  {{- include "grid.pod" (dict "root" $root "component" .account "user" 10001) | nindent 2 }}
  containers:
    - name: migrate
      image: {{ include "grid.image" (dict "image" $values.image "default" $root.Chart.AppVersion) }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ .args | default (list "migrate") | toJson }}
      {{- include "grid.container" $root | nindent 6 }}
      env:
        {{- include "grid.logEnvironment" $root | nindent 8 }}
        {{- include "grid.kafkaEnvironment" (dict "root" $root "login" "migrate") | nindent 8 }}
        - name: GRID__KAFKA__REPLICATION_FACTOR
          value: {{ int64 $values.kafka.replicationFactor | default (ternary 1 3 $values.kafka.internal.enabled) | quote }}
        - name: GRID__SHARDS__COUNT
          value: {{ int64 $values.shards | quote }}
        {{- $secret := include "grid.postgresSecret" $root }}
        {{- if $values.postgres.ownerUrl }}{{ $secret = printf "%s-migrate" (include "grid.name" $root) }}{{ end }}
        {{- include "grid.secretVariable" (dict "name" "GRID__POSTGRES__OWNER_URL" "secret" $secret "key" $values.postgres.ownerUrlKey) | nindent 8 }}
        {{- with $values.migrate.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      resources: {{- toYaml $values.migrate.resources | nindent 8 }}
      volumeMounts:
        {{- include "grid.trustMounts" (dict "root" $root "postgres" true) | nindent 8 }}
  volumes:
    {{- include "grid.trustVolumes" (dict "root" $root "postgres" true) | nindent 4 }}
{{- end }}
