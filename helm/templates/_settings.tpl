{{/* The environment variables of all settings that are given, as YAML. An empty text means: not given. */}}
{{- define "onboarding-processor.variables" -}}
{{- range $section, $value := .Values.settings }}
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

{{/* One section of secrets as items of a projected volume: files named like the variables. Takes {section, keys}. */}}
{{- define "onboarding-processor.secretItems" -}}
{{- $keys := .keys }}
{{- if $keys.token }}
{{- $keys = pick $keys "token" }}
{{- end }}
{{- range $setting, $key := $keys }}
{{- if $key }}
- key: {{ $key }}
  path: PROCESSOR_{{ upper $.section }}__{{ upper $setting }}
{{- end }}
{{- end }}
{{- end }}
