{{/* What is wrong with the values of monitoring, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.monitoring" -}}
{{- toJson list }}
{{- end }}
