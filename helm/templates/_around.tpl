{{/* Not empty where an autoscaler owns the number of replicas. Takes {root, role}. */}}
{{- define "onboarding-processor.isAutoscaled" -}}
{{- $autoscaler := eq .role "ingestor" | ternary .root.Values.hpa (index .root.Values.keda .role | default dict) }}
{{- $autoscaler.enabled | ternary "yes" "" }}
{{- end }}

{{/* The groups of a workload, as JSON: decider -> setting that names its input topic. Takes the role. */}}
{{- define "onboarding-processor.inputs" -}}
{{- $submitter := dict "preparation" "requests" "launch" "launches" }}
{{- $reconciler := dict "completion" "workflows" }}
{{- dict "submitter" $submitter "reconciler" $reconciler "all" (merge dict $submitter $reconciler) | dig . dict | toJson }}
{{- end }}

{{/* KEDA's word for the mechanism, `none` where there is none. */}}
{{- define "onboarding-processor.kedaSasl" -}}
{{- $properties := include "onboarding-processor.kafkaProperties" . | fromJson }}
{{- $mechanism := get $properties "sasl.mechanism" | default (get $properties "sasl.mechanisms") | default "GSSAPI" | toString }}
{{- $words := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" }}
{{- $isSasl := get $properties "security.protocol" | toString | upper | hasPrefix "SASL" }}
{{- .Values.keda.sasl | default ($isSasl | ternary (get $words $mechanism | default (lower $mechanism)) "none") }}
{{- end }}

{{- define "onboarding-processor.kedaTls" -}}
{{- $protocol := get (include "onboarding-processor.kafkaProperties" . | fromJson) "security.protocol" | toString | upper }}
{{- .Values.keda.tls | default (hasSuffix "SSL" $protocol | ternary "enable" "disable") }}
{{- end }}

{{/* All names of the webhook port outside, as JSON. */}}
{{- define "onboarding-processor.dnsNames" -}}
{{- $names := .Values.certificate.dnsNames }}
{{- if .Values.httpRoute.enabled }}
{{- $names = concat $names .Values.httpRoute.hostnames }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- $names = concat $names .Values.ingress.hosts }}
{{- end }}
{{- uniq $names | toJson }}
{{- end }}

{{- define "onboarding-processor.certificateSecret" -}}
{{- default (printf "%s-webhook" (include "onboarding-processor.fullname" .)) .Values.certificate.secretName }}
{{- end }}

{{/* The port of an address with a scheme. */}}
{{- define "onboarding-processor.portOf" -}}
{{- $authority := regexReplaceAll "^[a-z]+://([^/?#]*).*$" . "${1}" }}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" }}
{{- $port | default (hasPrefix "http://" . | ternary "80" "443") }}
{{- end }}
