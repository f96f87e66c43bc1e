{{/* What a pod needs for its Kafka user of Strimzi. Each takes {root, role} and is empty where there is none. */}}
{{/* Environment variables, as list items of `env`. */}}
{{- define "onboarding-processor.strimzi.env" -}}
{{- if eq (include "onboarding-processor.strimzi.way" .root) "scram-sha-512" }}
- name: PROCESSOR_KAFKA__SASL_USERNAME
  value: {{ include "onboarding-processor.strimzi.user" . }}
{{- end }}
{{- end }}

{{/* Sources of the projected volume `secrets`, as list items. */}}
{{- define "onboarding-processor.strimzi.secretSources" -}}
{{- if eq (include "onboarding-processor.strimzi.way" .root) "scram-sha-512" }}
- secret:
    name: {{ include "onboarding-processor.strimzi.user" . }}
    items: [{ key: password, path: PROCESSOR_KAFKA__SASL_PASSWORD }]
{{- end }}
{{- end }}

{{/* Volumes, as list items. */}}
{{- define "onboarding-processor.strimzi.volumes" -}}
{{- with include "onboarding-processor.strimzi.certificates" . | trim }}
- name: kafka-certificates
  projected:
    defaultMode: 0440 # readable by fsGroup
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Mounts of those volumes, as list items. */}}
{{- define "onboarding-processor.strimzi.volumeMounts" -}}
{{- if include "onboarding-processor.strimzi.certificates" . | trim }}
- name: kafka-certificates
  mountPath: /etc/processor/kafka
  readOnly: true
{{- end }}
{{- end }}

{{- define "onboarding-processor.strimzi.certificates" -}}
{{- with include "onboarding-processor.strimzi.caSecret" .root }}
- secret:
    name: {{ . }}
    items: [{ key: {{ $.root.Values.strimzi.clusterCa.key | quote }}, path: ca.crt }]
{{- end }}
{{- if eq (include "onboarding-processor.strimzi.way" .root) "tls" }}
- secret:
    name: {{ include "onboarding-processor.strimzi.user" . }}
    items: [{ key: user.crt, path: user.crt }, { key: user.key, path: user.key }]
{{- end }}
{{- end }}

{{/* The name of a user and of its Secret: each workload has one, set-up and test have one together,
the command has one that values name. Takes {root, role}. */}}
{{- define "onboarding-processor.strimzi.user" -}}
{{- if eq .role "command" }}
{{- .root.Values.command.kafkaUser }}
{{- else }}
{{- include "onboarding-processor.fullname" .root }}-{{ has .role (list "setup" "test") | ternary "setup" .role }}
{{- end }}
{{- end }}

{{/* How users come to brokers; empty where there are none. Takes the root. */}}
{{- define "onboarding-processor.strimzi.way" -}}
{{- .Values.strimzi.users.enabled | ternary .Values.strimzi.users.authentication "" }}
{{- end }}

{{/* The Secret of the cluster's authority; empty where it is not needed. Takes the root. */}}
{{- define "onboarding-processor.strimzi.caSecret" -}}
{{- $ca := .Values.strimzi.clusterCa }}
{{- if and .Values.strimzi.users.enabled $ca.enabled }}
{{- default (printf "%s-cluster-ca-cert" .Values.strimzi.cluster) $ca.existingSecret }}
{{- end }}
{{- end }}

{{/* librdkafka's properties for the users, as YAML. Takes the root. */}}
{{- define "onboarding-processor.strimzi.properties" -}}
{{- $way := include "onboarding-processor.strimzi.way" . }}
{{- if eq $way "scram-sha-512" }}
security.protocol: SASL_SSL
sasl.mechanism: SCRAM-SHA-512
{{- else if eq $way "tls" }}
security.protocol: SSL
ssl.certificate.location: /etc/processor/kafka/user.crt
ssl.key.location: /etc/processor/kafka/user.key
{{- end }}
{{- if include "onboarding-processor.strimzi.caSecret" . }}
ssl.ca.location: /etc/processor/kafka/ca.crt
{{- end }}
{{- end }}

{{/* The beginning of what Strimzi makes. Takes {root, kind, name, annotations}; `role` where it is for one. */}}
{{- define "onboarding-processor.strimzi.object" -}}
apiVersion: kafka.strimzi.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  namespace: {{ default .root.Release.Namespace .root.Values.strimzi.namespace }}
  labels:
    strimzi.io/cluster: {{ .root.Values.strimzi.cluster }}
    {{- include "onboarding-processor.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
