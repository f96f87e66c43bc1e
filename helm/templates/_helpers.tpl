{{/* The chart's name, as a label. */}}
{{- define "onboarding-processor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* A name of at most so many characters; what was cut off is in a hash, so that no two become one. Takes {name, most}. */}}
{{- define "onboarding-processor.shortened" -}}
{{- if gt (len .name) (int .most) }}
{{- printf "%s-%s" (.name | trunc (sub .most 9 | int) | trimSuffix "-") (sha256sum .name | trunc 8) }}
{{- else }}
{{- .name | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What names of objects begin with; short enough to stay below 63 characters with the longest role behind it. */}}
{{- define "onboarding-processor.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $default := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- include "onboarding-processor.shortened" (dict "name" (default $default .Values.fullnameOverride) "most" 52) }}
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
{{- $fullname = include "onboarding-processor.shortened" (dict "name" $fullname "most" (sub 51 (len .role))) }}
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
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "onboarding-processor.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | replace "+" "_" | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* Seconds in which a stop ends all that was begun. Takes {root, role}, and `leaveSeconds`: a least time for what
follows the drain. */}}
{{- define "onboarding-processor.stopSeconds" -}}
{{- $values := index .root.Values .role }}
{{- $seconds := 0.0 }}
{{- if eq .role (include "onboarding-processor.webhookWorkload" .root) }}
{{- /* 10 s: requests that were taken in are answered. */}}
{{- $seconds = addf $values.preStopSleepSeconds 10 }}
{{- end }}
{{- if ne .role "ingestor" }}
{{- $commitSeconds := divf .root.Values.settings.kafka.transaction_timeout_ms 1000 }}
{{- $seconds = addf $seconds .root.Values.settings.engine.drain_s_max (maxf $commitSeconds (.leaveSeconds | default 0)) }}
{{- end }}
{{- ceil $seconds | int64 }}
{{- end }}

{{/* The same with 15 s to commit and leave the groups, and a margin of 10 s: the producer's last records (5 s), and
closing. Takes {root, role}. */}}
{{- define "onboarding-processor.graceSeconds" -}}
{{- $derived := include "onboarding-processor.stopSeconds" (dict "root" .root "role" .role "leaveSeconds" 15) | int64 | add 10 }}
{{- (index .root.Values .role).terminationGracePeriodSeconds | default $derived | int64 }}
{{- end }}

{{/* The Secret that holds a section of secrets: a given one, or one that this chart makes; empty for none. Takes
{root, section}. */}}
{{- define "onboarding-processor.secretName" -}}
{{- $values := .root.Values }}
{{- $fullname := include "onboarding-processor.fullname" .root }}
{{- if and (eq .section "api") $values.simulator.enabled }}
{{- printf "%s-simulator" $fullname }}
{{- else if include "onboarding-processor.isExternal" . }}
{{- printf "%s-%s" $fullname (eq .section "schema_registry" | ternary "registry" .section) }}
{{- else if ne .section "more" }}
{{- (index $values.secrets .section).existingSecret }}
{{- end }}
{{- end }}

{{/* Not empty where an ExternalSecret makes the Secret of a section. Takes {root, section}. */}}
{{- define "onboarding-processor.isExternal" -}}
{{- $external := .root.Values.externalSecrets }}
{{- and $external.enabled (index $external.remoteRefs .section) | empty | ternary "" "yes" }}
{{- end }}

{{/* Setting -> key in the Secret of a section, as JSON. Takes {root, section}. */}}
{{- define "onboarding-processor.secretKeys" -}}
{{- $keys := (index .root.Values.secrets .section).keys }}
{{- $found := dict }}
{{- if and (eq .section "api") .root.Values.simulator.enabled }}
{{- $found = dict "key" "key" "secret" "secret" }}
{{- else if include "onboarding-processor.isExternal" . }}
{{- range $setting, $_ := index .root.Values.externalSecrets.remoteRefs .section }}
{{- $_ := set $found $setting (index $keys $setting | default $setting) }}
{{- end }}
{{- else }}
{{- range $setting, $key := $keys.token | empty | ternary $keys (omit $keys "key" "secret") }}
{{- if $key }}
{{- $_ := set $found $setting $key }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* The Service of the simulator, as processor and tests call it. Takes the root. */}}
{{- define "onboarding-processor.simulatorUrl" -}}
{{- printf "http://%s-simulator.%s:%v" (include "onboarding-processor.fullname" .) .Release.Namespace .Values.simulator.port }}
{{- end }}

{{/* The address of the provider's API, or of the simulator that stands for it. Takes the root. */}}
{{- define "onboarding-processor.apiBaseUrl" -}}
{{- .Values.simulator.enabled | ternary (include "onboarding-processor.simulatorUrl" .) .Values.settings.api.base_url }}
{{- end }}
