{{/* The chart's name, as a label. */}}
{{- define "onboarding-processor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What names of objects begin with; short enough to stay below 63 characters with the longest role behind it. */}}
{{- define "onboarding-processor.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $default .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* The workloads that are made, as JSON: one for each role, or one with all of them. */}}
{{- define "onboarding-processor.workloads" -}}
{{- eq .Values.layout "all" | ternary (list "all") (list "submitter" "ingestor" "reconciler") | toJson }}
{{- end }}

{{/* The workload whose pods take webhooks. */}}
{{- define "onboarding-processor.webhookWorkload" -}}
{{- eq .Values.layout "all" | ternary "all" "ingestor" }}
{{- end }}

{{/* The Service of the webhook port: the same name in both layouts, so that routes to it stay. */}}
{{- define "onboarding-processor.webhookServiceName" -}}
{{- include "onboarding-processor.fullname" . }}-ingestor
{{- end }}

{{/* Not empty where a workload keeps its state on volumes of its own. Takes {root, role}. */}}
{{- define "onboarding-processor.isPersistent" -}}
{{- with (index .root.Values .role).persistence }}
{{- .enabled | ternary "yes" "" }}
{{- end }}
{{- end }}

{{/* What a workload is: the kind that autoscalers name. Takes {root, role}. */}}
{{- define "onboarding-processor.workloadKind" -}}
{{- include "onboarding-processor.isPersistent" . | empty | ternary "Deployment" "StatefulSet" }}
{{- end }}

{{/* The name of a workload and of what belongs to it. Takes {root, role}.
A StatefulSet's stays below 53 characters: its pods carry it, with a hash behind it, in a label. */}}
{{- define "onboarding-processor.workloadName" -}}
{{- $fullname := include "onboarding-processor.fullname" .root }}
{{- if include "onboarding-processor.isPersistent" . }}
{{- $fullname = $fullname | trunc (sub 51 (len .role) | int) | trimSuffix "-" }}
{{- end }}
{{- printf "%s-%s" $fullname .role }}
{{- end }}

{{- define "onboarding-processor.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "onboarding-processor.fullname" .) "default" }}
{{- default $default .Values.serviceAccount.name }}
{{- end }}

{{- define "onboarding-processor.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.registry | empty | ternary $image.repository (printf "%s/%s" $image.registry $image.repository) }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* What selectors choose by; it may never change. Takes {root, role}. */}}
{{- define "onboarding-processor.selectorLabels" -}}
app.kubernetes.io/name: {{ include "onboarding-processor.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* The labels of an object. Takes {root, role}; no role for what all roles share. */}}
{{- define "onboarding-processor.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "onboarding-processor.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ include "onboarding-processor.version" .root | quote }}
app.kubernetes.io/part-of: onboarding
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "onboarding-processor.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* Seconds that a stop of a role needs before the margin. Takes {root, role}. */}}
{{- define "onboarding-processor.stopSeconds" -}}
{{- $settings := .root.Values.settings }}
{{- if eq .role "ingestor" }}
{{- /* 10 s: requests that were taken in are answered. */}}
{{- add .root.Values.ingestor.preStopSleepSeconds 10 }}
{{- else }}
{{- $commit := divf $settings.kafka.transaction_timeout_ms 1000 }}
{{- addf $settings.engine.drain_s_max $commit | ceil | int64 }}
{{- end }}
{{- end }}

{{/* The margin, 15 s, is for the last records of the producer (5 s), leaving the group, and closing. */}}
{{- define "onboarding-processor.graceSeconds" -}}
{{- $given := (index .root.Values .role).terminationGracePeriodSeconds }}
{{- $given | default (include "onboarding-processor.stopSeconds" . | int64 | add 15) | int64 }}
{{- end }}
