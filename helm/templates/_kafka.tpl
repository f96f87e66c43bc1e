{{/* Values of the placeholders in files/kafka.yaml, as JSON. */}}
{{- define "onboarding-processor.kafkaPlaces" -}}
{{- $facts := .Files.Get "files/kafka.yaml" | fromYaml }}
{{- $settings := .Values.settings }}
{{- $places := dict "application_id" $settings.application_id }}
{{- range $setting, $name := $facts.names }}
{{- $default := replace "{application_id}" $settings.application_id $name }}
{{- $_ := set $places $setting (get $settings.topics $setting | default $default) }}
{{- end }}
{{- range $setting, $number := $facts.numbers }}
{{- $_ := set $places $setting (get $settings.topics $setting | default $number | int64 | toString) }}
{{- end }}
{{- $_ := set $places "message_bytes_max" (add $places.record_bytes_max $facts.batchOverheadBytes | toString) }}
{{- toJson $places }}
{{- end }}

{{/* The name of a topic by its setting. Takes {root, setting}. */}}
{{- define "onboarding-processor.topic" -}}
{{- get (include "onboarding-processor.kafkaPlaces" .root | fromJson) .setting }}
{{- end }}
