{{/* What is wrong with the values of what stands around the workloads, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.around" -}}
{{- toJson list }}
{{- end }}

{{/* Not empty where an autoscaler owns the number of replicas. Takes {root, role}. */}}
{{- define "onboarding-processor.isAutoscaled" -}}
{{- end }}
