{{/* What an installation is told. The words are for people; each define gives lines. */}}

{{/* Every subject that there must be at the registry, as JSON. */}}
{{- define "onboarding-processor.subjects" -}}
{{- $places := include "onboarding-processor.kafkaPlaces" . | fromJson }}
{{- $topics := list $places.requests $places.results $places.links $places.progress }}
{{- $subjects := list }}
{{- range concat $topics (include "onboarding-processor.catalogueFacts" . | fromJson).resultsTopics | uniq }}
{{- $subjects = append $subjects (printf "%s-value" .) }}
{{- end }}
{{- toJson $subjects }}
{{- end }}

{{/* What is risky about the values, as JSON: one sentence each. */}}
{{- define "onboarding-processor.warnings" -}}
{{- $warnings := list }}
{{- $settings := .Values.settings }}
{{- $clear := list }}
{{- range $setting, $url := include "onboarding-processor.addresses" . | fromJson }}
{{- if hasPrefix "http://" $url }}
{{- $clear = append $clear $setting }}
{{- end }}
{{- end }}
{{- if $clear }}
{{- $warnings = append $warnings (printf "%s: http:// is no TLS, so everything sent there, credentials too, is readable on the way." (sortAlpha $clear | join " and ")) }}
{{- end }}
{{- $protocol := get (include "onboarding-processor.kafkaProperties" . | fromJson) "security.protocol" | default "plaintext" | lower }}
{{- $isHidden := and .Values.secrets.kafka.existingSecret .Values.secrets.kafka.keys.properties }}
{{- if and (has $protocol (list "plaintext" "sasl_plaintext")) (not (or $isHidden .Values.externalSecrets.remoteRefs.kafka.properties)) }}
{{- $warnings = append $warnings (printf "settings.kafka.properties: security.protocol is %s, so requests and results, personal data in them, are readable on the way to the brokers." $protocol) }}
{{- end }}
{{- range $setting, $least := dict "replication_factor" 3 "min_insync_replicas" 2 }}
{{- if lt (get $settings.topics $setting | default $least | int) $least }}
{{- $warnings = append $warnings (printf "settings.topics.%s is below %d; one broker that is lost can take results with it." $setting $least) }}
{{- end }}
{{- end }}
{{- toJson (concat $warnings (include "onboarding-processor.workloadWarnings" . | fromJsonArray)) }}
{{- end }}

{{/* The same of workloads and of who plays the provider. */}}
{{- define "onboarding-processor.workloadWarnings" -}}
{{- $warnings := list }}
{{- $partitions := int .Values.settings.topics.partitions }}
{{- range $role := include "onboarding-processor.workloads" . | fromJsonArray }}
{{- if not (include "onboarding-processor.isAutoscaled" (dict "root" $ "role" $role)) }}
{{- $replicas := int (index $.Values $role).replicas }}
{{- if eq $replicas 0 }}
{{- $warnings = append $warnings (printf "%s.replicas is 0; nothing does its work." $role) }}
{{- else if and (eq $replicas 1) (eq $role (include "onboarding-processor.webhookWorkload" $)) }}
{{- $warnings = append $warnings (printf "%s.replicas is 1; webhooks that come while its node or its pod is replaced are missed, and learned of by polls." $role) }}
{{- else if and (ne $role "ingestor") (gt $replicas $partitions) }}
{{- $warnings = append $warnings (printf "%s.replicas is above the %d partitions of settings.topics.partitions; the rest is idle." $role $partitions) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $setting, $port := dict "settings.webhook.port" .Values.settings.webhook.port "settings.ops.port" .Values.settings.ops.port "simulator.port" .Values.simulator.port }}
{{- if lt (int $port) 1024 }}
{{- $warnings = append $warnings (printf "%s is %d: below 1024, and on some nodes a user without capabilities may not open such a port. Choose a higher one; ingestor.service.port can be any." $setting (int $port)) }}
{{- end }}
{{- end }}
{{- if ne .Values.ingestor.service.type "ClusterIP" }}
{{- $warnings = append $warnings (printf "ingestor.service.type is %s, so the webhook port is open without TLS, unless something before it ends TLS." .Values.ingestor.service.type) }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.tlsSecret) (not .Values.certificate.enabled) }}
{{- $warnings = append $warnings "ingress.enabled without ingress.tlsSecret or certificate.enabled: webhooks come without TLS, unless the controller has a certificate of its own." }}
{{- end }}
{{- if .Values.simulator.enabled }}
{{- $warnings = append $warnings "simulator.enabled: no provider is called, and results are invented." }}
{{- if .Values.settings.providers }}
{{- $warnings = append $warnings (printf "settings.providers: the simulator stands for settings.api only; workflows of %s are run at the real provider." (keys .Values.settings.providers | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- toJson $warnings }}
{{- end }}
