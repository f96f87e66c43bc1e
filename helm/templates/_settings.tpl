{{/* The environment variables of all settings that are given, as YAML. An empty text means: not given. */}}
{{- define "onboarding-processor.variables" -}}
{{- $given := deepCopy .Values.settings }}
{{- $_ := set $given.api "base_url" (include "onboarding-processor.apiBaseUrl" .) }}
{{- with include "onboarding-processor.kafkaProperties" . | fromJson }}
{{- $_ := set $given.kafka "properties" . }}
{{- end }}
{{- range $section, $value := $given }}
{{- if eq $section "providers" }}
{{- range $profile, $settings := $value }}
{{- range $name, $inner := $settings }}
{{- include "onboarding-processor.variable" (dict "name" (printf "providers__%s__%s" (replace "-" "_" $profile) $name) "value" $inner) }}
{{- end }}
{{- end }}
{{- else if kindIs "map" $value }}
{{- range $name, $inner := $value }}
{{- include "onboarding-processor.variable" (dict "name" (printf "%s__%s" $section $name) "value" $inner) }}
{{- end }}
{{- else }}
{{- include "onboarding-processor.variable" (dict "name" $section "value" $value) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "onboarding-processor.variable" -}}
{{- $text := include "onboarding-processor.text" .value }}
{{- if $text }}
PROCESSOR_{{ upper .name }}: {{ quote $text }}
{{- end }}
{{- end }}

{{/* A value as the environment holds it. Helm reads numbers as floats, which print 1000000 as 1e+06. */}}
{{- define "onboarding-processor.text" -}}
{{- if kindIs "map" . }}
{{- $texts := dict }}
{{- range $name, $inner := . }}
{{- $_ := set $texts $name (include "onboarding-processor.text" $inner) }}
{{- end }}
{{- toJson $texts }}
{{- else if kindIs "slice" . }}
{{- toJson . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) }}
{{- int64 . }}
{{- else if not (kindIs "invalid" .) }}
{{- toString . }}
{{- end }}
{{- end }}

{{/* The sources of the volume of secrets, as list items: files named like the variables. Takes {root, role}. */}}
{{- define "onboarding-processor.secretSources" -}}
{{- $root := .root }}
{{- /* The set-up talks to brokers and registry only, and so knows nobody else's secrets. */}}
{{- range $section := eq .role "setup" | ternary (list "kafka" "schema_registry") (list "api" "kafka" "schema_registry") }}
{{- $place := dict "root" $root "section" $section }}
{{- with include "onboarding-processor.secretName" $place }}
- secret:
    name: {{ . }}
    items:
      {{- range $setting, $key := include "onboarding-processor.secretKeys" $place | fromJson }}
      - key: {{ $key }}
        path: PROCESSOR_{{ upper $section }}__{{ upper $setting }}
      {{- end }}
{{- end }}
{{- end }}
{{- if ne .role "setup" }}
{{- range $secret := $root.Values.moreSecrets }}
- secret:
    name: {{ $secret.existingSecret }}
    items:
      {{- range $variable, $key := $secret.keys }}
      - key: {{ $key }}
        path: {{ $variable }}
      {{- end }}
{{- end }}
{{- $more := dict "root" $root "section" "more" }}
{{- if include "onboarding-processor.isExternal" $more }}
- secret:
    name: {{ include "onboarding-processor.secretName" $more }}
    items:
      {{- range $variable, $_ := $root.Values.externalSecrets.remoteRefs.more }}
      - key: {{ $variable }}
        path: {{ $variable }}
      {{- end }}
{{- end }}
{{- end }}
{{- with include "onboarding-processor.strimzi.secretSources" . }}
{{ . }}
{{- end }}
{{- end }}
