{{/* What a pod needs for its Kafka user of Strimzi. Each takes {root, role} and is empty where there is none. */}}
{{/* Environment variables, as list items of `env`. */}}
{{- define "onboarding-processor.strimzi.env" -}}
{{- end }}

{{/* Sources of the projected volume `secrets`, as list items. */}}
{{- define "onboarding-processor.strimzi.secretSources" -}}
{{- end }}

{{/* Volumes, as list items. */}}
{{- define "onboarding-processor.strimzi.volumes" -}}
{{- end }}

{{/* Mounts of those volumes, as list items. */}}
{{- define "onboarding-processor.strimzi.volumeMounts" -}}
{{- end }}
